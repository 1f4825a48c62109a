//! The checks that operations make before anything else, and conversions that they share.

use http::HeaderMap;
use s3s::{S3Error, S3Request, S3Result, dto::Timestamp, s3_error};

use crate::embedded::{
    received::Received,
    storage::{self, BucketRow, Failed, ObjectRow, VersionId, Versioning},
};

pub(super) use crate::embedded::received::{coded, detailed, text};

/// The only account. Every bucket and every access key belongs to it.
pub(super) const ACCOUNT: &str = "123456789012";

/// Takes the received headers and trailers out of a request.
pub(super) fn received<T>(request: &mut S3Request<T>) -> Received {
    request.extensions.remove().unwrap_or_else(|| Received {
        headers: request.headers.clone(),
        trailers: request.trailing_headers.clone(),
        sizes: None,
    })
}

/// Converts the seconds in a row to a timestamp.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    storage::instant(seconds).into()
}

/// Converts a size to the type that responses use. Sizes that do not fit do not occur.
pub(super) fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Checks that a bucket exists and has the owner that the caller expects, and that the caller agrees to pay if it must.
pub(super) fn admit(bucket: Option<BucketRow>, headers: &HeaderMap) -> Result<BucketRow, Failed> {
    let Some(bucket) = bucket else {
        return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist").into());
    };
    expect_owner(headers, "x-amz-expected-bucket-owner")?;
    // S3 exempts the owner. Here every caller is the owner, so with that exemption the header would never be checked.
    if bucket.requester_pays && text(headers, "x-amz-request-payer") != Some("requester") {
        return Err(s3_error!(
            AccessDenied,
            "Access Denied: the requester pays for this bucket; send x-amz-request-payer: requester"
        )
        .into());
    }
    Ok(bucket)
}

/// Rejects a request that expects another owner than the only account.
pub(super) fn expect_owner(headers: &HeaderMap, name: &str) -> S3Result<()> {
    match text(headers, name) {
        Some(owner) if owner != ACCOUNT => Err(s3_error!(AccessDenied, "Access Denied")),
        _ => Ok(()),
    }
}

/// The version that a request names.
pub(super) fn asked_version(version: Option<&str>) -> S3Result<Option<VersionId>> {
    let invalid = || s3_error!(InvalidArgument, "Invalid version id specified");
    version.map(|version| VersionId::parse(version).ok_or_else(invalid)).transpose()
}

/// The id of a version as responses have it: in buckets that never had versions, they have none.
pub(super) fn told_version(versioning: Versioning, row: &ObjectRow) -> Option<String> {
    (versioning != Versioning::Never).then(|| VersionId::of(row).text())
}

/// Rejects headers for attributes that the server does not store. Buckets are like new buckets in S3: without ACLs
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>) and object lock.
pub(super) fn refuse_unkept(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys().map(http::HeaderName::as_str) {
        if name.starts_with("x-amz-grant-") {
            return Err(no_acls());
        }
        if name.starts_with("x-amz-object-lock-") {
            return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
    }
    match text(headers, "x-amz-acl") {
        None | Some("private" | "bucket-owner-full-control") => Ok(()),
        Some(_) => Err(no_acls()),
    }?;
    if headers.contains_key("x-amz-write-offset-bytes") {
        return Err(s3_error!(NotImplemented, "Appending to objects is not implemented"));
    }
    Ok(())
}

fn no_acls() -> S3Error {
    s3_error!(AccessControlListNotSupported, "The bucket does not allow ACLs")
}
