//! A store's settings for its bucket and for requests to it.

use super::ChecksumAlgorithm;

/// A bucket, its endpoint, and the options of requests to it.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketSettings {
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for. Default: us-east-1. A wrong region is corrected once per request,
    /// from S3's response.
    pub region: String,
    /// The endpoint: `http://` or `https://`, a host, and optionally a port and a path. Default: Amazon S3's endpoint
    /// in the region.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the host name. Default: false, which makes the bucket the first segment of the
    /// path. A bucket with dots in its name stays in the path under TLS, because no certificate matches it.
    pub virtual_hosted_style: bool,
    /// Whether the signature omits the payload. Default: `None`, which omits the payload over TLS if it has a
    /// checksum, and signs it otherwise.
    pub unsigned_payload: Option<bool>,
    /// Whether requests are sent unsigned. Default: false.
    pub skip_signature: bool,
    /// Whether requests state that the requester pays. Default: false.
    pub request_payer: bool,
    /// The checksum sent with every write. Default: `None`, which sends crc64nvme to Amazon S3 and no checksum
    /// elsewhere.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
    /// Encryption at rest requested with every write. Default: `None`, which leaves it to the bucket.
    pub encryption: Option<ServerSideEncryption>,
}

/// Encryption at rest, `x-amz-server-side-encryption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSideEncryption {
    /// The header's value: AES256, aws:kms or aws:kms:dsse.
    pub algorithm: String,
    /// The id of the KMS key, if `algorithm` uses KMS.
    pub kms_key_id: Option<String>,
    /// Whether S3 derives keys from a bucket key to save calls to KMS.
    pub bucket_key_enabled: Option<bool>,
}

impl BucketSettings {
    /// Creates settings for `bucket`, with defaults for everything else.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            virtual_hosted_style: false,
            unsigned_payload: None,
            skip_signature: false,
            request_payer: false,
            checksum_algorithm: None,
            encryption: None,
        }
    }
}
