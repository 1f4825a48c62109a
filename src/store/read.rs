//! Reads an object or one range of it, and resumes after a lost connection.

use std::ops::Range;

use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::Instant;

use super::{
    ByteRange, ChecksumType, Conditions, Error, ErrorKind, Field, Head, ObjectMeta, ReadInfo, ReadOptions,
    S3Store,
    read_ahead::{BackendSpeed, ReadAhead, bounded, changed},
    resume::{MOST_SKIPPED, Pin, Resumed},
};
use crate::{
    s3::{Checksum, ChecksumHasher, GetAnswer, HeadAnswer, Selection},
    transport::{Attempts, ResponseBody, Retry, RetryCost, RetryQuota, TransportError},
};

/// The largest piece that [`ObjectReader::next`] returns, in bytes.
const MAX_PIECE: usize = 1024 * 1024;

impl ReadOptions {
    pub(super) fn selecting<'a>(&'a self, key: &'a str) -> Selection<'a> {
        Selection { key, version: self.version.as_deref(), conditions: &self.conditions }
    }
}

impl S3Store {
    /// Returns an object's metadata and attributes.
    pub async fn head(&self, key: &str, options: &ReadOptions) -> Result<Head, Error> {
        let full = self.full_key(key, Field::Key)?;
        let HeadAnswer { size, properties, attributes, .. } =
            self.client().head_object(options.selecting(&full)).await?;
        Ok(Head { meta: ObjectMeta { key: key.to_owned(), size, properties }, attributes })
    }

    /// Reads an object or one range of it. An empty range returns no data. A suffix longer than the object returns
    /// the whole object, even if that is empty.
    pub async fn get(
        &self,
        key: &str,
        range: Option<ByteRange>,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        if let Some(ByteRange::Bounded { start, end }) = range
            && start == end
        {
            return self.get_nothing(key, start, options).await;
        }
        let full = self.full_key(key, Field::Key)?;
        match self.client().get_object(options.selecting(&full), range).await {
            Ok(answer) => ObjectReader::new(self.clone(), full, key, range, options, answer),
            Err(error) => match range {
                // S3 answers 416 to any suffix of an empty object. By RFC 9110, section 14.1.2, such a suffix is the
                // whole object.
                Some(ByteRange::Suffix(1..)) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                    let reader = self.get_nothing(key, 0, options).await?;
                    if reader.info.meta.size == 0 { Ok(reader) } else { Err(error) }
                }
                _ => Err(error),
            },
        }
    }

    /// Reads an empty range at `offset`, for which S3 has no request.
    async fn get_nothing(
        &self,
        key: &str,
        offset: u64,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        let Head { meta, attributes } = self.head(key, options).await?;
        if offset > meta.size {
            let message =
                format!("the range starts at byte {offset}, but the object has {} bytes", meta.size);
            return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
        }
        let info = ReadInfo { meta, attributes, start: offset, end: offset };
        Ok(ObjectReader::empty(self.clone(), info))
    }
}

/// A read in progress: first the object's metadata, then its bytes. Dropping it cancels the request.
#[derive(Debug)]
pub struct ObjectReader {
    store: S3Store,
    full_key: String,
    /// Pinned to the object of the first response.
    options: ReadOptions,
    info: ReadInfo,
    position: u64,
    /// The offset at which `body` ends and `ahead` begins; the end of the range if there is no `ahead`.
    until: u64,
    body: Option<ResponseBody>,
    ahead: Option<ReadAhead>,
    /// `None` if the read does not use further connections.
    backend_speed: Option<BackendSpeed>,
    /// Received bytes that did not fit into the last piece.
    rest: Bytes,
    /// Number of bytes to discard before the first requested one, from a server that does not support ranges.
    skip: u64,
    verifier: Option<Verifier>,
    resumed: Resumed,
}

/// Verifies the bytes of a whole object against the checksum that S3 stores for it.
#[derive(Debug)]
struct Verifier {
    hasher: ChecksumHasher,
    expected: Checksum,
}

impl ObjectReader {
    /// The object and the range that are read.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }

