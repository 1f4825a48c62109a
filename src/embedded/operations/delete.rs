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
    call::{admit, asked_version, received},
    conditions::Conditions,
};
use crate::embedded::storage::{self, Deletion, Failed, ObjectRow, Storage, VersionId, Versioning, Writing};

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
    let version = asked_version(version_id.as_deref())?;
    refuse_directory_conditions(&headers)?;
    let Deletion { version, marker } = storage
        .delete(move |tables| {
            let versioning = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?.versioning();
            let there = there(tables, (&bucket, &key), version)?;
            Conditions::of(&headers).check_delete(there.as_ref())?;
            delete(tables, (&bucket, &key), version, versioning)
        })
        .await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: marker.then_some(true),
        version_id: version.map(VersionId::text),
        ..DeleteObjectOutput::default()
    }))
}

/// The object that a delete concerns.
fn there(
    tables: &Writing<'_>,
    (bucket, key): (&str, &str),
    version: Option<VersionId>,
) -> Result<Option<ObjectRow>, Failed> {
    Ok(match version {
        None => storage::object(&tables.objects, bucket, key)?,
        Some(_) => storage::version(&tables.objects, &tables.versions, (bucket, key), version)?,
    })
}

/// Deletes an object or a version. In buckets that never had versions, the outcome has no version.
fn delete(
    tables: &mut Writing<'_>,
    (bucket, key): (&str, &str),
    version: Option<VersionId>,
    versioning: Versioning,
) -> Result<Deletion, Failed> {
    let deletion = match version {
        None => tables.hide_object(bucket, key, versioning)?,
        Some(version) => tables.remove_version(bucket, key, version)?,
    };
    Ok(if versioning == Versioning::Never { Deletion::default() } else { deletion })
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
            let versioning = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?.versioning();
            delete
                .objects
                .into_iter()
                .map(|object| one(tables, &bucket, object, versioning))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let (mut deleted, mut errors) = (Vec::new(), Vec::new());
    for (object, outcome) in outcomes {
        match outcome {
            Ok(_) if quiet => {}
            Ok(deletion) => deleted.push(told(object, deletion)),
            Err(error) => errors.push(Error {
                code: Some(error.code().as_str().to_owned()),
                message: error.message().map(str::to_owned),
                key: Some(object.key),
                version_id: object.version_id,
            }),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput {
        deleted: Some(deleted),
        errors: Some(errors),
        ..Default::default()
    }))
}

/// The version that was deleted, and the delete marker that was added or deleted.
fn told(object: ObjectIdentifier, Deletion { version, marker }: Deletion) -> DeletedObject {
    DeletedObject {
        key: Some(object.key),
        version_id: object.version_id,
        delete_marker: marker.then_some(true),
        delete_marker_version_id: version.filter(|_| marker).map(VersionId::text),
    }
}

fn one(
    tables: &mut Writing<'_>,
    bucket: &str,
    object: ObjectIdentifier,
    versioning: Versioning,
) -> Result<(ObjectIdentifier, Result<Deletion, S3Error>), Failed> {
    let missing = || s3_error!(NoSuchVersion, "The specified version does not exist.");
    let version = match object.version_id.as_deref() {
        None => None,
        Some(id) => match VersionId::parse(id) {
            Some(version) => Some(version),
            None => return Ok((object, Err(missing()))),
        },
    };
    let there = there(tables, (bucket, &object.key), version)?;
    if let Err(error) = check(&object, there.as_ref()) {
        return Ok((object, Err(error)));
    }
    let deletion = delete(tables, (bucket, &object.key), version, versioning)?;
    Ok((object, Ok(deletion)))
}

/// Checks the conditions of an object in a list.
fn check(object: &ObjectIdentifier, there: Option<&ObjectRow>) -> S3Result<()> {
    if object.last_modified_time.is_some() || object.size.is_some() {
        return Err(s3_error!(NotImplemented, "ETag is the only supported condition"));
    }
    match (&object.e_tag, there) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
        (Some(etag), Some(there)) if etag.value() == there.etag || etag.value() == "*" => Ok(()),
        (Some(_), Some(_)) => Err(s3_error!(
            PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold"
        )),
    }
}
