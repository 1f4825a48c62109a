//! The settings of one store.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    credentials::ProviderSettings,
    s3::BucketSettings,
    settings::{
        AtLeast, Count, Flag, Keyword, Keywords, Number, Optional, Scalar, Size, UNSUPPORTED, quoted,
        settings,
    },
    transport::{ClientOptions, RetryPolicy},
};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// In milliseconds.
const HOUR: u64 = 60 * 60 * 1000;

settings! {
    /// The settings of one of a tenant's stores.
    pub struct StoreSettings(StoreLayer), variables "AWS_", keys "aws_" {
        /// `etag`: conditional writes use `If-Match` and `If-None-Match`; `disabled`: the modes `create` and `update`
        /// are rejected, also in copies, except for `create` copies that `CopyObject` makes with a header of
        /// `copy_if_not_exists`.
        conditional_put: ConditionalPut as Keyword<ConditionalPut> = ConditionalPut::Etag,
        /// How conditional copies are made.
        copy_if_not_exists: CopyIfNotExists as CopyIfNotExists = CopyIfNotExists::Multipart,
        /// Whether conditional writes and resumable uploads carry hidden metadata, by which Longshore can tell after a
        /// lost response whose write took effect.
        write_id {}: bool as Flag = true,
        /// Whether writes with tags, `GetTags`, `PutTags` and `DeleteTags` are rejected. If so, this also affects copies that Longshore makes in parts, or by
        /// reading from one store and writing to another: such a copy from this store has no tags unless the request
        /// gives some; such a copy from another store into this one fails if the source has tags. `CopyObject` keeps
        /// tags.
        disable_tagging: bool as Flag = false,
        /// Whether `PutBucketCors` and `DeleteBucketCors` may change the rules of the bucket although the store has a
        /// prefix. The rules apply to the whole bucket, so other stores with the same bucket are affected, too.
        allow_bucket_cors {}: bool as Flag = false,
        /// Whether `DeleteMany` sends a separate request for each key.
        disable_bulk_delete: bool as Flag = false,
    }
    include {
        /// The bucket and how to reach it.
        bucket: BucketSettings,
    }
    besides {
        /// The prefix of the store's keys in the bucket: empty, or ending in `/`. Callers' keys do not contain it.
        prefix: String = String::new(),
        /// The options of the HTTP client.
        client_options: ClientOptions = ClientOptions::default(),
        /// How requests are retried.
        retry_config: RetryPolicy = RetryPolicy::default(),
        /// How large objects are transferred.
        transfer: TransferSettings = TransferSettings::default(),
        /// Where credentials come from.
        credential_provider: ProviderSettings = ProviderSettings::Anonymous,
    }
}

impl StoreSettings {
    /// Settings for a store without a prefix. Everything else has its default.
    pub fn new(bucket: BucketSettings, credential_provider: ProviderSettings) -> Self {
        Self { bucket, credential_provider, ..Self::default() }
    }

    /// How long to pause before an interrupted read resumes. `download_attempts` limits the number of attempts.
    pub(super) fn download_policy(&self) -> RetryPolicy {
        RetryPolicy { max_retries: u32::MAX, ..self.retry_config.clone() }
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

impl Keywords for ConditionalPut {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("etag", Self::Etag), ("disabled", Self::Disabled)];
    const UNSUPPORTED: &'static [&'static str] = &["dynamo"];
}

/// The `copy_if_not_exists` setting, in object_store's notation.
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

impl Scalar for CopyIfNotExists {
    type Value = Self;

