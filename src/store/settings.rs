//! The settings of one store.

use std::time::Duration;

use crate::{
    credentials::ProviderSettings,
    s3::BucketSettings,
    transport::{ClientOptions, RetryPolicy},
};

const MIB: u64 = 1024 * 1024;

/// The settings of one of a tenant's stores.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// The bucket and how to reach it.
    pub bucket: BucketSettings,
    /// The prefix of the store's keys in the bucket: empty, or ending in `/`. Callers' keys do not
    /// contain it.
    pub prefix: String,
    /// How conditional writes are made.
    pub conditional_put: ConditionalPut,
    /// How copies that must not overwrite an object are made.
    pub copy_if_not_exists: CopyIfNotExists,
    /// Whether conditional writes and resumable uploads store a unique id with the object, by which Longshore
    /// recognises its own write. Default: true.
    pub write_id: bool,
    /// Whether object tags are rejected. Default: false.
    pub disable_tagging: bool,
    /// Whether each of many keys is deleted with its own DeleteObject request, instead of DeleteObjects. Default:
    /// false.
    pub disable_bulk_delete: bool,
    /// The options of the HTTP client.
    pub client_options: ClientOptions,
    /// How requests are retried.
    pub retry_config: RetryPolicy,
    /// How large objects are transferred.
    pub transfer: TransferSettings,
    /// Where credentials come from.
    pub credential_provider: ProviderSettings,
}

impl StoreSettings {
    /// Settings for a store without a prefix. Everything else has its default.
    pub fn new(bucket: BucketSettings, credential_provider: ProviderSettings) -> Self {
        Self {
            bucket,
            prefix: String::new(),
            conditional_put: ConditionalPut::Etag,
            copy_if_not_exists: CopyIfNotExists::Multipart,
            write_id: true,
            disable_tagging: false,
            disable_bulk_delete: false,
            client_options: ClientOptions::default(),
            retry_config: RetryPolicy::default(),
            transfer: TransferSettings::default(),
            credential_provider,
        }
    }

    /// The policy for resuming a response whose body was interrupted.
    pub(super) fn download_policy(&self) -> RetryPolicy {
        let max_retries = self.transfer.download_attempts.saturating_sub(1);
        RetryPolicy { max_retries, ..self.retry_config.clone() }
    }
}

/// The `conditional_put` setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    /// With `If-Match` and `If-None-Match`. The default.
    Etag,
    /// Conditional writes are rejected.
    Disabled,
}

/// The `copy_if_not_exists` setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyIfNotExists {
    /// A multipart upload whose completion carries the condition. The default.
    Multipart,
    /// `CopyObject` with the condition in `If-None-Match` or `If-Match`.
    Native,
    /// `CopyObject` with a header that is specific to the server, which answers with `status` if the key exists.
    Header {
        /// The header's name.
        name: String,
        /// The header's value.
        value: String,
        /// The HTTP status that means that the key exists. Default: 412.
        status: u16,
    },
}

/// The `transfer` setting: how large objects are split into parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSettings {
    /// Size in bytes above which an upload becomes a multipart upload. Default: 8 MiB.
    pub multipart_threshold: u64,
    /// The size of a part in bytes, 5 MiB to 512 MiB. Parts are larger if the object would not fit into 10,000 of them.
    /// Default: 8 MiB.
    pub part_size: u64,
    /// Maximum number of parts in flight for one upload, or for one read that waits for S3, 1 to 100. Default: 10.
    pub max_concurrency: usize,
    /// A read fails after this many interruptions in a row with less than 64 KiB received in between, at least 1. Until
    /// then, it resumes after the backoff that `retry_config` sets. Default: 5, as `num_download_attempts` in boto3's
    /// TransferConfig.
    pub download_attempts: u32,
    /// How long to wait for a response to GetObject or HeadObject to begin before the request is sent again over
    /// another connection. The read uses the response that begins first. `None`, the default, never sends a second
    /// request. S3's guide advises 2 s for small objects
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html>).
    pub hedge_after: Option<Duration>,
    /// Whether all parts of an upload except the last have the same size, as Cloudflare R2 requires. An upload of
    /// unknown size is then limited to 10,000 parts of `part_size`. Default: false, but true for R2 endpoints.
    pub equal_parts: bool,
    /// When an unfinished upload under the store's prefix counts as an orphan. `None`, the default: never.
    pub orphans: Option<OrphanSettings>,
}

/// When an unfinished upload counts as an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanSettings {
    /// Minimum time since it was started and since its last part was written.
    pub age: Duration,
    /// Whether orphans are aborted. Otherwise they are only reported: in a bucket that other programs also write to,
    /// they may belong to those.
    pub abort: bool,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self {
            multipart_threshold: 8 * MIB,
            part_size: 8 * MIB,
            max_concurrency: 10,
            download_attempts: 5,
            hedge_after: None,
            equal_parts: false,
            orphans: None,
        }
    }
}
