//! `Delete`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::ObjectId,
};

/// If this future is dropped, the S3 request is cancelled, and the object may or may not have been deleted.
pub(super) async fn delete(call: &Call, request: pb::DeleteRequest) -> Result<pb::DeleteResponse, Failure> {
    convert::key(&request.key, "key")?;
    let version = convert::version(request.version, "version")?;
    let scope = Scope::Key(&request.key);
    let store = call.open_version(Access::Delete, &request.store, scope, version.as_deref())?;
    let deleted = store.delete(&ObjectId { key: request.key, version }).await?;
    Ok(pb::DeleteResponse {
        version: deleted.version.unwrap_or_default(),
        delete_marker: deleted.delete_marker,
    })
}
