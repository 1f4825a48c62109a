//! An object's attributes: system headers and user metadata, as callers send them and as S3 stores them.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES},
};

use super::{
    Attributes, Error, Field,
    headers::{STORAGE_CLASS, decoded, joined, text, visible},
};

const META: &str = "x-amz-meta-";

/// S3's `CopyObject` does not copy this header
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
pub(crate) const REDIRECT: HeaderName = HeaderName::from_static("x-amz-website-redirect-location");

/// System headers that S3 stores with an object unchanged.
const SYSTEM: [HeaderName; 7] =
    [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_DISPOSITION, CACHE_CONTROL, EXPIRES, REDIRECT];

/// The user metadata key that identifies the conditional write that created an object. Callers neither see nor set it.
pub(crate) const WRITE_ID: &str = "longshore-write-id";
pub(super) const WRITE_ID_HEADER: &str = "x-amz-meta-longshore-write-id";

/// The number of metadata entries that the server omits because a header cannot carry them.
const MISSING_META: HeaderName = HeaderName::from_static("x-amz-missing-meta");

/// Storage classes whose objects can be written directly and read immediately. Excludes archive classes and
/// vendor-specific classes.
const WRITABLE_CLASSES: [&str; 6] =
    ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"];

/// Whether every S3 server with storage classes accepts this class for a copy.
pub(crate) fn is_writable_class(name: &str) -> bool {
    WRITABLE_CLASSES.contains(&name)
}

impl Attributes {
    /// The request headers that write an object with these attributes.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Error> {
        let system = [
            (CONTENT_TYPE, &self.content_type, Field::ContentType),
            (CONTENT_ENCODING, &self.content_encoding, Field::ContentEncoding),
            (CONTENT_LANGUAGE, &self.content_language, Field::ContentLanguage),
            (CONTENT_DISPOSITION, &self.content_disposition, Field::ContentDisposition),
            (CACHE_CONTROL, &self.cache_control, Field::CacheControl),
            (EXPIRES, &self.expires, Field::Expires),
            (STORAGE_CLASS, &self.storage_class, Field::StorageClass),
        ];
        let mut headers = HeaderMap::new();
        for (name, text, field) in system {
            if !text.is_empty() {
                headers.insert(name, visible(text, field)?);
            }
        }
        for (name, text) in &self.metadata {
            let value = visible(&encode_metadata(name, text)?, Field::Metadata)?;
            let name = HeaderName::from_bytes(format!("{META}{name}").as_bytes()).map_err(|_| {
                let message = format!("the metadata key {name:?} is invalid: use letters, digits, - and _");
                Error::invalid_field(Field::Metadata, message)
            })?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// The attributes of the object in a response, and the id of the conditional write that created the object.
pub(super) fn read(headers: &HeaderMap) -> (Attributes, Option<String>) {
    let mut metadata = BTreeMap::new();
    for name in headers.keys() {
        if let Some(key) = name.as_str().strip_prefix(META) {
            let value = joined(headers, name, ",").unwrap_or_default();
            metadata.insert(key.to_owned(), decode_metadata(&value));
        }
    }
    let write_id = metadata.remove(WRITE_ID);
    let all = |name: HeaderName| joined(headers, &name, ", ").unwrap_or_default();
    let one = |name: HeaderName| text(headers, &name).unwrap_or_default();
    let attributes = Attributes {
        content_type: one(CONTENT_TYPE),
        content_encoding: without_aws_chunked(&all(CONTENT_ENCODING)).into_owned(),
        content_language: all(CONTENT_LANGUAGE),
        content_disposition: one(CONTENT_DISPOSITION),
        cache_control: all(CACHE_CONTROL),
        expires: if is_from_google(headers) { String::new() } else { one(EXPIRES) },
        storage_class: one(STORAGE_CLASS),
        metadata,
    };
    (attributes, write_id)
}

/// The headers that describe the object in a response, byte for byte, for a write that copies the object. Excludes the
/// storage class.
pub(super) fn carried(headers: &HeaderMap) -> HeaderMap {
    let describes = |name: &HeaderName| {
        SYSTEM.contains(name) || (name.as_str().starts_with(META) && name.as_str() != WRITE_ID_HEADER)
    };
    let mut carried = HeaderMap::new();
    let kept = |name: &HeaderName| describes(name) && !(*name == EXPIRES && is_from_google(headers));
    for (name, value) in headers.iter().filter(|(name, _)| kept(name)) {
        if *name != CONTENT_ENCODING {
            carried.append(name, value.clone());
            continue;
        }
        let text = decoded(value);
        match without_aws_chunked(&text) {
            Cow::Borrowed(_) => drop(carried.append(name, value.clone())),
            Cow::Owned(rest) if rest.is_empty() => {}
            Cow::Owned(rest) => {
                drop(HeaderValue::from_str(&rest).map(|rest| carried.append(name, rest)));
            }
        }
    }
    carried
}

/// Whether the response is from Google Cloud Storage, which computes an `Expires` for each response and stores none
/// (<https://github.com/GoogleCloudPlatform/gsutil/issues/21>).
fn is_from_google(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-goog-"))
}

/// Whether the object has user metadata that the response omits.
pub(super) fn hides_metadata(headers: &HeaderMap) -> bool {
    text(headers, &MISSING_META).is_some_and(|count| count != "0")
}

/// Removes `aws-chunked`, which applies only to the transfer of an upload. S3 drops it, but some servers store it as
/// part of the object's encoding.
fn without_aws_chunked(encoding: &str) -> Cow<'_, str> {
    let is_transfer = |coding: &str| coding.trim().eq_ignore_ascii_case("aws-chunked");
    if !encoding.split(',').any(is_transfer) {
        return Cow::Borrowed(encoding);
    }
    let kept: Vec<_> = encoding.split(',').filter(|coding| !is_transfer(coding)).collect();
    Cow::Owned(kept.join(",").trim().to_owned())
}

/// Encodes non-ASCII text as an RFC 2047 encoded word, as S3 itself does
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>). Rejects text that would not
/// round-trip: HTTP trims leading and trailing spaces, and text that looks like an encoded word would be decoded.
fn encode_metadata(name: &str, text: &str) -> Result<String, Error> {
    let lost = match text {
        text if text.chars().any(char::is_control) => "contains control characters",
        text if text.trim() != text => "begins or ends with a space",
        text if text.contains("=?") => "contains `=?`",
        text if text.is_ascii() => return Ok(text.to_owned()),
        text => return Ok(format!("=?UTF-8?B?{}?=", STANDARD.encode(text))),
    };
    let message = format!("the metadata value of {name:?} {lost}, so S3 would not return it unchanged");
    Err(Error::invalid_field(Field::Metadata, message))
}

