//! `Restore`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::ObjectId,
};

/// If this future is dropped, the S3 request is cancelled, and the restore may or may not have begun.
pub(super) async fn restore(
    call: &Call,
    request: pb::RestoreRequest,
) -> Result<pb::RestoreResponse, Failure> {
    convert::key(&request.key, "key")?;
    let version = convert::version(request.version, "version")?;
    let options = convert::restore_options(request.days, request.tier)?;
    let store =
        call.open_version(Access::Write, &request.store, Scope::Key(&request.key), version.as_deref())?;
    let restoring = store.restore(&ObjectId { key: request.key, version }, options).await?;
    Ok(pb::RestoreResponse { outcome: convert::restore_outcome(restoring).into() })
}
