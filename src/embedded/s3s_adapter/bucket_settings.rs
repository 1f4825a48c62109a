//! The settings of buckets that the adapter needs.

use s3s::dto::CORSRule;

/// Settings of buckets that concern every request.
#[async_trait::async_trait]
pub(in super::super) trait BucketSettings: Send + Sync + 'static {
    /// The CORS rules of a bucket, in order. Empty if the bucket has none or does not exist.
    async fn cors_rules(&self, bucket: &str) -> Vec<CORSRule>;

    /// Whether callers pay for their requests to a bucket.
    async fn requester_pays(&self, bucket: &str) -> bool;
}
