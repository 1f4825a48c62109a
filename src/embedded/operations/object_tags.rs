//! GetObjectTagging, PutObjectTagging and DeleteObjectTagging.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
        PutObjectTaggingInput, PutObjectTaggingOutput,
    },
};

use super::{
    call::{admit, asked_version, received, told_version},
    content::existing,
    tags,
};
use crate::embedded::storage::{self, Storage, TagRow, VersionId};

pub(super) async fn get_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let GetObjectTaggingInput { bucket, key, version_id, .. } = request.input;
    let version = asked_version(version_id.as_deref())?;
    let (object, version_id) = storage
        .read(move |tables| {
            let row = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let found = storage::version(&tables.objects, &tables.versions, (&bucket, &key), version)?;
            let object = existing(found, version)?;
            let id = told_version(row.versioning(), &object);
            Ok((object, id))
        })
        .await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::set(&object.tags), version_id }))
}

pub(super) async fn put_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let PutObjectTaggingInput { bucket, key, version_id, tagging, .. } = request.input;
    let version = asked_version(version_id.as_deref())?;
    let tags = tags::of_set(tagging.tag_set)?;
    let version_id = replace(storage, (bucket, key), version, headers, tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

pub(super) async fn delete_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let DeleteObjectTaggingInput { bucket, key, version_id, .. } = request.input;
    let version = asked_version(version_id.as_deref())?;
    let version_id = replace(storage, (bucket, key), version, headers, Vec::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Replaces the tags of a version, and returns its id. Its ETag and its date do not change.
async fn replace(
    storage: &Arc<Storage>,
    (bucket, key): (String, String),
    version: Option<VersionId>,
    headers: HeaderMap,
    tags: Vec<TagRow>,
) -> S3Result<Option<String>> {
    storage
        .write(move |tables| {
            let row = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let found = storage::version(&tables.objects, &tables.versions, (&bucket, &key), version)?;
            let mut object = existing(found, version)?;
            object.tags = tags;
            tables.amend_version(&bucket, &key, &object)?;
            Ok(told_version(row.versioning(), &object))
        })
        .await
}
