//! Converts object_store's types to messages.

use object_store::ObjectMeta;
use prost_types::Timestamp;
use tonic::Status;

use longshore::pb;

pub(super) fn meta(meta: ObjectMeta) -> pb::ObjectMeta {
    let seconds = meta.last_modified.timestamp();
    pb::ObjectMeta {
        key: meta.location.into(),
        size: signed(meta.size),
        last_modified: Some(Timestamp { seconds, nanos: 0 }),
        etag: meta.e_tag.unwrap_or_default(),
        version: meta.version.unwrap_or_default(),
        ..pb::ObjectMeta::default()
    }
}

pub(super) fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[allow(clippy::needless_pass_by_value, reason = "`map_err` passes the error by value")]
pub(super) fn status(error: object_store::Error) -> Status {
    match error {
        object_store::Error::NotFound { .. } => Status::not_found(error.to_string()),
        _ => Status::unavailable(error.to_string()),
    }
}
