//! Attributes, conditions and metadata, as headers of requests and answers.

use std::{collections::BTreeMap, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
        CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED,
    },
};

use super::{Attributes, Conditions, Error, ErrorKind, ObjectMeta, Tags, checksum, encode};

const META: &str = "x-amz-meta-";
pub(super) const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

/// The user metadata that tells whose effect a conditional write is. Callers neither see nor set it.
pub(crate) const WRITE_ID: &str = "longshore-write-id";
pub(super) const WRITE_ID_HEADER: &str = "x-amz-meta-longshore-write-id";

/// Adds what an object is to have: system headers and user metadata.
pub(super) fn add_attributes(headers: &mut HeaderMap, attributes: &Attributes) -> Result<(), Error> {
    let system = [
        (CONTENT_TYPE, &attributes.content_type, "attributes.content_type"),
        (CONTENT_ENCODING, &attributes.content_encoding, "attributes.content_encoding"),
        (CONTENT_LANGUAGE, &attributes.content_language, "attributes.content_language"),
        (CONTENT_DISPOSITION, &attributes.content_disposition, "attributes.content_disposition"),
        (CACHE_CONTROL, &attributes.cache_control, "attributes.cache_control"),
        (STORAGE_CLASS, &attributes.storage_class, "attributes.storage_class"),
    ];
    for (name, text, field) in system {
        if !text.is_empty() {
            headers.insert(name, visible(text, field)?);
        }
    }
    for (name, text) in &attributes.metadata {
        let value = visible(&encode_metadata(name, text)?, "attributes.metadata")?;
        let name = HeaderName::from_bytes(format!("{META}{name}").as_bytes()).map_err(|_| {
            let message =
                format!("the metadata key {name:?} is not a header name: use letters, digits, - and _");
            Error::invalid_field("attributes.metadata", message)
        })?;
        headers.insert(name, value);
    }
    Ok(())
}

/// Adds `x-amz-tagging`, a query string of tags.
pub(super) fn add_tags(headers: &mut HeaderMap, tags: &Tags) -> Result<(), Error> {
    if !tags.is_empty() {
        let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        headers.insert(TAGGING, visible(&encode::canonical_query(&pairs), "tags")?);
    }
    Ok(())
}

/// Adds the conditions of a read.
pub(super) fn add_conditions(headers: &mut HeaderMap, conditions: &Conditions) -> Result<(), Error> {
    if let Some(etag) = &conditions.if_match {
        headers.insert(IF_MATCH, visible(etag, "conditions.if_match")?);
    }
    if let Some(etag) = &conditions.if_none_match {
        headers.insert(IF_NONE_MATCH, visible(etag, "conditions.if_none_match")?);
    }
    if let Some(instant) = conditions.if_modified_since {
        headers.insert(IF_MODIFIED_SINCE, date(instant, "conditions.if_modified_since")?);
    }
    if let Some(instant) = conditions.if_unmodified_since {
        headers.insert(IF_UNMODIFIED_SINCE, date(instant, "conditions.if_unmodified_since")?);
    }
    Ok(())
}

/// A header's value; control characters cannot travel.
pub(super) fn visible(text: &str, field: &'static str) -> Result<HeaderValue, Error> {
    let carries = text.chars().all(|c| !c.is_control() && c.is_ascii());
    match HeaderValue::from_str(text) {
        Ok(value) if carries => Ok(value),
        _ => {
            Err(Error::invalid_field(field, format!("{field} must be ASCII text without control characters")))
        }
    }
}

fn date(instant: SystemTime, field: &'static str) -> Result<HeaderValue, Error> {
    // httpdate panics beyond the year 9999.
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    if instant < SystemTime::UNIX_EPOCH || instant > last {
        return Err(Error::invalid_field(field, format!("{field} must lie between 1970 and 9999")));
    }
    HeaderValue::from_str(&httpdate::fmt_http_date(instant))
        .map_err(|_| Error::invalid_field(field, format!("{field} is not a date")))
}

/// What an answer says of its object. `key` is left empty: the answer does not say it.
pub(super) fn object_meta(headers: &HeaderMap) -> ObjectMeta {
    let text = |name: HeaderName| text(headers, &name);
    let total = content_range(headers).map(|range| range.total);
    let size = total.or_else(|| text(CONTENT_LENGTH).parse().ok()).unwrap_or_default();
    ObjectMeta {
        key: String::new(),
        size,
        last_modified: httpdate::parse_http_date(&text(LAST_MODIFIED)).ok(),
        etag: text(ETAG),
        version: version(headers),
        storage_class: text(STORAGE_CLASS),
        checksums: checksum::from_headers(headers),
    }
}

/// `x-amz-version-id`, where `null` is a bucket's way to say that it has no versions.
pub(super) fn version(headers: &HeaderMap) -> String {
    let version = text(headers, &VERSION_ID);
    if version == "null" { String::new() } else { version }
}

