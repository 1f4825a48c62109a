//! Conditions, dates and object properties in the headers of requests and responses.

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED,
    },
};

use super::{Conditions, Error, ErrorKind, Field, Properties, Tags, checksum, encode};

pub(crate) const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
const TAGGING: HeaderName = HeaderName::from_static("x-amz-tagging");

/// Adds `x-amz-tagging`, a query string of tags.
pub(super) fn add_tags(headers: &mut HeaderMap, tags: &Tags) -> Result<(), Error> {
    if !tags.is_empty() {
        let pairs: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        headers.insert(TAGGING, visible(&encode::canonical_query(&pairs), Field::Tags)?);
    }
    Ok(())
}

/// Adds the conditions of a read.
pub(super) fn add_conditions(headers: &mut HeaderMap, conditions: &Conditions) -> Result<(), Error> {
    if let Some(etag) = &conditions.if_match {
        headers.insert(IF_MATCH, visible(etag, Field::IfMatch)?);
    }
    if let Some(etag) = &conditions.if_none_match {
        headers.insert(IF_NONE_MATCH, visible(etag, Field::IfNoneMatch)?);
    }
    if let Some(instant) = conditions.if_modified_since {
        headers.insert(IF_MODIFIED_SINCE, date(instant, Field::IfModifiedSince)?);
    }
    if let Some(instant) = conditions.if_unmodified_since {
        headers.insert(IF_UNMODIFIED_SINCE, date(instant, Field::IfUnmodifiedSince)?);
    }
    Ok(())
}

/// Converts text to a header value. Rejects control characters and non-ASCII text.
pub(super) fn visible(text: &str, field: Field) -> Result<HeaderValue, Error> {
    let carries = text.chars().all(|c| !c.is_control() && c.is_ascii());
    match HeaderValue::from_str(text) {
        Ok(value) if carries => Ok(value),
        _ => Err(Error::invalid_field(field, "must be ASCII text without control characters")),
    }
}

/// Converts text that is neither a caller's nor a setting: it comes from this client, or is an ETag of the server.
pub(super) fn echoed(text: &str) -> Result<HeaderValue, Error> {
    let message = "the server sent a value that cannot be sent back to it";
    HeaderValue::from_str(text).map_err(|_| Error::new(ErrorKind::BackendProtocol, message))
}

fn date(instant: SystemTime, field: Field) -> Result<HeaderValue, Error> {
    // httpdate panics beyond the year 9999.
    let last = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
    if instant < SystemTime::UNIX_EPOCH || instant > last {
        return Err(Error::invalid_field(field, "must be between the years 1970 and 9999"));
    }
    HeaderValue::from_str(&httpdate::fmt_http_date(instant))
        .map_err(|_| Error::invalid_field(field, "is not a valid date"))
}

/// The properties of the object in a response.
pub(super) fn properties(headers: &HeaderMap) -> Properties {
    let text = |name: HeaderName| text(headers, &name);
    Properties {
        last_modified: text(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(&date).ok()),
        etag: text(ETAG),
        version: text(VERSION_ID),
        storage_class: text(STORAGE_CLASS),
        checksums: checksum::from_headers(headers),
    }
}

/// `Content-Length`. `None` if it is missing, not a number, or has several different values (RFC 9110, section 8.6).
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut lengths = headers
        .get_all(CONTENT_LENGTH)
        .iter()
        .map(decoded)
        .flat_map(|value| value.split(',').map(|length| digits(length.trim())).collect::<Vec<_>>());
    let length = lengths.next()??;
    lengths.all(|other| other == Some(length)).then_some(length)
}

/// `Content-Range` (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    /// The range of the bytes in the body, with an exclusive end. `None` if the requested range cannot be satisfied.
    pub(super) bytes: Option<(u64, u64)>,
    /// The whole object's size, if it is stated.
    pub(super) total: Option<u64>,
}

/// Parses `Content-Range`. Returns `None` if it is missing or invalid.
pub(super) fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let value = text(headers, &CONTENT_RANGE)?;
    let (unit, range) = value.split_once(' ')?;
    let (bytes, total) = range.trim().split_once('/')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let total = if total == "*" { None } else { Some(digits(total)?) };
    if bytes == "*" {
        return Some(ContentRange { bytes: None, total });
    }
    let (start, last) = bytes.split_once('-')?;
    let (start, end) = (digits(start)?, digits(last)?.checked_add(1)?);
    let is_range = start < end && total.is_none_or(|total| end <= total);
    is_range.then_some(ContentRange { bytes: Some((start, end)), total })
}

/// Parses a number that consists only of digits. Rust's own parser accepts `+5`, which is invalid in HTTP.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The first value of a header as text. `None` if it is missing or empty.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(decoded).filter(|text| !text.is_empty())
}

/// All values of a header, joined by `separator`. `None` if the header is missing.
pub(super) fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(decoded).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

/// A header's value as text: UTF-8 if it is valid, else ISO 8859-1, which HTTP once specified (RFC 9110, section 5.5).
pub(super) fn decoded(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes)
        .map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn an_invalid_content_length_is_unknown() {
        let length = |values: &[&str]| content_length(&with(&CONTENT_LENGTH, values));
        assert_eq!(length(&["5"]), Some(5));
        assert_eq!(length(&["5, 5"]), Some(5));
        assert_eq!(length(&["0"]), Some(0));
        for values in [&[][..], &[""], &["five"], &["+5"], &["-1"], &["5, 6"], &["99999999999999999999"]] {
            assert_eq!(length(values), None, "{values:?}");
        }
        let mut twice = with(&CONTENT_LENGTH, &["5"]);
        twice.append(CONTENT_LENGTH, HeaderValue::from_static("6"));
        assert_eq!(content_length(&twice), None);
    }

    #[test]
    fn an_invalid_content_range_is_ignored() {
        let range = |value: &str| content_range(&with(&CONTENT_RANGE, &[value]));
        let found = |bytes, total| Some(ContentRange { bytes, total });
        assert_eq!(range("bytes 2-4/10"), found(Some((2, 5)), Some(10)));
        assert_eq!(range("Bytes 2-4/*"), found(Some((2, 5)), None));
        assert_eq!(range("bytes */10"), found(None, Some(10)));
        for value in
            ["", "bytes", "bytes 4-2/10", "bytes 2-10/10", "items 2-4/10", "bytes 2-4", "bytes +2-4/10"]
        {
            assert_eq!(range(value), None, "{value}");
        }
    }

    #[test]
    fn missing_and_empty_headers_are_unknown() {
        assert_eq!(properties(&HeaderMap::new()), Properties::default());
        assert_eq!(properties(&with(&ETAG, &[""])), Properties::default());
        let version = properties(&with(&VERSION_ID, &["null"])).version;
        assert_eq!(version.as_deref(), Some("null"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_read_as_latin_1() {
        assert_eq!(decoded(&HeaderValue::from_bytes(b"\xfcber").unwrap()), "über");
        assert_eq!(decoded(&HeaderValue::from_bytes("über".as_bytes()).unwrap()), "über");
    }

    #[test]
    fn a_date_that_no_header_can_carry_is_rejected() {
        let late = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 45);
        let conditions = Conditions { if_modified_since: Some(late), ..Conditions::default() };
        assert!(add_conditions(&mut HeaderMap::new(), &conditions).is_err());
    }
}