    /// Returns the next piece, 1 byte to 1 MiB; `None` at the end. If the connection is lost, the read resumes at the
    /// same offset of the same object. If the object has been replaced, the error is [`ErrorKind::ObjectChanged`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.position == self.info.end {
            self.body = None;
            return self.verify_checksum().err().map(Err);
        }
        if self.rest.is_empty() {
            match self.next_bytes().await {
                Ok(bytes) => self.rest = bytes,
                Err(error) => {
                    self.position = self.info.end;
                    (self.verifier, self.ahead) = (None, None);
                    return Some(Err(error));
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE));
        self.position += piece.len() as u64;
        if let Some(verifier) = &mut self.verifier {
            verifier.hasher.update(&piece);
        }
        Some(Ok(piece))
    }

    fn new(
        store: S3Store,
        full_key: String,
        key: &str,
        range: Option<ByteRange>,
        options: &ReadOptions,
        answer: GetAnswer,
    ) -> Result<Self, Error> {
        let meta = ObjectMeta { key: key.to_owned(), size: answer.size, properties: answer.properties };
        let (start, end) = wanted(range, answer.start, answer.end, meta.size)?;
        let whole = start == 0 && end == meta.size;
        let verifier = if whole { Verifier::of(&meta.properties.checksums) } else { None };
        let Pin { version, if_match } = Pin::of(options, &meta.properties);
        let transfer = store.settings().transfer;
        let is_large = transfer.max_concurrency > 1 && end.saturating_sub(start) >= 2 * transfer.part_size;
        // Reading over several connections requires an ETag or a version, so that all of them read the same object.
        let is_pinned = version.is_some() || if_match.is_some();
        let backend_speed = (is_large && is_pinned).then(BackendSpeed::default);
        let options = ReadOptions { version, conditions: Conditions { if_match, ..Conditions::default() } };
        Ok(Self {
            store,
            full_key,
            options,
            info: ReadInfo { meta, attributes: answer.attributes, start, end },
            position: start,
            until: end,
            body: Some(answer.body),
            ahead: None,
            backend_speed,
            rest: Bytes::new(),
            skip: start - answer.start,
            verifier,
            resumed: Resumed::default(),
        })
    }

    fn empty(store: S3Store, info: ReadInfo) -> Self {
        let options = ReadOptions::default();
        let position = info.start;
        Self {
            store,
            full_key: String::new(),
            options,
            info,
            position,
            until: position,
            body: None,
            ahead: None,
            backend_speed: None,
            rest: Bytes::new(),
            skip: 0,
            verifier: None,
            resumed: Resumed::default(),
        }
    }

    /// Reads one part of an object over one connection. Fails if the object is no longer the one that `options` pin, or
    /// if it ends before `range` does.
    async fn part(
        store: S3Store,
        full_key: String,
        options: ReadOptions,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let selection = options.selecting(&full_key);
        let answer = store.client().get_object(selection, Some(bounded(range.clone()))).await;
        let asked = Some(bounded(range.clone()));
        let mut reader = Self::new(store, full_key, "", asked, &options, answer.map_err(changed)?)?;
        // A shorter part would shift all bytes after it.
        if reader.options != options || reader.info.start != range.start || reader.info.end != range.end {
            return Err(replaced());
        }
        reader.backend_speed = None;
        Ok(reader)
    }

    /// Returns the next bytes, from this connection or from those that read ahead.
    async fn next_bytes(&mut self) -> Result<Bytes, Error> {
        if self.position < self.until {
            return self.next_from_body().await;
        }
        self.body = None;
        if let Some(ahead) = &mut self.ahead
            && let Some(piece) = ahead.next().await
        {
            return piece;
        }
        // There is no memory left for reading ahead: read the rest on one connection.
        (self.ahead, self.until) = (None, self.info.end);
        self.resume().await?;
        self.next_from_body().await
    }

    /// Starts reading ahead on other connections if the read waits for S3.
    fn look_ahead(&mut self, began: Instant, bytes: usize) {
        let part_size = self.store.settings().transfer.part_size;
        let Some(speed) = &mut self.backend_speed else { return };
        if !speed.is_slow(began.elapsed(), bytes) {
            return;
        }
        *speed = BackendSpeed::default();
        // The first multiple of the part size after the received bytes. If the object was uploaded in such parts, one
        // of them begins there.
        let from = ((self.position + bytes as u64) / part_size + 1).saturating_mul(part_size);
        if self.ahead.is_none() && from < self.info.end {
            let (store, key, options) = (self.store.clone(), self.full_key.clone(), self.options.clone());
            self.ahead = ReadAhead::begin(read_part, store, key, options, from..self.info.end);
            if self.ahead.is_some() {
                self.until = from;
            }
        }
    }

    /// Returns the next requested bytes of the response, or of a new one that resumes here.
    async fn next_from_body(&mut self) -> Result<Bytes, Error> {
        match self.timed_body_bytes().await {
            Ok(bytes) => Ok(bytes),
            Err(error) => self.resume_after(error).await,
        }
    }

    /// Continues [`Self::next_from_body`] after the response was interrupted.
    async fn resume_after(&mut self, mut error: Error) -> Result<Bytes, Error> {
        let store = self.store.clone();
        // A broken connection is no sign of an overloaded S3, so resuming does not use the store's retry quota. Each
        // read has its own attempts, which start over whenever bytes have arrived.
        let (policy, quota) = (store.settings().download_policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, store.client().deadline());
        loop {
            let is_pinned = self.options.version.is_some() || self.options.conditions.if_match.is_some();
            let cannot_go_on =
                !is_pinned || self.resumed.record_resumption(self.position, policy.max_retries);
            let again = Retry::Later { cost: RetryCost::Failure, wait: None };
            if cannot_go_on || !attempts.again(again).await {
                return Err(error.after_attempts(attempts.made(), attempts.elapsed()));
            }
            tracing::debug!(error = %error, position = self.position, "resuming a read after its connection was lost");
            self.resume().await?;
            match self.timed_body_bytes().await {
                Ok(bytes) => return Ok(bytes),
                Err(broken) => error = broken,
            }
        }
    }

    /// Returns the next requested bytes of this response, and starts reading ahead if S3 is slow.
    async fn timed_body_bytes(&mut self) -> Result<Bytes, Error> {
        let began = Instant::now();
        match self.body_bytes().await {
            Some(Ok(bytes)) => {
                self.look_ahead(began, bytes.len());
                Ok(bytes)
            }
            Some(Err(error)) => Err(broken(&error.to_string())),
            None => Err(broken("the response ended before the object did")),
        }
    }

    /// Returns the next requested bytes of this response; `None` if it ended.
    async fn body_bytes(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            let mut bytes = match self.body.as_mut()?.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(error)),
            };
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let _ = bytes.split_to(skipped);
            let left = usize::try_from(self.until - self.position).unwrap_or(usize::MAX);
            bytes.truncate(left);
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
    }

    /// Requests the rest of the same object.
    async fn resume(&mut self) -> Result<(), Error> {
        let range = Some(bounded(self.position..self.until));
        let selection = self.options.selecting(&self.full_key);
        let answer = self.store.client().get_object(selection, range).await;
        let answer = answer.map_err(changed)?;
        if answer.properties.etag != self.info.meta.properties.etag
            || answer.size != self.info.meta.size
            || answer.start > self.position
        {
            return Err(replaced());
        }
        self.skip = self.position - answer.start;
        if self.skip > MOST_SKIPPED {
            return Err(broken(
                "the S3 server does not support ranges and would send the object again from the start",
            ));
        }
        self.body = Some(answer.body);
        Ok(())
    }

    fn verify_checksum(&mut self) -> Result<(), Error> {
        let Some(verifier) = self.verifier.take() else { return Ok(()) };
        if verifier.hasher.finish().value == verifier.expected.value {
            return Ok(());
        }
        let message = format!(
            "the bytes read do not match the object's {} checksum",
            verifier.expected.algorithm.name()
        );
        Err(Error::new(ErrorKind::BytesDamaged, message))
    }
}

