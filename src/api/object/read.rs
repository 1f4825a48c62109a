//! `Head`, `Get` and `GetRanges`.
//!
//! Reads are driven by the caller: Longshore reads the next piece from S3 when the caller's connection has room for it.
//! A slow caller therefore slows down the read from S3. Only while the caller waits does the store read further parts
//! and ranges ahead (`store/transfer/read_ahead.rs`). If the caller disconnects, the reader is dropped and the S3
//! request is cancelled.

use bytes::{Bytes, BytesMut};
use futures::stream::{self, StreamExt as _};

use super::{Messages, batching::MessageBatcher};
use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{ObjectReader, RangePiece, RangesReader, ReadInfo},
    telemetry::Direction,
};

/// The maximum size of an object, in bytes, that is sent in the first message together with its metadata. Waiting for
/// more bytes would noticeably delay that message.
const SMALL: u64 = 64 * 1024;

/// A message of `Get`, with its data in the pieces in which it arrived.
#[derive(Debug)]
pub(crate) struct GetMessage {
    /// The message, with the first piece.
    pub(crate) response: pb::GetResponse,
    /// The data that follows.
    pub(crate) more: Vec<Bytes>,
}

impl GetMessage {
    /// Joins all of the data into one piece.
    pub(crate) fn into_one(mut self) -> pb::GetResponse {
        if let Some(chunk) = &mut self.response.chunk
            && !self.more.is_empty()
        {
            self.more.insert(0, std::mem::take(&mut chunk.data));
            chunk.data = join(self.more);
        }
        self.response
    }
}

impl From<pb::GetResponse> for GetMessage {
    fn from(response: pb::GetResponse) -> Self {
        Self { response, more: Vec::new() }
    }
}

/// A read that has started.
#[derive(Debug)]
pub(super) struct Opened<Reader, Message> {
    first: Message,
    /// `None` if the first message is the whole response.
    rest: Option<Reader>,
}

pub(super) async fn head(call: &Call, request: pb::HeadRequest) -> Result<pb::HeadResponse, Failure> {
    let key = convert::key(&request.key, "key")?;
    let options = convert::read_options(request.version, request.conditions)?;
    call.record_conditions(convert::condition_names(&options.conditions));
    let version = options.version.as_deref();
    let store = call.open_version(Access::Read, &request.store, Scope::Key(key), version)?;
    let head = store.head(key, &options).await?;
    Ok(pb::HeadResponse {
        meta: Some(convert::object_meta(head.meta)),
        attributes: Some(convert::attributes_message(head.attributes)),
        restore: head.restore.map(convert::restore_status),
        archive_status: head.archive_status,
    })
}

pub(super) async fn get(
    call: &Call,
    request: pb::GetRequest,
) -> Result<Opened<ObjectReader, pb::GetResponse>, Failure> {
    let key = convert::key(&request.key, "key")?;
    let range = request.range.map(|range| convert::range(range, "range")).transpose()?;
    let options = convert::read_options(request.version, request.conditions)?;
    call.record_conditions(convert::condition_names(&options.conditions));
    let version = options.version.as_deref();
    let store = call.open_version(Access::Read, &request.store, Scope::Key(key), version)?;
    let mut reader = store.get(key, range, &options).await?;
    let (start, end) = (reader.info().start, reader.info().end);
    let content_range = pb::ContentRange { start: convert::signed(start), end: convert::signed(end) };
    let info = Some(info(reader.info(), Some(content_range)));
    if end.saturating_sub(start) > SMALL {
        return Ok(Opened { first: pb::GetResponse { info, chunk: None }, rest: Some(reader) });
    }
    // The object waits in S3 and in the connection's buffer meanwhile.
    call.pace(Direction::Download, usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX)).await;
    let data = whole(&mut reader).await?;
    call.sent(data.len());
    let chunk = (!data.is_empty()).then(|| convert::chunk(data));
    Ok(Opened { first: pb::GetResponse { info, chunk }, rest: None })
}

