//! What a store sets about its bucket and how requests to it are made.

use super::ChecksumAlgorithm;

/// A bucket, where it is, and how to talk to it.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketSettings {
    /// The bucket's name.
    pub bucket: String,
    /// The region that requests are signed for. Default: us-east-1. A wrong one is corrected once, from S3's answer.
    pub region: String,
    /// `http://` or `https://`, host, optional port and path. Default: Amazon S3's endpoint of the region.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the host name. Default: false, the bucket is the path's first segment.
    /// A bucket with dots in its name stays in the path under TLS, since no certificate matches it.
    pub virtual_hosted_style: bool,
    /// Whether the payload is left out of the signature. `None`, the default: left out over TLS where a checksum goes with
    /// it, signed otherwise.
    pub unsigned_payload: Option<bool>,
    /// Whether requests go unsigned. Default: false.
    pub skip_signature: bool,
    /// Whether requests say that the requester pays. Default: false.
    pub request_payer: bool,
    /// The checksum sent with every write. `None`, the default: crc64nvme on Amazon S3, none elsewhere.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
    /// Encryption at rest asked for with every write. Default: the bucket's own.
    pub encryption: Option<ServerSideEncryption>,
}

/// Encryption at rest, `x-amz-server-side-encryption`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSideEncryption {
    /// The header's value: AES256, aws:kms or aws:kms:dsse.
    pub algorithm: String,
    /// The KMS key, where `algorithm` is one of KMS's.
    pub kms_key_id: Option<String>,
    /// Whether S3 derives keys per bucket to save calls to KMS.
    pub bucket_key_enabled: Option<bool>,
}

impl BucketSettings {
    /// The settings of `bucket` with everything else at its default.
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
