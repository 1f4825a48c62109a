//! The XML of S3's answers and requests.

use quick_xml::{de::from_str, escape::escape};
use serde::Deserialize;

use super::{Error, headers::not_s3};

/// The body of an error.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) region: Option<String>,
    pub(super) request_id: String,
    pub(super) host_id: String,
}

/// The name of the root element, for telling an error from what was asked for. Parsed rather than searched
/// for: a key in a listing may well be called `<Error>`.
pub(super) fn root(body: &str) -> Option<String> {
    use quick_xml::{Reader, events::Event};
    let mut reader = Reader::from_str(body);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return Some(element.local_name().as_ref().to_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The error in `body`, if that is what it is.
pub(super) fn error(body: &str) -> Option<ErrorBody> {
    (root(body)? == "Error").then(|| from_str(body).unwrap_or_default())
}

/// A document of another kind than errors.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a str, what: &str) -> Result<T, Error> {
    from_str(body).map_err(|error| not_s3(&format!("{what} cannot be read: {error}")))
}

/// Text between tags.
pub(super) fn text(text: &str) -> std::borrow::Cow<'_, str> {
    escape(text)
}

/// Whether XML 1.0 can carry `key` and a parser will read it back as it was (XML 1.0, sections 2.2 and 2.11):
/// most control characters cannot be written, and a carriage return comes back as a line feed.
pub(super) fn carries(key: &str) -> bool {
    key.chars().all(|c| !matches!(c, '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_root() {
        let body = "<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>Reduce</Message>\
            <Key>x</Key><RequestId>R</RequestId><HostId>H</HostId></Error>";
        let error = error(body).unwrap();
        assert_eq!((error.code.as_str(), error.request_id.as_str()), ("SlowDown", "R"));
        assert!(
            super::error("<ListBucketResult><Key>&lt;Error&gt;SlowDown</Key></ListBucketResult>").is_none()
        );
        assert!(super::error("<html>502").is_none());
        assert!(super::error("").is_none());
    }

    #[test]
    fn keys_that_xml_would_change_are_known() {
        assert!(carries("a b&<>é🚢"));
        for key in ["a\rb", "a\u{1}", "\0", "a\nb"] {
            assert!(!carries(key));
        }
    }
}
