//! What the front has to know of buckets.

use s3s::dto::CORSRule;

/// Settings of buckets that concern every request.
#[async_trait::async_trait]
pub(in super::super) trait BucketSettings: Send + Sync + 'static {
    /// The CORS rules of a bucket in their order; none where there is no such bucket or it has none.
    async fn cors_rules(&self, bucket: &str) -> Vec<CORSRule>;

    /// Whether callers pay for what they ask of a bucket.
    async fn requester_pays(&self, bucket: &str) -> bool;
}
