//! `Copy` and `Rename`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::Access,
    pb,
    store::{Copied, CopyOptions, ReadOptions, TransferProgress},
};

/// If this future is dropped, the S3 requests are cancelled and an open multipart upload is aborted. The destination
/// may or may not have been written.
pub(super) async fn copy(
    call: &Call,
    request: pb::CopyRequest,
    progress: TransferProgress,
) -> Result<pb::CopyResponse, Failure> {
    let (source, destination) = ends(request.source, request.destination)?;
    let source_key = convert::key(&source.key, "source.key")?;
    let key = convert::key(&destination.key, "destination.key")?;
    let options = CopyOptions {
        source: ReadOptions {
            version: convert::version(source.version, "source.version")?,
            conditions: convert::conditions(request.source_conditions, "source_conditions")?,
        },
        mode: convert::mode(request.mode)?,
        attributes: request.attributes.map(convert::attributes).transpose()?,
        tags: request.tags.map(|tags| convert::tags(tags.tags)).transpose()?,
    };
    call.record_conditions(
        convert::condition_names(&options.source.conditions)
            .into_iter()
            .chain(convert::mode_name(&options.mode)),
    );
    let version = options.source.version.as_deref();
    let (to, from) =
        call.open_copy((&destination.store, key), &[Access::Read], (&source.store, source_key, version))?;
    let to = to.copying_at_most(call.max_object_size()).reporting(progress);
    let copied = Box::pin(to.copy_from(&from, source_key, key, options)).await;
    let Copied { meta, dropped_storage_class } = copied.map_err(|error| call.beyond_limit(error))?;
    Ok(pb::CopyResponse {
        meta: Some(convert::object_meta(meta)),
        dropped_storage_class: dropped_storage_class.unwrap_or_default(),
    })
}

/// If this future is dropped, the rename stops between or during its two steps: the source, the destination or both
/// exist, never neither.
pub(super) async fn rename(
    call: &Call,
    request: pb::RenameRequest,
    progress: TransferProgress,
) -> Result<pb::RenameResponse, Failure> {
    let (source, destination) = ends(request.source, request.destination)?;
    let source_key = convert::key(&source.key, "source.key")?;
    let key = convert::key(&destination.key, "destination.key")?;
    let mode = convert::mode(request.mode)?;
    call.record_conditions(convert::mode_name(&mode));
    let access = [Access::Read, Access::Delete];
    let (to, from) = call.open_copy((&destination.store, key), &access, (&source.store, source_key, None))?;
    let to = to.copying_at_most(call.max_object_size()).reporting(progress);
    let renamed = Box::pin(to.rename_from(&from, source_key, key, mode)).await;
    let Copied { meta, dropped_storage_class } = renamed.map_err(|error| call.beyond_limit(error))?;
    Ok(pb::RenameResponse {
        meta: Some(convert::object_meta(meta)),
        dropped_storage_class: dropped_storage_class.unwrap_or_default(),
    })
}

impl From<pb::CopyWithProgressRequest> for pb::CopyRequest {
    fn from(request: pb::CopyWithProgressRequest) -> Self {
        let pb::CopyWithProgressRequest { source, destination, mode, source_conditions, attributes, tags } =
            request;
        Self { source, destination, mode, source_conditions, attributes, tags }
    }
}

impl From<pb::RenameWithProgressRequest> for pb::RenameRequest {
    fn from(request: pb::RenameWithProgressRequest) -> Self {
        let pb::RenameWithProgressRequest { source, destination, mode } = request;
        Self { source, destination, mode }
    }
}

fn ends<A, B>(source: Option<A>, destination: Option<B>) -> Result<(A, B), Failure> {
    let source = source.ok_or_else(|| Failure::field("source", "must be set"))?;
    let destination = destination.ok_or_else(|| Failure::field("destination", "must be set"))?;
    Ok((source, destination))
}
