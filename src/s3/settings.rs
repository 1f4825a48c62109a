//! A store's settings for its bucket and for requests to it.

use crate::settings::{Flag, Keyword, Keywords, Notes, Optional, Text, UNSUPPORTED, settings};

use super::{
    ChecksumAlgorithm,
    forms::{BucketName, EndpointUrl, RegionName, RequestPayer},
};

settings! {
    /// A bucket, its endpoint, and the options of requests to it.
    pub struct BucketSettings(BucketLayer), variables "AWS_", keys "aws_" {
        /// The bucket, with any name that the server accepts (`My_Bucket`, `tenant:bucket`); with
        /// `virtual_hosted_style_request`, 3 to 63 of `a-z`, `0-9`, `-`, `.`.
        bucket ["bucket_name"]: String as BucketName = String::new() => "from `url`",
        /// The region that requests are signed for; if it is wrong, Longshore takes the right one from S3's response.
        region: String as RegionName = "us-east-1".to_owned() => "from `url`, `default_region`, or `us-east-1`",
        /// The S3 server: `http://` or `https://`, a host, and optionally a port and a path; `http://` requires
        /// `client_options.allow_http`.
        endpoint ["endpoint_url"] {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"}:
            Option<String> as EndpointUrl = None => "Amazon S3 in the region",
        /// The S3 server in presigned URLs and upload forms (`Sign`, `SignPost`), if their users reach it under another
        /// address than Longshore does; written like `endpoint`. The signature covers the host, so a proxy there must
        /// pass on the `Host` header.
        public_endpoint: Option<String> as EndpointUrl = None => "`endpoint`",
        /// Whether the bucket is part of the host name. Otherwise, it is the first segment of the path. A bucket with
        /// dots in its name stays in the path under TLS, because no certificate matches it.
        virtual_hosted_style = "virtual_hosted_style_request": bool as Flag = false,
        /// `true`: the signature never covers the body; `false`: it always does; not set: it covers the body, except over
        /// TLS if the request has a checksum.
        unsigned_payload: Option<bool> as Optional<Flag> = None,
        /// Whether requests are sent unsigned, for public buckets.
        skip_signature: bool as Flag = false,
        /// Whether the requester pays.
        request_payer {"AWS_REQUEST_PAYER", "AWS_REQUESTER_PAYS"}: bool as RequestPayer = false,
        /// The checksum algorithm of writes whose caller requests none.
        checksum_algorithm: Option<ChecksumAlgorithm> as Optional<Keyword<ChecksumAlgorithm>> =
            None => "`crc64nvme` for Amazon S3, none elsewhere",
        /// The encryption at rest that is requested with every write.
        server_side_encryption: Option<EncryptionAlgorithm> as Optional<Keyword<EncryptionAlgorithm>> =
            None => "the bucket's own",
        /// The KMS key; only with `aws:kms` and `aws:kms:dsse`.
        sse_kms_key_id: Option<String> as Optional<Text> = None,
        /// Whether S3 Bucket Keys are used, which save calls to KMS; only with `aws:kms`.
        sse_bucket_key_enabled: Option<bool> as Optional<Flag> = None,
    }
    reject {
        "s3_express" => UNSUPPORTED,
        "sse_customer_key_base64" => UNSUPPORTED,
        "use_accelerate_endpoint" => UNSUPPORTED,
        "use_dualstack_endpoint" => UNSUPPORTED,
        "use_fips_endpoint" => UNSUPPORTED,
    }
}

impl BucketLayer {
    /// Records a problem for each key that contradicts another one.
    pub(crate) fn check(&self, notes: &Notes) {
        let algorithm = self.server_side_encryption.get().copied();
        if algorithm.is_none() && self.server_side_encryption.is_given() {
            return;
        }
        if let Some(place_id) = self.sse_kms_key_id.place_id()
            && !matches!(algorithm, Some(EncryptionAlgorithm::Kms | EncryptionAlgorithm::KmsDsse))
        {
            notes.problem(place_id, "requires server_side_encryption: \"aws:kms\" or \"aws:kms:dsse\"");
        }
        // S3 User Guide, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys": DSSE-KMS does not support them.
        if let Some(place_id) = self.sse_bucket_key_enabled.place_id()
            && algorithm != Some(EncryptionAlgorithm::Kms)
        {
            notes.problem(place_id, "requires server_side_encryption: \"aws:kms\"");
        }
    }
}

impl BucketSettings {
    /// Creates settings for `bucket`, with defaults for everything else.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self { bucket: bucket.into(), ..Self::default() }
    }
}

/// Encryption at rest, `x-amz-server-side-encryption`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionAlgorithm {
    /// With keys that S3 manages.
    Aes256,
    /// With a key in KMS.
    Kms,
    /// Twice, with keys in KMS.
    KmsDsse,
}

impl Keywords for EncryptionAlgorithm {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("AES256", Self::Aes256), ("aws:kms", Self::Kms), ("aws:kms:dsse", Self::KmsDsse)];
    const UNSUPPORTED: &'static [&'static str] = &["sse-c"];
}
