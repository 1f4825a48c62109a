//! What every operation asks of its request before anything else.

use http::HeaderMap;
use s3s::{S3Error, S3Request, S3Result, dto::Timestamp, s3_error};

use crate::embedded::{
    received::Received,
    storage::{self, BucketRow, Failed},
};

pub(super) use crate::embedded::received::{coded, detailed, text};

/// The one account, to which every bucket and every access key belongs.
pub(super) const ACCOUNT: &str = "123456789012";

/// The request as it came.
pub(super) fn received<T>(request: &mut S3Request<T>) -> Received {
    request.extensions.remove().unwrap_or_else(|| Received {
        headers: request.headers.clone(),
        trailers: request.trailing_headers.clone(),
    })
}

/// The instant of a row's seconds.
pub(super) fn timestamp(seconds: u64) -> Timestamp {
    storage::instant(seconds).into()
}

/// S3's number in an answer; what is larger than it can say does not occur.
pub(super) fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// A bucket that is there, belongs to whom the caller expects, and is paid for as it wants.
pub(super) fn admit(bucket: Option<BucketRow>, headers: &HeaderMap) -> Result<BucketRow, Failed> {
    let Some(bucket) = bucket else {
        return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist").into());
    };
    expect_owner(headers, "x-amz-expected-bucket-owner")?;
    // S3 lets the owner off; here every caller is the owner, and the header would never be tested.
    if bucket.requester_pays && text(headers, "x-amz-request-payer") != Some("requester") {
        return Err(s3_error!(
            AccessDenied,
            "Access Denied: the requester pays, and has to say so by x-amz-request-payer"
        )
        .into());
    }
    Ok(bucket)
}

/// Refuses another owner than the one account.
pub(super) fn expect_owner(headers: &HeaderMap, name: &str) -> S3Result<()> {
    match text(headers, name) {
        Some(owner) if owner != ACCOUNT => Err(s3_error!(AccessDenied, "Access Denied")),
        _ => Ok(()),
    }
}

/// Buckets have no versions, so an object has one, called `null`.
pub(super) fn only_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

/// Refuses what would be said of a new object and is not kept. Buckets are as S3 makes them today: without
/// ACLs (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html>) and object lock.
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
