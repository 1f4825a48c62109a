//! Everything that one store can be told.

use std::time::Duration;

use super::OrphanSettings;
use crate::{
    credentials::ProviderSettings,
    s3::BucketSettings,
    transport::{ClientOptions, RetryPolicy},
};

const MIB: u64 = 1024 * 1024;

/// One store of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSettings {
    /// The bucket and how to talk to it.
    pub bucket: BucketSettings,
    /// What every key begins with in the bucket: empty, or ending in `/`. Callers never see it.
    pub prefix: String,
    /// How conditional writes are made.
    pub conditional_put: ConditionalPut,
    /// How a copy that must not overwrite is made.
    pub copy_if_not_exists: CopyIfNotExists,
    /// Whether conditional writes carry an id that tells whose effect they are. Default: true.
    pub write_id: bool,
    /// Whether object tags are refused. Default: false.
    pub disable_tagging: bool,
    /// Whether many keys are deleted by one request each. Default: false.
    pub disable_bulk_delete: bool,
    /// The HTTP client.
    pub client_options: ClientOptions,
    /// Retries.
    pub retry_config: RetryPolicy,
    /// Large objects.
    pub transfer: TransferSettings,
    /// Where credentials come from.
    pub credential_provider: ProviderSettings,
}

impl StoreSettings {
    /// A store over the whole of a bucket, everything else at its default.
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

    /// How an answer that breaks off in its body is gone on with.
    pub(super) fn download_policy(&self) -> RetryPolicy {
        let max_retries = self.transfer.download_attempts.saturating_sub(1);
        RetryPolicy { max_retries, ..self.retry_config.clone() }
    }
}

/// `conditional_put`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionalPut {
    /// By `If-Match` and `If-None-Match`. The default.
    Etag,
    /// Conditional writes are refused.
    Disabled,
}

/// `copy_if_not_exists`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyIfNotExists {
    /// A multipart upload whose completion carries the condition. The default.
    Multipart,
    /// `CopyObject` with the condition in `If-None-Match` or `If-Match`.
    Native,
    /// `CopyObject` with a header of the server's own; `status` says that the key exists.
    Header {
        /// The header's name.
        name: String,
        /// The header's value.
        value: String,
        /// The status that means "exists"; 412 unless given.
        status: u16,
    },
}

/// `transfer`: how large objects are cut up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferSettings {
    /// An upload larger than this becomes a multipart upload, in bytes. Default: 8 MiB.
    pub multipart_threshold: u64,
    /// The size of a part in bytes, 5 MiB to 512 MiB; grown so that 10,000 parts hold the object. Default: 8 MiB.
    pub part_size: u64,
    /// How many parts of one upload, or of one read that waits for S3, are under way at once, 1 to 100. Default: 10.
    pub max_concurrency: usize,
    /// A read fails when its connection has broken this many times without a byte coming between, at least 1; until then it
    /// goes on, after waits as `retry_config` has them. Default: 5, as `num_download_attempts` in boto3's TransferConfig.
    pub download_attempts: u32,
    /// How long the answer to a GetObject or HeadObject may take to begin before it is asked for once more, on another
    /// connection; whichever is answered first is what the read gets. `None`, the default: for ever. S3's guide advises 2 s
    /// for small objects
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html>).
    pub hedge_after: Option<Duration>,
    /// Whether all parts of an upload but the last have one size, as Cloudflare R2 wants it. An upload whose size is not known then cannot be
    /// larger than 10,000 parts of `part_size`. Default: false, and true for endpoints of R2.
    pub equal_parts: bool,
    /// When unfinished uploads below the store's prefix are taken for orphans; `None`, the default: never.
    pub orphans: Option<OrphanSettings>,
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
