//! `config`: the bucket, how requests address it, and settings for conditional writes, copies and encryption.

use http::{HeaderName, HeaderValue, StatusCode};

use crate::{
    s3::{ChecksumAlgorithm, ServerSideEncryption},
    store::{ConditionalPut, CopyIfNotExists},
};

use super::{
    field::sparse,
    keywords::{Keyword, Keywords},
    path::quoted,
    problem::Notes,
    secret::Secret,
    url,
    values::{Flag, Scalar, Text, scalars},
};

sparse! {
    /// `config`. Like in object_store, every key may also be written with the prefix `aws_`.
    Config, "config" {
        #[serde(alias = "aws_access_key_id")]
        access_key_id: Secret,
        #[serde(alias = "aws_secret_access_key")]
        secret_access_key: Secret,
        #[serde(alias = "aws_session_token", alias = "token", alias = "aws_token")]
        session_token: Secret,
        #[serde(alias = "aws_bucket", alias = "bucket_name", alias = "aws_bucket_name")]
        bucket: Bucket,
        #[serde(alias = "aws_region")]
        region: Region,
        #[serde(alias = "aws_default_region")]
        default_region: Region,
        #[serde(alias = "aws_endpoint", alias = "endpoint_url", alias = "aws_endpoint_url")]
        endpoint: Endpoint,
        #[serde(alias = "aws_virtual_hosted_style_request")]
        virtual_hosted_style_request: Flag,
        #[serde(alias = "aws_unsigned_payload")]
        unsigned_payload: Flag,
        #[serde(alias = "aws_skip_signature")]
        skip_signature: Flag,
        #[serde(alias = "aws_request_payer")]
        request_payer: Payer,
        #[serde(alias = "aws_checksum_algorithm")]
        checksum_algorithm: Keyword<ChecksumAlgorithm>,
        #[serde(alias = "aws_conditional_put")]
        conditional_put: Keyword<ConditionalPut>,
        #[serde(alias = "aws_copy_if_not_exists")]
        copy_if_not_exists: CopyMode,
        #[serde(alias = "aws_disable_tagging")]
        disable_tagging: Flag,
        #[serde(alias = "aws_disable_bulk_delete")]
        disable_bulk_delete: Flag,
        #[serde(alias = "aws_write_id")]
        write_id: Flag,
        #[serde(alias = "aws_server_side_encryption")]
        server_side_encryption: Keyword<Encryption>,
        #[serde(alias = "aws_sse_kms_key_id")]
        sse_kms_key_id: Text,
        #[serde(alias = "aws_sse_bucket_key_enabled")]
        sse_bucket_key_enabled: Flag,
    }
}

impl Config {
    /// Encryption at rest. Records a problem for keys that the algorithm does not use.
    pub(super) fn encryption(&self, notes: &Notes) -> Option<ServerSideEncryption> {
        let algorithm = self.server_side_encryption.get().map(|word| word.0);
        let known = algorithm.is_some() || !self.server_side_encryption.is_given();
        if let Some(place_id) = self.sse_kms_key_id.place_id()
            && known
            && !matches!(algorithm, Some(Encryption::Kms | Encryption::KmsDsse))
        {
            notes.problem(place_id, "requires server_side_encryption: \"aws:kms\" or \"aws:kms:dsse\"");
        }
        // S3 User Guide, "Reducing the cost of SSE-KMS with Amazon S3 Bucket Keys": DSSE-KMS does not support them.
        if let Some(place_id) = self.sse_bucket_key_enabled.place_id()
            && known
            && algorithm != Some(Encryption::Kms)
        {
            notes.problem(place_id, "requires server_side_encryption: \"aws:kms\"");
        }
        Some(ServerSideEncryption {
            algorithm: algorithm?.header().to_owned(),
            kms_key_id: self.sse_kms_key_id.get().map(|text| text.0.clone()),
            bucket_key_enabled: self.sse_bucket_key_enabled.get().map(|flag| flag.0),
        })
    }
}

