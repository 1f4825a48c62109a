//! URI encoding as SigV4 requires it: encodes every byte except the unreserved characters of RFC 3986, and normalises
//! nothing.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Encodes a key for a path or for `x-amz-copy-source`. Keeps slashes.
pub(super) fn path(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, PATH).into()
}

/// Encodes a name or value for a query string.
pub(super) fn query(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, QUERY).into()
}

/// Builds a query string in canonical order: sorted by encoded name, then by value.
pub(super) fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut encoded: Vec<_> = pairs.iter().map(|(name, value)| (query(name), query(value))).collect();
    encoded.sort();
    let mut text = String::new();
    for (name, value) in encoded {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&name);
        text.push('=');
        text.push_str(&value);
    }
    text
}

/// Decodes a key from a listing with `encoding-type=url`, in which S3 writes a space as `+`.
pub(super) fn decode_listed(text: String) -> Result<String, std::str::Utf8Error> {
    if !text.contains(['+', '%']) {
        return Ok(text);
    }
    let spaced = text.replace('+', " ");
    Ok(percent_decode_str(&spaced).decode_utf8()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_encoded_byte_by_byte_and_never_normalised() {
        assert_eq!(path("/a//b/../c/./"), "/a//b/../c/./");
        assert_eq!(path("a b+c@d%2F~é\u{1}"), "a%20b%2Bc%40d%252F~%C3%A9%01");
    }

    #[test]
    fn a_query_is_sorted_by_its_encoded_form() {
        assert_eq!(
            canonical_query(&[("prefix", "a/b c"), ("delimiter", "/"), ("list-type", "2")]),
            "delimiter=%2F&list-type=2&prefix=a%2Fb%20c"
        );
        assert_eq!(canonical_query(&[("uploads", "")]), "uploads=");
    }

    #[test]
    fn listed_keys_are_decoded() {
        assert_eq!(decode_listed("a+b%2Bc%0Ad".to_owned()).unwrap(), "a b+c\nd");
        assert!(decode_listed("%FF".to_owned()).is_err());
    }
}