    fn expected() -> String {
        "multipart, native, header:NAME:VALUE or header-with-status:NAME:VALUE:STATUS".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with("dynamo") {
            return Err(format!("`dynamo` is not supported by this version; expected {}", Self::expected()));
        }
        let wrong = || format!("expected {}, found {}", Self::expected(), quoted(text));
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        match (kind.trim(), rest) {
            ("multipart", None) => Ok(Self::Multipart),
            ("native", None) => Ok(Self::Native),
            ("header", Some(rest)) => Self::header(rest, StatusCode::PRECONDITION_FAILED).ok_or_else(wrong),
            ("header-with-status", Some(rest)) => {
                let (rest, status) = rest.rsplit_once(':').ok_or_else(wrong)?;
                let status: StatusCode = status.trim().parse().map_err(|_| wrong())?;
                if status.is_success() || status.is_informational() {
                    return Err(format!(
                        "the status {} cannot signal that the key exists: use an error status such as 412",
                        status.as_u16()
                    ));
                }
                Self::header(rest, status).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }

    fn form() -> String {
        "`multipart`, `native`, `header:NAME:VALUE`, `header-with-status:NAME:VALUE:STATUS`".to_owned()
    }

    fn schema() -> serde_json::Value {
        let header = "[^: ]+ *: *[^ ].*";
        let pattern = format!(
            "^ *(multipart|native|header *: *{header}|header-with-status *: *{header}: *[0-9]{{3}} *)$"
        );
        serde_json::json!({"type": "string", "pattern": pattern})
    }

    fn show(value: &Self) -> Option<String> {
        Some(match value {
            Self::Multipart => "multipart".to_owned(),
            Self::Native => "native".to_owned(),
            Self::Header { name, value, status: 412 } => format!("header:{name}:{value}"),
            Self::Header { name, value, status } => format!("header-with-status:{name}:{value}:{status}"),
        })
    }
}

impl CopyIfNotExists {
    fn header(text: &str, status: StatusCode) -> Option<Self> {
        let (name, value) = text.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        HeaderName::try_from(name).ok()?;
        HeaderValue::try_from(value).ok().filter(|value| !value.is_empty())?;
        Some(Self::Header { name: name.to_owned(), value: value.to_owned(), status: status.as_u16() })
    }
}

settings! {
    /// The `transfer` setting: how large objects are split into parts.
    #[derive(Copy)]
    pub struct TransferSettings(TransferLayer) {
        // A single PutObject accepts at most 5 GiB (S3 User Guide, "Amazon S3 multipart upload limits").
        /// Larger uploads become multipart uploads.
        multipart_threshold: u64 as Size<0, { 5 * GIB }> = 8 * MIB,
        /// The size of a part. It grows so that an object of known size fits into 10,000 parts, up to
        /// `part_size` × `max_concurrency` or 128MiB, whichever is more. Objects larger than 10,000 such parts (1.2 TiB
        /// by default) need a larger `part_size`. Without a known size, the part size doubles every 2,000 parts, up to the same
        /// limit: by default 8, 16, 32, 64 and 128 MiB, so an upload of unknown size has at most 484 GiB.
        part_size ["multipart_chunksize"]: u64 as Size<{ 5 * MIB }, { 512 * MIB }> = 8 * MIB,
        /// How many requests of a call are in flight at once: parts of an upload or of a read of a large object, ranges
        /// of an object, batches of 1,000 keys of a `DeleteMany`, pages of a long `Walk` (see
        /// `WalkRequest.parallelism`). A part of an upload that only waits for S3's response does not count, and neither
        /// does a part of a read that is about to end.
        max_concurrency: usize as Count<1, 100> = 10,
        /// A read fails when this many connections in a row have each broken before they delivered 64 KiB. After any
        /// other break, the read resumes where it stopped, with the waits of `retry_config`. `max_retries` does not apply: it limits retries of requests whose response has not begun.
        download_attempts ["num_download_attempts"]: u32 as Number<1, 100> = 5,
        // Below a millisecond, every read would be sent twice.
        /// How long the response to a `GetObject` or `HeadObject` may take to begin, including connecting, before
        /// Longshore sends the request once more, on another connection; shorter than `read_timeout`.
        hedge_after: Option<Duration> as Optional<AtLeast<1>> = None => "never",
        /// Whether all parts of an upload except for the last have the same size, as Cloudflare R2 requires. An upload
        /// of unknown size then cannot be larger than 10,000 × `part_size`.
        equal_parts: bool as Flag = false => "`false`; `true` for endpoints of Cloudflare R2",
        // Below an hour, uploads that are still in progress would count.
        /// A multipart upload under the store's prefix counts as orphaned if it was started, and its last part was
        /// written, at least this long ago by the S3 server's clock. One minute after startup and then every hour,
        /// Longshore logs the number of such uploads, whichever program began them, and the oldest one. Needs the
        /// permissions s3:ListBucketMultipartUploads and s3:ListMultipartUploadParts.
        orphan_age: Option<Duration> as Optional<AtLeast<HOUR>> = None => "never",
        /// Whether Longshore aborts orphaned uploads, so that S3 no longer stores and charges for their parts. If other
        /// programs upload to the bucket, the uploads may be theirs: check the log first.
        abort_orphans: bool as Flag = false,
    }
    reject {
        "max_bandwidth" => UNSUPPORTED,
        "max_io_queue" => LOCAL_FILES,
        "io_chunksize" => LOCAL_FILES,
        "preferred_transfer_client" =>
            "chooses between the transfer clients of boto3, and Longshore has only one: remove it",
    }
}

const LOCAL_FILES: &str =
    "configures how boto3 accesses local files, which Longshore does not use: remove it";

impl TransferSettings {
    /// When an unfinished upload counts as an orphan. `None`: never.
    pub fn orphans(&self) -> Option<OrphanSettings> {
        self.orphan_age.map(|age| OrphanSettings { age, abort: self.abort_orphans })
    }
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
