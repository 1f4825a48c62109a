//! `Copy` and `Rename`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{Copied, CopyOptions, ReadOptions},
};

/// Dropped before its end, it drops the requests to S3 and aborts an open multipart upload; whether the
/// destination was written is then open.
pub(super) async fn copy(call: &Call, request: pb::CopyRequest) -> Result<pb::CopyResponse, Failure> {
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
    call.conditions(
        convert::condition_names(&options.source.conditions)
            .into_iter()
            .chain(convert::mode_name(&options.mode)),
    );
    let to = call.open(Access::Write, &destination.store, Scope::Key(key))?;
    let from = call.open_source(&[Access::Read], &source.store, source_key)?;
    let Copied { meta, dropped_storage_class } =
        Box::pin(to.copy_from(&from, source_key, key, options)).await?;
    Ok(pb::CopyResponse {
        meta: Some(convert::object_meta(meta)),
        dropped_storage_class: dropped_storage_class.unwrap_or_default(),
    })
}

/// Dropped before its end, it stops between or within its two steps: the source, the destination or both are
/// there, never neither.
pub(super) async fn rename(call: &Call, request: pb::RenameRequest) -> Result<pb::RenameResponse, Failure> {
    let (source, destination) = ends(request.source, request.destination)?;
    let source_key = convert::key(&source.key, "source.key")?;
    let key = convert::key(&destination.key, "destination.key")?;
    let mode = convert::mode(request.mode)?;
    call.conditions(convert::mode_name(&mode));
    let to = call.open(Access::Write, &destination.store, Scope::Key(key))?;
    let from = call.open_source(&[Access::Read, Access::Delete], &source.store, source_key)?;
    let Copied { meta, dropped_storage_class } =
        Box::pin(to.rename_from(&from, source_key, key, mode)).await?;
    Ok(pb::RenameResponse {
        meta: Some(convert::object_meta(meta)),
        dropped_storage_class: dropped_storage_class.unwrap_or_default(),
    })
}

fn ends<A, B>(source: Option<A>, destination: Option<B>) -> Result<(A, B), Failure> {
    let source = source.ok_or_else(|| Failure::field("source", "is required"))?;
    let destination = destination.ok_or_else(|| Failure::field("destination", "is required"))?;
    Ok((source, destination))
}