pub(super) async fn get_ranges(
    call: &Call,
    request: pb::GetRangesRequest,
) -> Result<Opened<RangesReader, pb::GetRangesResponse>, Failure> {
    let (store, key) = (request.store.clone(), request.key.clone());
    let key = convert::key(&key, "key")?;
    let options = convert::ranges_options(request)?;
    call.record_conditions(convert::condition_names(&options.read.conditions));
    let version = options.read.version.as_deref();
    let store = call.open_version(Access::Read, &store, Scope::Key(key), version)?;
    let mut reader = store.get_ranges(key, options).await?;
    let info = Some(info(reader.info(), None));
    Ok(match next_piece(call, &mut reader).await? {
        Some(piece) => Opened { first: pb::GetRangesResponse { info, ..piece }, rest: Some(reader) },
        None => Opened { first: pb::GetRangesResponse { info, ..Default::default() }, rest: None },
    })
}

impl Opened<ObjectReader, pb::GetResponse> {
    /// The messages of the response.
    pub(super) fn into_messages(self, call: Call) -> Messages<GetMessage> {
        let rest = stream::unfold((call, self.rest.map(MessageBatcher::new)), |(call, mut rest)| async {
            let item = match rest.as_mut()?.next().await? {
                Ok((first, more)) => {
                    let sent = first.len() + more.iter().map(Bytes::len).sum::<usize>();
                    call.pace(Direction::Download, sent).await;
                    call.sent(sent);
                    let chunk = Some(convert::chunk_of_pieces(first, &more));
                    Ok(GetMessage { response: pb::GetResponse { info: None, chunk }, more })
                }
                Err(error) => {
                    rest = None;
                    Err(call.fail(error))
                }
            };
            Some((item, (call, rest)))
        });
        stream::iter([Ok(self.first.into())]).chain(rest).boxed()
    }
}

impl Opened<RangesReader, pb::GetRangesResponse> {
    /// The messages of the response.
    pub(super) fn into_messages(self, call: Call) -> Messages<pb::GetRangesResponse> {
        let rest = stream::unfold((call, self.rest), |(call, mut reader)| async {
            let item = next_piece(&call, reader.as_mut()?).await;
            if item.is_err() {
                reader = None;
            }
            let item = item.map_err(|failure| call.fail(failure)).transpose()?;
            Some((item, (call, reader)))
        });
        stream::iter([Ok(self.first)]).chain(rest).boxed()
    }
}

/// The next piece that is not empty. An empty range has no message.
async fn next_piece(
    call: &Call,
    reader: &mut RangesReader,
) -> Result<Option<pb::GetRangesResponse>, Failure> {
    while let Some(piece) = reader.next().await {
        let RangePiece { index, offset, data } = piece?;
        if data.is_empty() {
            continue;
        }
        call.pace(Direction::Download, data.len()).await;
        call.sent(data.len());
        return Ok(Some(pb::GetRangesResponse {
            info: None,
            // There are at most 1,000 ranges.
            range_index: i32::try_from(index).unwrap_or(i32::MAX),
            offset: convert::signed(offset),
            chunk: Some(convert::chunk(data)),
        }));
    }
    Ok(None)
}

fn info(info: &ReadInfo, range: Option<pb::ContentRange>) -> pb::GetInfo {
    pb::GetInfo {
        meta: Some(convert::object_meta(info.meta.clone())),
        attributes: Some(convert::attributes_message(info.attributes.clone())),
        range,
    }
}

/// Reads a small object to its end. It usually arrives in one piece, which is then not copied.
async fn whole(reader: &mut ObjectReader) -> Result<Bytes, Failure> {
    let mut pieces = Vec::with_capacity(1);
    while let Some(piece) = reader.next().await {
        pieces.push(piece?);
    }
    Ok(join(pieces))
}

fn join(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.remove(0),
        _ => {
            let mut joined = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            for piece in &pieces {
                joined.extend_from_slice(piece);
            }
            joined.freeze()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_in_order_and_a_single_piece_is_not_copied() {
        let one = Bytes::from(vec![1, 2, 3]);
        assert_eq!(join(vec![one.clone()]).as_ptr(), one.as_ptr());
        assert_eq!(join(vec![one, Bytes::from_static(&[4])]).as_ref(), [1, 2, 3, 4]);
        assert!(join(Vec::new()).is_empty());
    }
}
