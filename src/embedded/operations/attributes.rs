//! The attributes of an object that a write sets, stored as the headers that reads return.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{S3Result, s3_error};

use super::{
    archive,
    call::{coded, text},
    encryption::{self, KeyOf},
};
use crate::embedded::storage::{self, AttributesRow, HeaderRow, ObjectRow};

const METADATA: &str = "x-amz-meta-";

/// The limit in bytes for the names and values of user metadata together
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
const MAX_METADATA: usize = 2 * 1024;

const SYSTEM: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::EXPIRES,
];
const REDIRECT: &str = "x-amz-website-redirect-location";
const STORAGE_CLASS: &str = "x-amz-storage-class";

const CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// The attributes that a request sets for the object that it writes.
pub(super) fn of(headers: &HeaderMap) -> S3Result<AttributesRow> {
    let mut kept = described(headers)?;
    let key = encryption::customer_key(headers, KeyOf::Object)?;
    kept.headers.extend(encrypted(headers, key.is_some())?);
    kept.storage_class = storage_class(headers)?;
    kept.customer_key_md5 = key.unwrap_or_default();
    Ok(kept)
}

/// The attributes of a copy that keeps those of its source. Only the storage class, the encryption and the website
/// redirect are from the request.
pub(super) fn copied(source: &AttributesRow, headers: &HeaderMap) -> S3Result<AttributesRow> {
    let mut kept = of(headers)?;
    let asked = |row: &HeaderRow| encryption::RECORDED.contains(&row.name.as_str());
    kept.headers.retain(asked);
    let rest = source.headers.iter().filter(|row| !asked(row) && row.name != REDIRECT);
    kept.headers.splice(0..0, rest.cloned());
    kept.headers.extend(redirect(headers)?);
    Ok(kept)
}

fn described(headers: &HeaderMap) -> S3Result<AttributesRow> {
    let mut kept = AttributesRow::default();
    for name in SYSTEM {
        let value = match name {
            header::CONTENT_ENCODING => content_encoding(headers),
            _ => headers.get(&name).map(|value| value.as_bytes().to_vec()),
        };
        let value = value.filter(|value| !value.is_empty());
        let value = value.or_else(|| (name == header::CONTENT_TYPE).then(|| b"binary/octet-stream".to_vec()));
        kept.headers.extend(value.map(|value| HeaderRow { name: name.as_str().to_owned(), value }));
    }
    kept.headers.extend(metadata(headers)?);
    kept.headers.extend(redirect(headers)?);
    Ok(kept)
}

/// The content encoding without `aws-chunked`, which describes only the transfer.
fn content_encoding(headers: &HeaderMap) -> Option<Vec<u8>> {
    let codings: Vec<_> = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!codings.is_empty()).then(|| codings.join(",").into_bytes())
}

fn metadata(headers: &HeaderMap) -> S3Result<Vec<HeaderRow>> {
    let mut kept = Vec::new();
    let mut size = 0;
    for name in headers.keys().filter(|name| name.as_str().starts_with(METADATA)) {
        // S3 joins the values of a repeated header.
        let values: Vec<_> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        let value = values.join(&b","[..]);
        size += name.as_str().len() - METADATA.len() + value.len();
        kept.push(HeaderRow { name: name.as_str().to_owned(), value });
    }
    if size > MAX_METADATA {
        return Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        ));
    }
    Ok(kept)
}

fn redirect(headers: &HeaderMap) -> S3Result<Option<HeaderRow>> {
    let Some(value) = headers.get(REDIRECT).map(|value| value.as_bytes().to_vec()) else { return Ok(None) };
    if ["/", "http://", "https://"].iter().any(|prefix| value.starts_with(prefix.as_bytes())) {
        return Ok(Some(HeaderRow { name: REDIRECT.to_owned(), value }));
    }
    Err(coded(
        "InvalidRedirectLocation",
        StatusCode::BAD_REQUEST,
        "The website redirect location must have a prefix of 'http://' or 'https://' or '/'.",
    ))
}

fn encrypted(headers: &HeaderMap, customer_key: bool) -> S3Result<Vec<HeaderRow>> {
    encryption::check_asked(headers, customer_key)?;
    let row = |name: &str| {
        Some(HeaderRow { name: name.to_owned(), value: text(headers, name)?.as_bytes().to_vec() })
    };
    Ok(encryption::RECORDED.into_iter().filter_map(row).collect())
}

fn storage_class(headers: &HeaderMap) -> S3Result<String> {
    match text(headers, STORAGE_CLASS) {
        None | Some("STANDARD") => Ok(String::new()),
        Some(class) if CLASSES.contains(&class) => Ok(class.to_owned()),
        Some(_) => Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid")),
    }
}

/// The storage class as listings write it.
pub(super) fn class(attributes: &AttributesRow) -> String {
    let class = &attributes.storage_class;
    if class.is_empty() { "STANDARD".to_owned() } else { class.clone() }
}

/// An object's ETag in quotes.
pub(super) fn etag_header(object: &ObjectRow) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{}\"", object.etag))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The time at which an object was written.
pub(super) fn last_modified_header(object: &ObjectRow) -> HeaderValue {
    let date = httpdate::fmt_http_date(storage::instant(object.modified));
    HeaderValue::from_str(&date).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The response headers of Get and Head, except for checksums and the headers about the response's own body.
pub(super) fn told(object: &ObjectRow) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::ETAG, etag_header(object));
    headers.insert(header::LAST_MODIFIED, last_modified_header(object));
    for row in &object.attributes.headers {
        if let (Ok(name), Some(value)) = (HeaderName::try_from(row.name.as_str()), told_value(&row.value)) {
            headers.insert(name, value);
        }
    }
    if let (false, Ok(class)) =
        (object.attributes.storage_class.is_empty(), HeaderValue::from_str(&object.attributes.storage_class))
    {
        headers.insert(STORAGE_CLASS, class);
    }
    if !object.tags.is_empty() {
        headers.insert("x-amz-tagging-count", HeaderValue::from(object.tags.len()));
    }
    if let Some(restore) = archive::restore_header(object) {
        headers.insert("x-amz-restore", restore);
    }
    headers.extend(encryption::told(&object.attributes.customer_key_md5));
    headers
}

/// The response headers of a write that say how the object is encrypted.
pub(super) fn told_of_encryption(attributes: &AttributesRow) -> HeaderMap {
    let recorded = attributes.headers.iter().filter(|row| encryption::RECORDED.contains(&row.name.as_str()));
    let mut headers: HeaderMap = recorded
        .filter_map(|row| Some((HeaderName::try_from(row.name.as_str()).ok()?, told_value(&row.value)?)))
        .collect();
    headers.extend(encryption::told(&attributes.customer_key_md5));
    headers
}

/// The value of a stored header in a response. S3 encodes values that are not ASCII according to RFC 2047
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>).
fn told_value(value: &[u8]) -> Option<HeaderValue> {
    if value.is_ascii() {
        return HeaderValue::from_bytes(value).ok();
    }
    HeaderValue::from_str(&format!("=?UTF-8?B?{}?=", BASE64_STANDARD.encode(value))).ok()
}
