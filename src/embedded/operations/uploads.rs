//! CreateMultipartUpload, AbortMultipartUpload, and the look-up of an upload.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use redb::ReadableTable;
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{
        AbortMultipartUploadInput, AbortMultipartUploadOutput, CreateMultipartUploadInput,
        CreateMultipartUploadOutput,
    },
    s3_error,
};

use prost::Message;

use super::{
    attributes,
    call::{admit, received, refuse_unkept, text},
    checksums::{self, Algorithm},
    tags,
};
use crate::embedded::storage::{self, Failed, Storage, UploadRow, now};

/// Creates an upload.
pub(super) async fn create_multipart_upload(
    storage: &Arc<Storage>,
    mut request: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let headers = received(&mut request).headers;
    let CreateMultipartUploadInput { bucket, key, .. } = request.input;
    refuse_unkept(&headers)?;
    let asked = checksums::asked(&headers)?;
    let algorithm = asked.unwrap_or(Algorithm::DEFAULT);
    let row = UploadRow {
        initiated: now(),
        attributes: attributes::of(&headers)?,
        tags: tags::of_header(&headers)?,
        checksum_algorithm: algorithm.name().to_owned(),
        composite: is_composite(&headers, asked)?,
        checksum_asked: asked.is_some(),
    };
    let id = storage.blobs().new_id();
    let output = CreateMultipartUploadOutput {
        bucket: Some(bucket.clone()),
        key: Some(key.clone()),
        upload_id: Some(written(id)),
        ..CreateMultipartUploadOutput::default()
    };
    let mut told = attributes::told_of_encryption(&row.attributes);
    if asked.is_some() {
        told.insert(
            HeaderName::from_static("x-amz-checksum-algorithm"),
            HeaderValue::from_static(algorithm.name()),
        );
        let kind = checksums::type_name(row.composite);
        told.insert(HeaderName::from_static("x-amz-checksum-type"), HeaderValue::from_static(kind));
    }
    storage
        .write(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            tables.uploads.insert((bucket.as_str(), key.as_str(), id), &*row.encode_to_vec())?;
            Ok(())
        })
        .await?;
    Ok(S3Response::with_headers(output, told))
}

/// Whether the checksum of an upload is composite. Which types an algorithm supports, and which is its default:
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>.
fn is_composite(headers: &HeaderMap, asked: Option<Algorithm>) -> S3Result<bool> {
    let composite = match (text(headers, "x-amz-checksum-type"), asked) {
        (None, None) => return Ok(false),
        (None, Some(algorithm)) => return Ok(algorithm.allows(true)),
        (Some(_), None) => {
            return Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            ));
        }
        (Some("COMPOSITE"), _) => true,
        (Some("FULL_OBJECT"), _) => false,
        (Some(_), _) => {
            return Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid."));
        }
    };
    match asked {
        Some(algorithm) if !algorithm.allows(composite) => Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            checksums::type_name(composite),
            algorithm.name().to_ascii_lowercase()
        )),
        _ => Ok(composite),
    }
}

/// Aborts an upload and removes its parts.
pub(super) async fn abort_multipart_upload(
    storage: &Arc<Storage>,
    mut request: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let headers = received(&mut request).headers;
    let AbortMultipartUploadInput { bucket, key, upload_id, .. } = request.input;
    storage
        .delete(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let (id, _) = upload(&tables.uploads, &bucket, &key, &upload_id)?;
            tables.uploads.remove((bucket.as_str(), key.as_str(), id))?;
            tables.remove_parts(id)?;
            Ok(())
        })
        .await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// Formats an upload id for callers.
pub(super) fn written(id: u64) -> String {
    format!("{id:016x}")
}

/// Parses an upload id from a caller. Returns `None` if the server cannot have issued it.
pub(super) fn parse(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok().filter(|number| written(*number) == id)
}

/// Looks up the upload of a request.
pub(super) fn upload(
    uploads: &impl ReadableTable<(&'static str, &'static str, u64), &'static [u8]>,
    bucket: &str,
    key: &str,
    id: &str,
) -> Result<(u64, UploadRow), Failed> {
    let id = parse(id).ok_or_else(no_such_upload)?;
    let row = storage::upload(uploads, bucket, key, id)?.ok_or_else(no_such_upload)?;
    Ok((id, row))
}

pub(super) fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    )
}