/// Decodes RFC 2047 encoded words in base64 or quoted-printable. Returns any other text unchanged.
fn decode_metadata(value: &str) -> String {
    let mut decoded = Vec::new();
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        match decode_word(word) {
            Some(bytes) => decoded.extend(bytes),
            None => return value.to_owned(),
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| value.to_owned())
}

fn decode_word(word: &str) -> Option<Vec<u8>> {
    let inner = word.strip_prefix("=?")?.strip_suffix("?=")?;
    let (charset, rest) = inner.split_once('?')?;
    let (encoding, text) = rest.split_once('?')?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    match encoding {
        "B" | "b" => STANDARD.decode(text).ok(),
        "Q" | "q" => decode_quoted(text),
        _ => None,
    }
}

fn decode_quoted(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'_' => b' ',
            b'=' => {
                let pair = [bytes.next()?, bytes.next()?];
                *hex::decode(pair).ok()?.first()?
            }
            other => other,
        });
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> (String, String) {
        let attributes =
            Attributes { metadata: [("k".to_owned(), text.to_owned())].into(), ..Attributes::default() };
        let headers = attributes.headers().unwrap();
        let (back, _) = read(&headers);
        (headers["x-amz-meta-k"].to_str().unwrap().to_owned(), back.metadata["k"].clone())
    }

    #[test]
    fn metadata_round_trips_or_is_rejected() {
        for text in ["plain", "", "two  spaces", "schön 🚢"] {
            assert_eq!(round_trip(text).1, text);
        }
        assert_eq!(round_trip("plain").0, "plain");
        assert_eq!(round_trip("é").0, "=?UTF-8?B?w6k=?=");
        for text in [" a", "a ", "line\nbreak", "=?UTF-8?B?YQ==?="] {
            assert_eq!(encode_metadata("k", text).unwrap_err().field(), Some(Field::Metadata), "{text:?}");
        }
    }

    #[test]
    fn both_rfc_2047_encodings_are_decoded() {
        assert_eq!(decode_metadata("=?UTF-8?Q?sch=C3=B6n_hier?="), "schön hier");
        assert_eq!(decode_metadata("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?="), "éé");
        assert_eq!(decode_metadata("=?UTF-8?B?broken?="), "=?UTF-8?B?broken?=");
        assert_eq!(decode_metadata("=?latin1?Q?x?="), "=?latin1?Q?x?=");
    }

    #[test]
    fn the_write_id_and_aws_chunked_are_hidden() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-longshore-write-id", HeaderValue::from_static("w"));
        headers.insert("content-encoding", HeaderValue::from_static("aws-chunked, gzip"));
        let (attributes, write_id) = read(&headers);
        assert_eq!(write_id.as_deref(), Some("w"));
        assert!(attributes.metadata.is_empty());
        assert_eq!(attributes.content_encoding, "gzip");
        assert_eq!(
            carried(&headers),
            HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))])
        );
    }

    #[test]
    fn carried_headers_keep_their_exact_bytes() {
        let mut headers = HeaderMap::new();
        let values: [(&str, &[u8]); 8] = [
            ("content-disposition", b"attachment; filename=\"\xfcber\""),
            ("cache-control", b"no-cache"),
            ("cache-control", b"private"),
            ("expires", b"never"),
            ("content-encoding", b"gzip,aws-chunked,br"),
            ("x-amz-website-redirect-location", b"/other"),
            ("x-amz-meta-a", b"tab\there"),
            ("x-amz-meta-a", b"=?UTF-8?Q?x?="),
        ];
        for (name, value) in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut expected = headers.clone();
        expected.insert("content-encoding", HeaderValue::from_static("gzip,br"));
        let mut googles = headers.clone();
        googles.insert("x-goog-generation", HeaderValue::from_static("1"));
        assert!(!carried(&googles).contains_key("expires") && read(&googles).0.expires.is_empty());
        headers.insert("x-amz-storage-class", HeaderValue::from_static("GLACIER"));
        headers.insert("etag", HeaderValue::from_static("e"));
        assert_eq!(carried(&headers), expected);
        let (attributes, _) = read(&headers);
        assert_eq!(attributes.content_disposition, "attachment; filename=\"über\"");
        assert_eq!(
            (attributes.cache_control.as_str(), attributes.expires.as_str()),
            ("no-cache, private", "never")
        );
        assert_eq!(attributes.metadata["a"], "tab\there,=?UTF-8?Q?x?=");
    }

    #[test]
    fn an_invalid_header_value_is_rejected_with_its_field() {
        let attributes = Attributes { content_type: "a\r\nx: y".to_owned(), ..Attributes::default() };
        assert_eq!(attributes.headers().unwrap_err().field(), Some(Field::ContentType));
    }
}
