//! Conditions of requests, read from the headers: s3s supports neither lists of ETags nor conditions on the destination
//! of CopyObject. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>

use http::{HeaderMap, HeaderValue, header};
use s3s::{S3Error, S3Result, s3_error};

use super::{
    attributes::{etag_header, last_modified_header},
    call::{detailed, text},
};
use crate::embedded::storage::{ObjectRow, now};

/// The conditions of a request, as defined in RFC 9110, section 13.1.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Conditions {
    /// The prefix of the headers' names.
    prefix: &'static str,
    matches: Option<ETags>,
    none_matches: Option<ETags>,
    /// Seconds since 1970.
    modified_since: Option<u64>,
    unmodified_since: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum ETags {
    Any,
    /// Without quotes. Weak ETags are compared like strong ones, since an S3 object's ETag is always strong.
    These(Vec<String>),
}

impl ETags {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Any;
        }
        let etags = text.split(',').map(|etag| {
            let etag = etag.trim();
            etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"').to_owned()
        });
        Self::These(etags.collect())
    }

    fn has(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(etags) => etags.iter().any(|one| one == etag),
        }
    }
}

impl Conditions {
    /// The conditions on the object that a request addresses.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self::named(headers, "")
    }

    /// The conditions on the object that a copy reads.
    pub(super) fn of_source(headers: &HeaderMap) -> Self {
        Self::named(headers, "x-amz-copy-source-")
    }

    fn named(headers: &HeaderMap, prefix: &'static str) -> Self {
        let etags = |name: &str| {
            let values: Vec<_> = headers
                .get_all(format!("{prefix}{name}"))
                .iter()
                .filter_map(|value| value.to_str().ok())
                .filter(|value| !value.trim().is_empty())
                .collect();
            (!values.is_empty()).then(|| ETags::parse(&values.join(",")))
        };
        // An invalid date is ignored (RFC 9110, section 13.1.3).
        let date = |name: &str| {
            let date = httpdate::parse_http_date(text(headers, &format!("{prefix}{name}"))?).ok()?;
            Some(date.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
        };
        Self {
            prefix,
            matches: etags("if-match"),
            none_matches: etags("if-none-match"),
            modified_since: date("if-modified-since"),
            unmodified_since: date("if-unmodified-since"),
        }
    }

    /// Checks a Get or Head. A failed condition is a 412, or a 304 if the caller already has the object.
    pub(super) fn check_read(&self, object: &ObjectRow) -> S3Result<()> {
        self.check_expected(object)?;
        self.check_new(object).map_err(|_| not_modified(object))
    }

    /// Checks the source of a copy. Every failed condition is a 412.
    pub(super) fn check_source(&self, object: &ObjectRow) -> S3Result<()> {
        self.check_expected(object)?;
        self.check_new(object)
    }

    /// Checks a write against the existing object. It can require that no object exists, or that it is the one that the
    /// caller knows (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>).
    pub(super) fn check_write(&self, there: Option<&ObjectRow>) -> S3Result<()> {
        match (&self.matches, &self.none_matches) {
            (Some(_), Some(_)) => {
                Err(not_implemented("If-Match", "If-Match and If-None-Match cannot be combined"))
            }
            (Some(ETags::Any), None) => Err(not_implemented("If-Match", "use an ETag")),
            (None, Some(ETags::These(_))) => Err(not_implemented("If-None-Match", "use *")),
            (None, Some(ETags::Any)) if there.is_some() => Err(self.failed("If-None-Match")),
            (None, Some(ETags::Any)) => Ok(()),
            (_, None) => self.check_delete(there),
        }
    }

    /// Checks a delete against the existing object.
    pub(super) fn check_delete(&self, there: Option<&ObjectRow>) -> S3Result<()> {
        match (&self.matches, there) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.")),
            (Some(expected), Some(there)) if expected.has(&there.etag) => Ok(()),
            (Some(_), Some(_)) => Err(self.failed("If-Match")),
        }
    }

    /// Checks `If-Match`, or without it `If-Unmodified-Since` (RFC 9110, section 13.2.2).
    fn check_expected(&self, object: &ObjectRow) -> S3Result<()> {
        match (&self.matches, self.unmodified_since) {
            (Some(etags), _) if !etags.has(&object.etag) => Err(self.failed("If-Match")),
            (None, Some(date)) if object.modified > date => Err(self.failed("If-Unmodified-Since")),
            _ => Ok(()),
        }
    }

    /// Checks `If-None-Match`, or without it `If-Modified-Since`. A date in the future is ignored (S3 follows RFC 2616,
    /// section 14.25).
    fn check_new(&self, object: &ObjectRow) -> S3Result<()> {
        match (&self.none_matches, self.modified_since) {
            (Some(etags), _) if etags.has(&object.etag) => Err(self.failed("If-None-Match")),
            (None, Some(date)) if object.modified <= date && date <= now() => {
                Err(self.failed("If-Modified-Since"))
            }
            _ => Ok(()),
        }
    }

    fn failed(&self, condition: &str) -> S3Error {
        let error =
            s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold");
        detailed(error, &[("Condition", &format!("{}{condition}", self.prefix))])
    }
}