impl Verifier {
    fn of(checksums: &[Checksum]) -> Option<Self> {
        let is_whole = |checksum: &&Checksum| checksum.kind == Some(ChecksumType::FullObject);
        let expected = checksums.iter().find(is_whole)?.clone();
        Some(Self { hasher: ChecksumHasher::new(expected.algorithm), expected })
    }
}

/// Returns the offsets of the requested bytes. Fails if the response, which has the bytes `got_start..got_end`, lacks
/// any of them. A server that does not support ranges sends the whole object.
fn wanted(range: Option<ByteRange>, got_start: u64, got_end: u64, size: u64) -> Result<(u64, u64), Error> {
    let (from, to) = match range {
        None => (0, size),
        Some(ByteRange::Bounded { start, end }) => (start, end.min(size)),
        Some(ByteRange::Offset(start)) => (start, size),
        Some(ByteRange::Suffix(length)) => (size.saturating_sub(length), size),
    };
    let suffix_of_empty = size == 0 && matches!(range, Some(ByteRange::Suffix(1..)));
    if range.is_some() && from >= size && !suffix_of_empty {
        let message = format!("the range starts at byte {from}, but the object has {size} bytes");
        return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
    }
    let (from, to) = (from.min(size), to.min(size));
    if from < got_start || to > got_end {
        return Err(Error::new(
            ErrorKind::BackendProtocol,
            "S3 returned a different range from the one requested",
        ));
    }
    Ok((from, to))
}

fn replaced() -> Error {
    Error::new(ErrorKind::ObjectChanged, "the object was replaced while it was being read: read it again")
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost, "S3 stopped sending the object before its end").because(why)
}

/// Reads a part of an object that is read ahead. The stream is boxed, because [`ObjectReader`] itself reads ahead.
fn read_part(
    store: S3Store,
    full_key: String,
    options: ReadOptions,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let pieces = async move {
        let reader = ObjectReader::part(store, full_key, options, range).await?;
        Ok(stream::unfold(reader, async |mut reader| reader.next().await.map(|piece| (piece, reader))))
    };
    stream::once(pieces).try_flatten().boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requested_bytes_are_found_in_any_response() {
        let bounded = |start, end| Some(ByteRange::Bounded { start, end });
        assert_eq!(wanted(None, 0, 10, 10).unwrap(), (0, 10));
        assert_eq!(wanted(bounded(2, 5), 2, 5, 10).unwrap(), (2, 5));
        assert_eq!(wanted(bounded(2, 50), 2, 10, 10).unwrap(), (2, 10));
        assert_eq!(wanted(Some(ByteRange::Suffix(50)), 0, 10, 10).unwrap(), (0, 10));
        assert_eq!(
            wanted(Some(ByteRange::Offset(4)), 0, 10, 10).unwrap(),
            (4, 10),
            "a server that does not support ranges"
        );
        assert_eq!(wanted(Some(ByteRange::Suffix(5)), 0, 0, 0).unwrap(), (0, 0), "an empty object");
        assert!(wanted(Some(ByteRange::Offset(10)), 0, 10, 10).is_err());
        assert!(wanted(bounded(2, 5), 3, 5, 10).is_err());
    }
}
