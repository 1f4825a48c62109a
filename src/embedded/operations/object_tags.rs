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
    call::{admit, only_version, received},
    content::existing,
    tags,
};
use crate::embedded::storage::{self, Storage, TagRow};

pub(super) async fn get_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let GetObjectTaggingInput { bucket, key, version_id, .. } = request.input;
    only_version(version_id.as_deref())?;
    let object = storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            existing(storage::object(&tables.objects, &bucket, &key)?)
        })
        .await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: tags::set(&object.tags), version_id: None }))
}

pub(super) async fn put_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let PutObjectTaggingInput { bucket, key, version_id, tagging, .. } = request.input;
    only_version(version_id.as_deref())?;
    replace(storage, bucket, key, headers, tags::of_set(tagging.tag_set)?).await?;
    Ok(S3Response::new(PutObjectTaggingOutput::default()))
}

pub(super) async fn delete_object_tagging(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let headers = received(&mut request).headers;
    let DeleteObjectTaggingInput { bucket, key, version_id, .. } = request.input;
    only_version(version_id.as_deref())?;
    replace(storage, bucket, key, headers, Vec::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput::default()))
}

/// Replaces the tags of an object. Its ETag and its date do not change.
async fn replace(
    storage: &Arc<Storage>,
    bucket: String,
    key: String,
    headers: HeaderMap,
    tags: Vec<TagRow>,
) -> S3Result<()> {
    storage
        .write(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let mut object = existing(storage::object(&tables.objects, &bucket, &key)?)?;
            object.tags = tags;
            tables.amend_object(&bucket, &key, &object)?;
            Ok(())
        })
        .await
}