fn not_implemented(header: &str, why: &str) -> S3Error {
    let error = s3_error!(
        NotImplemented,
        "A header you provided implies functionality that is not implemented: {header}: {why}"
    );
    detailed(error, &[("Header", header)])
}

/// The error says which version the caller has (RFC 9110, section 15.4.5).
fn not_modified(object: &ObjectRow) -> S3Error {
    let mut error = s3_error!(NotModified, "Not Modified");
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, etag_header(object));
    headers.insert(header::LAST_MODIFIED, last_modified_header(object));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    error.set_headers(headers);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    type Lines = &'static [(&'static str, &'static str)];

    fn object() -> ObjectRow {
        ObjectRow { etag: "abc".to_owned(), modified: 784_111_777, ..ObjectRow::default() }
    }

    fn conditions(lines: &[(&'static str, &str)]) -> Conditions {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Conditions::of(&headers)
    }

    #[test]
    fn reads_check_conditions_in_the_order_of_the_rfc() {
        let cases: &[(Lines, &str)] = &[
            (&[], "read"),
            (&[("if-match", "\"abc\"")], "read"),
            (&[("if-match", "abc")], "read"),
            (&[("if-match", "*")], "read"),
            (&[("if-match", "\"x\", \"abc\"")], "read"),
            (&[("if-match", "\"x\""), ("if-match", "\"abc\"")], "read"),
            (&[("if-match", "\"x\"")], "PreconditionFailed"),
            (&[("if-match", "\"abc\""), ("if-unmodified-since", BEFORE)], "read"),
            (&[("if-match", "\"x\""), ("if-unmodified-since", WRITTEN)], "PreconditionFailed"),
            (&[("if-unmodified-since", WRITTEN)], "read"),
            (&[("if-unmodified-since", BEFORE)], "PreconditionFailed"),
            (&[("if-unmodified-since", "yesterday")], "read"),
            (&[("if-none-match", "\"abc\"")], "NotModified"),
            (&[("if-none-match", "W/\"abc\"")], "NotModified"),
            (&[("if-none-match", "*")], "NotModified"),
            (&[("if-none-match", "\"x\",\"y\"")], "read"),
            (&[("if-none-match", "\"abc\""), ("if-modified-since", BEFORE)], "NotModified"),
            (&[("if-none-match", "\"x\""), ("if-modified-since", WRITTEN)], "read"),
            (&[("if-modified-since", WRITTEN)], "NotModified"),
            (&[("if-modified-since", BEFORE)], "read"),
            (&[("if-modified-since", "Fri, 01 Jan 2400 00:00:00 GMT")], "read"),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], "PreconditionFailed"),
        ];
        for (lines, outcome) in cases {
            let read = conditions(lines).check_read(&object());
            let found = read.as_ref().map_or_else(|error| error.code().as_str(), |()| "read");
            assert_eq!(found, *outcome, "{lines:?}");
        }
    }

    #[test]
    fn writes_check_the_existing_object() {
        let cases: &[(Lines, bool, &str)] = &[
            (&[("if-none-match", "*")], false, "written"),
            (&[("if-none-match", "*")], true, "PreconditionFailed"),
            (&[("if-none-match", "\"abc\"")], true, "NotImplemented"),
            (&[("if-match", "\"abc\"")], true, "written"),
            (&[("if-match", "\"abc\""), ("if-none-match", "*")], true, "NotImplemented"),
            (&[("if-match", "\"x\"")], true, "PreconditionFailed"),
            (&[("if-match", "\"abc\"")], false, "NoSuchKey"),
            (&[("if-match", "*")], true, "NotImplemented"),
        ];
        for (lines, there, outcome) in cases {
            let write = conditions(lines).check_write(there.then(object).as_ref());
            let found = write.as_ref().map_or_else(|error| error.code().as_str(), |()| "written");
            assert_eq!(found, *outcome, "{lines:?}");
        }
    }
}
