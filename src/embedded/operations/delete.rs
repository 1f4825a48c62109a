//! DeleteObject and DeleteObjects.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{
        DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
        ObjectIdentifier,
    },
    s3_error,
};

use super::{
    call::{admit, only_version, received},
    conditions::Conditions,
};
use crate::embedded::storage::{self, Failed, Storage, Writing};

/// The most keys in one request (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).
const MAX_KEYS: usize = 1_000;

/// Deletes an object. Deleting an object that does not exist succeeds, unless the request has a condition
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html>).
pub(super) async fn delete_object(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let headers = received(&mut request).headers;
    let DeleteObjectInput { bucket, key, version_id, .. } = request.input;
    only_version(version_id.as_deref())?;
    refuse_directory_conditions(&headers)?;
    storage
        .delete(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let there = storage::object(&tables.objects, &bucket, &key)?;
            Conditions::of(&headers).check_delete(there.as_ref())?;
            Ok::<_, Failed>(tables.remove_object(&bucket, &key)?)
        })
        .await?;
    Ok(S3Response::new(DeleteObjectOutput::default()))
}

/// S3 supports these conditions only for directory buckets.
fn refuse_directory_conditions(headers: &HeaderMap) -> S3Result<()> {
    for name in ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"] {
        if headers.contains_key(name) {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: {name}"
            ));
        }
    }
    Ok(())
}

/// Deletes several objects independently of each other. The response has the outcome for each.
pub(super) async fn delete_objects(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let headers = received(&mut request).headers;
    let DeleteObjectsInput { bucket, delete, .. } = request.input;
    if delete.objects.is_empty() || delete.objects.len() > MAX_KEYS {
        return Err(s3_error!(MalformedXML));
    }
    let quiet = delete.quiet == Some(true);
    let outcomes = storage
        .delete(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            delete
                .objects
                .into_iter()
                .map(|object| one(tables, &bucket, object))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (key, outcome) in outcomes {
        match outcome {
            Ok(()) if quiet => {}
            Ok(()) => deleted.push(DeletedObject { key: Some(key), ..DeletedObject::default() }),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(key),
                version_id: None,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..Default::default()
    }))
}

fn one(
    tables: &mut Writing<'_>,
    bucket: &str,
    object: ObjectIdentifier,
) -> Result<(String, Result<(), S3Error>), Failed> {
    let there = storage::object(&tables.objects, bucket, &object.key)?;
    let version = match object.version_id.as_deref() {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    };
    let outcome = version.and_then(|()| {
        if object.last_modified_time.is_some() || object.size.is_some() {
            return Err(s3_error!(NotImplemented, "ETag is the only supported condition"));
        }
        match (&object.e_tag, &there) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(etag), Some(there)) if etag.value() == there.etag || etag.value() == "*" => Ok(()),
            (Some(_), Some(_)) => Err(s3_error!(
                PreconditionFailed,
                "At least one of the pre-conditions you specified did not hold"
            )),
        }
    });
    if outcome.is_ok() {
        tables.remove_object(bucket, &object.key)?;
    }
    Ok((object.key, outcome))
}
