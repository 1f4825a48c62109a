//! `GetTags`, `PutTags` and `DeleteTags`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::{ObjectId, ObjectTags, S3Store},
};

/// If this future is dropped, the S3 request is cancelled.
pub(super) async fn get(call: &Call, request: pb::GetTagsRequest) -> Result<pb::GetTagsResponse, Failure> {
    let (store, object) = open(call, Access::Read, &request.store, request.key, request.version)?;
    let ObjectTags { tags, version } = store.tags(&object).await?;
    Ok(pb::GetTagsResponse { tags: tags.into_iter().collect(), version: version.unwrap_or_default() })
}

/// If this future is dropped, the S3 request is cancelled, and the tags may or may not have been replaced.
pub(super) async fn put(call: &Call, request: pb::PutTagsRequest) -> Result<pb::PutTagsResponse, Failure> {
    let tags = convert::tags(request.tags)?;
    let (store, object) = open(call, Access::Write, &request.store, request.key, request.version)?;
    let version = store.put_tags(&object, &tags).await?;
    Ok(pb::PutTagsResponse { version: version.unwrap_or_default() })
}

/// If this future is dropped, the S3 request is cancelled, and the tags may or may not have been removed.
pub(super) async fn delete(
    call: &Call,
    request: pb::DeleteTagsRequest,
) -> Result<pb::DeleteTagsResponse, Failure> {
    let (store, object) = open(call, Access::Write, &request.store, request.key, request.version)?;
    let version = store.delete_tags(&object).await?;
    Ok(pb::DeleteTagsResponse { version: version.unwrap_or_default() })
}

fn open(
    call: &Call,
    access: Access,
    store: &str,
    key: String,
    version: String,
) -> Result<(S3Store, ObjectId), Failure> {
    convert::key(&key, "key")?;
    let version = convert::version(version, "version")?;
    let store = call.open_version(access, store, Scope::Key(&key), version.as_deref())?;
    Ok((store, ObjectId { key, version }))
}
