//! GetBucketVersioning and PutBucketVersioning.

use std::sync::Arc;

use http::HeaderMap;
use prost::Message;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        BucketVersioningStatus, GetBucketVersioningInput, GetBucketVersioningOutput, MFADelete,
        PutBucketVersioningInput, PutBucketVersioningOutput,
    },
    s3_error,
};

use super::call::{admit, received};
use crate::embedded::storage::{self, Storage, Versioning};

/// Returns no status for a bucket that never had versioning, as S3 does.
pub(super) async fn bucket_versioning(
    storage: &Arc<Storage>,
    mut request: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let headers = received(&mut request).headers;
    let bucket = request.input.bucket;
    let row = storage.read(move |tables| admit(storage::bucket(&tables.buckets, &bucket)?, &headers)).await?;
    let status = match row.versioning() {
        Versioning::Never => None,
        Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    }))
}

/// Enables or suspends versioning. Existing objects keep the version `null`.
pub(super) async fn put_bucket_versioning(
    storage: &Arc<Storage>,
    mut request: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let headers = received(&mut request).headers;
    let PutBucketVersioningInput { bucket, versioning_configuration, .. } = request.input;
    if versioning_configuration.mfa_delete.is_some_and(|mfa| mfa.as_str() == MFADelete::ENABLED) {
        return Err(s3_error!(NotImplemented, "MFA delete is not implemented"));
    }
    let versioning = match versioning_configuration.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
        Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
        _ => {
            return Err(s3_error!(
                IllegalVersioningConfigurationException,
                "The Versioning element must be specified"
            ));
        }
    };
    set_versioning(storage, bucket, versioning, headers).await?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}

pub(in crate::embedded) async fn set_versioning(
    storage: &Storage,
    bucket: String,
    versioning: Versioning,
    headers: HeaderMap,
) -> S3Result<()> {
    storage
        .write(move |tables| {
            let mut row = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            row.set_versioning(versioning);
            tables.buckets.insert(bucket.as_str(), &*row.encode_to_vec())?;
            Ok(())
        })
        .await
}
