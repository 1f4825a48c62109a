//! Server-side encryption as far as callers see it: what a write requests is stored and returned, and a customer's key
//! must be the same for a read as for the write. Nothing is encrypted on disk.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html>

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use s3s::{S3Result, s3_error};

use super::call::text;

/// The headers that are stored and returned: all those that S3 returns.
pub(super) const RECORDED: [&str; 3] = [
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
];

/// The object to which a customer's key belongs.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyOf {
    Object,
    CopySource,
}

impl KeyOf {
    fn header(self, word: &str) -> String {
        let source = match self {
            Self::Object => "",
            Self::CopySource => "copy-source-",
        };
        format!("x-amz-{source}server-side-encryption-customer-{word}")
    }
}

/// The MD5, in base64, of the customer's key in a request.
pub(super) fn customer_key(headers: &HeaderMap, of: KeyOf) -> S3Result<Option<String>> {
    let (algorithm, key, md5) = (of.header("algorithm"), of.header("key"), of.header("key-md5"));
    let (algorithm, key, md5) = (text(headers, &algorithm), text(headers, &key), text(headers, &md5));
    if algorithm.is_none() && key.is_none() && md5.is_none() {
        return Ok(None);
    }
    check_algorithm(algorithm)?;
    let missing = |what: &str| {
        s3_error!(
            InvalidArgument,
            "Requests specifying Server Side Encryption with Customer provided keys must provide {what}."
        )
    };
    let key = key.ok_or_else(|| missing("an appropriate secret key"))?;
    let Some(key) = BASE64_STANDARD.decode(key).ok().filter(|key| key.len() == 32) else {
        return Err(s3_error!(InvalidArgument, "The secret key was invalid for the specified algorithm."));
    };
    let claimed = md5.ok_or_else(|| missing("the client calculated MD5 of the secret key"))?;
    let md5 = BASE64_STANDARD.encode(Md5::digest(&key));
    if md5 != claimed {
        return Err(s3_error!(
            InvalidArgument,
            "The calculated MD5 hash of the key did not match the hash that was provided."
        ));
    }
    Ok(Some(md5))
}

fn check_algorithm(algorithm: Option<&str>) -> S3Result<()> {
    match algorithm {
        Some("AES256") => Ok(()),
        Some(_) => Err(s3_error!(
            InvalidEncryptionAlgorithmError,
            "The encryption request that you specified is not valid. The valid value is AES256."
        )),
        None => Err(s3_error!(
            InvalidArgument,
            "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption algorithm."
        )),
    }
}

/// Compares the key in a request with that of the object that it reads.
pub(super) fn check_key(headers: &HeaderMap, of: KeyOf, stored_md5: &str) -> S3Result<()> {
    match (customer_key(headers, of)?, stored_md5) {
        (None, "") => Ok(()),
        (None, _) => Err(s3_error!(
            InvalidRequest,
            "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
        )),
        (Some(_), "") => {
            Err(s3_error!(InvalidRequest, "The encryption parameters are not applicable to this object."))
        }
        (Some(md5), stored) if md5 == stored => Ok(()),
        (Some(_), _) => Err(s3_error!(AccessDenied, "Access Denied")),
    }
}

/// Compares the key in a part's request with that of the upload.
pub(super) fn check_part_key(headers: &HeaderMap, stored_md5: &str) -> S3Result<()> {
    match customer_key(headers, KeyOf::Object)? {
        Some(md5) if md5 == stored_md5 => Ok(()),
        None if stored_md5.is_empty() => Ok(()),
        Some(_) => Err(s3_error!(
            InvalidRequest,
            "The provided encryption parameters did not match the ones used originally."
        )),
        None => Err(s3_error!(
            InvalidRequest,
            "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
        )),
    }
}

/// Rejects kinds and combinations of encryption that S3 does not support.
pub(super) fn check_asked(headers: &HeaderMap, customer_key: bool) -> S3Result<()> {
    let asked = text(headers, RECORDED[0]);
    match asked {
        None | Some("AES256" | "aws:kms" | "aws:kms:dsse") => {}
        Some(_) => {
            return Err(s3_error!(InvalidArgument, "The encryption method specified is not supported"));
        }
    }
    if customer_key && asked.is_some() {
        return Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified"
        ));
    }
    if text(headers, RECORDED[1]).is_some() && !asked.is_some_and(|asked| asked.starts_with("aws:kms")) {
        return Err(s3_error!(
            InvalidArgument,
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms"
        ));
    }
    Ok(())
}

/// The response headers for something that is stored with a customer's key.
pub(super) fn told(customer_key_md5: &str) -> Vec<(HeaderName, HeaderValue)> {
    let Ok(md5) = HeaderValue::from_str(customer_key_md5) else { return Vec::new() };
    if customer_key_md5.is_empty() {
        return Vec::new();
    }
    vec![
        (
            HeaderName::from_static("x-amz-server-side-encryption-customer-algorithm"),
            HeaderValue::from_static("AES256"),
        ),
        (HeaderName::from_static("x-amz-server-side-encryption-customer-key-md5"), md5),
    ]
}
