//! Get and Walk.

use async_stream::try_stream;
use futures::{Stream, StreamExt as _};
use object_store::{GetResult, ObjectStore, aws::AmazonS3};
use tonic::Status;

use super::convert;
use longshore::pb;

/// The number of objects in a message of a Walk.
const PAGE: usize = 1000;

/// Streams the object's info, then each piece as it arrives.
pub(super) fn pieces(
    result: GetResult,
) -> impl Stream<Item = Result<pb::GetResponse, Status>> + Send + use<> {
    try_stream! {
        let range = pb::ContentRange {
            start: convert::signed(result.range.start),
            end: convert::signed(result.range.end),
        };
        let info = pb::GetInfo {
            meta: Some(convert::meta(result.meta.clone())),
            attributes: Some(pb::Attributes::default()),
            range: Some(range),
        };
        yield pb::GetResponse { info: Some(info), chunk: None };
        let mut pieces = result.into_stream();
        while let Some(piece) = pieces.next().await {
            let chunk = pb::Chunk { crc32c: None, data: piece.map_err(convert::status)? };
            yield pb::GetResponse { info: None, chunk: Some(chunk) };
        }
    }
}

/// Streams all objects, one page per message.
pub(super) fn walk(store: &AmazonS3) -> impl Stream<Item = Result<pb::WalkResponse, Status>> + Send + use<> {
    store.list(None).chunks(PAGE).map(|page| {
        let objects = page.into_iter().map(|object| object.map(convert::meta).map_err(convert::status));
        Ok(pb::WalkResponse { objects: objects.collect::<Result<_, _>>()?, skipped: 0 })
    })
}