/// The attributes of an answer's object, and the id of the conditional write that made it.
pub(super) fn attributes(headers: &HeaderMap) -> (Attributes, Option<String>) {
    let text = |name: HeaderName| text(headers, &name);
    let mut metadata: BTreeMap<_, _> = headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix(META)?;
            Some((name.to_owned(), decode_metadata(&String::from_utf8_lossy(value.as_bytes()))))
        })
        .collect();
    let write_id = metadata.remove(WRITE_ID);
    let attributes = Attributes {
        content_type: text(CONTENT_TYPE),
        content_encoding: without_aws_chunked(text(CONTENT_ENCODING)),
        content_language: text(CONTENT_LANGUAGE),
        content_disposition: text(CONTENT_DISPOSITION),
        cache_control: text(CACHE_CONTROL),
        storage_class: text(STORAGE_CLASS),
        metadata,
    };
    (attributes, write_id)
}

/// `Content-Range` (RFC 9110, section 14.4), its end made exclusive.
pub(super) struct ContentRange {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) total: u64,
}

pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, &CONTENT_RANGE);
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some(ContentRange { start: start.parse().ok()?, end, total: total.parse().ok()? })
}

/// A header as text; empty if it is missing.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// Some servers keep the transfer's own `aws-chunked` as part of the object's encoding; S3 removes it.
fn without_aws_chunked(encoding: String) -> String {
    if !encoding.contains("aws-chunked") {
        return encoding;
    }
    let kept = encoding.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked");
    kept.collect::<Vec<_>>().join(",")
}

/// Text beyond ASCII travels as an RFC 2047 word, which is how S3 itself treats it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>). What would not come back as it was
/// is refused: HTTP drops spaces at the ends, and a text that looks like such a word would be read as one.
fn encode_metadata(name: &str, text: &str) -> Result<String, Error> {
    let lost = match text {
        text if text.chars().any(char::is_control) => "has control characters",
        text if text.trim() != text => "begins or ends with a space",
        text if text.contains("=?") => "contains `=?`",
        text if text.is_ascii() => return Ok(text.to_owned()),
        text => return Ok(format!("=?UTF-8?B?{}?=", STANDARD.encode(text))),
    };
    let message = format!("the metadata value of {name:?} {lost}, which S3 would not give back as it was");
    Err(Error::invalid_field("attributes.metadata", message))
}

/// The text of RFC 2047 words in base64 or quoted-printable; anything else is left as it is.
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

/// An error of the answer itself: not what S3 sends. What was asked for may have been done all the same.
pub(super) fn not_s3(what: &str) -> Error {
    Error::new(ErrorKind::BackendProtocol, "the server's answer is not S3's").because(what).with_unclear(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> (String, String) {
        let attributes =
            Attributes { metadata: [("k".to_owned(), text.to_owned())].into(), ..Attributes::default() };
        let mut headers = HeaderMap::new();
        add_attributes(&mut headers, &attributes).unwrap();
        let (back, _) = super::attributes(&headers);
        (headers["x-amz-meta-k"].to_str().unwrap().to_owned(), back.metadata["k"].clone())
    }

    #[test]
    fn metadata_comes_back_as_it_was_or_is_refused() {
        for text in ["plain", "", "two  spaces", "schön 🚢"] {
            assert_eq!(round_trip(text).1, text);
        }
        assert_eq!(round_trip("plain").0, "plain");
        assert_eq!(round_trip("é").0, "=?UTF-8?B?w6k=?=");
        for text in [" a", "a ", "line\nbreak", "=?UTF-8?B?YQ==?="] {
            assert_eq!(
                encode_metadata("k", text).unwrap_err().field(),
                Some("attributes.metadata"),
                "{text:?}"
            );
        }
    }

    #[test]
    fn metadata_that_s3_encoded_in_either_way_is_read() {
        assert_eq!(decode_metadata("=?UTF-8?Q?sch=C3=B6n_hier?="), "schön hier");
        assert_eq!(decode_metadata("=?UTF-8?B?w6k=?= =?UTF-8?B?w6k=?="), "éé");
        assert_eq!(decode_metadata("=?UTF-8?B?broken?="), "=?UTF-8?B?broken?=");
        assert_eq!(decode_metadata("=?latin1?Q?x?="), "=?latin1?Q?x?=");
    }

    #[test]
    fn a_range_gives_the_whole_size() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        headers.insert(CONTENT_RANGE, HeaderValue::from_static("bytes 2-4/10"));
        assert_eq!(object_meta(&headers).size, 10);
        let range = content_range(&headers).unwrap();
        assert_eq!((range.start, range.end), (2, 5));
    }

    #[test]
    fn the_write_id_is_hidden() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-meta-longshore-write-id", HeaderValue::from_static("w"));
        headers.insert("content-encoding", HeaderValue::from_static("aws-chunked, gzip"));
        let (attributes, write_id) = super::attributes(&headers);
        assert_eq!(write_id.as_deref(), Some("w"));
        assert!(attributes.metadata.is_empty());
        assert_eq!(attributes.content_encoding, "gzip");
    }

    #[test]
    fn what_no_header_carries_is_refused_by_field() {
        let attributes = Attributes { content_type: "a\r\nx: y".to_owned(), ..Attributes::default() };
        let error = add_attributes(&mut HeaderMap::new(), &attributes).unwrap_err();
        assert_eq!(error.field(), Some("attributes.content_type"));
        let late = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 45);
        let conditions = Conditions { if_modified_since: Some(late), ..Conditions::default() };
        assert!(add_conditions(&mut HeaderMap::new(), &conditions).is_err());
    }
}
