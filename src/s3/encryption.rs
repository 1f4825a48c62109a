//! The headers for encryption at rest.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/serv-side-encryption.html>

use http::{HeaderMap, HeaderValue};

use crate::settings::Keywords;

use super::{BucketSettings, Error, Field, headers::visible};

/// What a request does with the data of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DataAccess {
    /// Reads the object, or its properties.
    Read,
    /// Creates the object, or a multipart upload for it.
    Create,
    /// Stores or lists parts of a multipart upload, or completes it.
    Upload,
    /// Copies the object of a store, which may differ from the store that the request writes to.
    CopyFrom,
}

/// Adds the encryption headers that a request needs, given its access to the store's data.
pub(super) fn add_headers(
    headers: &mut HeaderMap,
    access: DataAccess,
    settings: &BucketSettings,
) -> Result<(), Error> {
    match access {
        DataAccess::Create => request_encryption(headers, settings),
        // S3 knows how the object or the upload is encrypted.
        DataAccess::Read | DataAccess::Upload | DataAccess::CopyFrom => Ok(()),
    }
}

/// Adds `x-amz-server-side-encryption`, and the headers for the KMS key and the S3 Bucket Key, as far as they are set.
fn request_encryption(headers: &mut HeaderMap, settings: &BucketSettings) -> Result<(), Error> {
    let Some(algorithm) = settings.server_side_encryption else { return Ok(()) };
    headers.insert("x-amz-server-side-encryption", HeaderValue::from_static(algorithm.keyword()));
    if let Some(key) = &settings.sse_kms_key_id {
        headers.insert(
            "x-amz-server-side-encryption-aws-kms-key-id",
            visible(key, Field::Setting("sse_kms_key_id"))?,
        );
    }
    if let Some(enabled) = settings.sse_bucket_key_enabled {
        let value = HeaderValue::from_static(if enabled { "true" } else { "false" });
        headers.insert("x-amz-server-side-encryption-bucket-key-enabled", value);
    }
    Ok(())
}