scalars! {
    Bucket,
    Region,
    Endpoint,
    Payer,
    CopyMode,
}

/// A bucket name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket(pub(super) String);

impl Scalar for Bucket {
    fn expected() -> String {
        "a bucket name".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        url::check_bucket(text)
            .map_err(|why| format!("{} is not a valid bucket name: it {why}", quoted(text)))?;
        Ok(Self(text.to_owned()))
    }
}

/// A region name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Region(pub(super) String);

impl Scalar for Region {
    fn expected() -> String {
        "a region name such as eu-west-1".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected 1 to 64 of the characters a-z, 0-9 and `-`, found {}", quoted(text)))
    }
}

/// The URL of an S3 server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint(pub(super) String);

impl Scalar for Endpoint {
    fn expected() -> String {
        "a URL such as https://s3.example.com".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        url::endpoint(text).map(Self)
    }
}

/// `request_payer`: true, false, or S3's own value `requester`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payer(pub(super) bool);

impl Scalar for Payer {
    fn expected() -> String {
        "true, false or requester".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("requester") {
            return Ok(Self(true));
        }
        Flag::from_text(text)
            .map(|Flag(pays)| Self(pays))
            .map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }

    fn from_flag(flag: bool) -> Result<Self, String> {
        Ok(Self(flag))
    }
}

/// `copy_if_not_exists`, in object_store's notation.
#[derive(Debug, Clone)]
pub(super) struct CopyMode(pub(super) CopyIfNotExists);

impl Scalar for CopyMode {
    fn expected() -> String {
        "multipart, native, header:NAME:VALUE or header-with-status:NAME:VALUE:STATUS".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text.starts_with("dynamo") {
            return Err(format!("`dynamo` is not supported by this version; expected {}", Self::expected()));
        }
        let wrong = || format!("expected {}, found {}", Self::expected(), quoted(text));
        let (kind, rest) = text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
        let copying = match (kind.trim(), rest) {
            ("multipart", None) => CopyIfNotExists::Multipart,
            ("native", None) => CopyIfNotExists::Native,
            ("header", Some(rest)) => header(rest, StatusCode::PRECONDITION_FAILED).ok_or_else(wrong)?,
            ("header-with-status", Some(rest)) => {
                let (rest, status) = rest.rsplit_once(':').ok_or_else(wrong)?;
                let status: StatusCode = status.trim().parse().map_err(|_| wrong())?;
                if status.is_success() || status.is_informational() {
                    return Err(format!(
                        "the status {} cannot signal that the key exists: use an error status such as 412",
                        status.as_u16()
                    ));
                }
                header(rest, status).ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        Ok(Self(copying))
    }
}

fn header(text: &str, status: StatusCode) -> Option<CopyIfNotExists> {
    let (name, value) = text.split_once(':')?;
    let (name, value) = (name.trim(), value.trim());
    HeaderName::try_from(name).ok()?;
    HeaderValue::try_from(value).ok().filter(|value| !value.is_empty())?;
    Some(CopyIfNotExists::Header { name: name.to_owned(), value: value.to_owned(), status: status.as_u16() })
}

/// `server_side_encryption`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encryption {
    Aes256,
    Kms,
    KmsDsse,
}

impl Encryption {
    fn header(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
            Self::KmsDsse => "aws:kms:dsse",
        }
    }
}

impl Keywords for Encryption {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("AES256", Self::Aes256), ("aws:kms", Self::Kms), ("aws:kms:dsse", Self::KmsDsse)];
    const UNSUPPORTED: &'static [&'static str] = &["sse-c"];
}

impl Keywords for ChecksumAlgorithm {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("crc32", Self::Crc32),
        ("crc32c", Self::Crc32c),
        ("crc64nvme", Self::Crc64Nvme),
        ("sha1", Self::Sha1),
        ("sha256", Self::Sha256),
    ];
}

impl Keywords for ConditionalPut {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("etag", Self::Etag), ("disabled", Self::Disabled)];
    const UNSUPPORTED: &'static [&'static str] = &["dynamo"];
}
