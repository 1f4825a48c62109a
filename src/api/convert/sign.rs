//! Validates and converts requests for presigned URLs.

use std::time::Duration;

use super::{Failure, attributes, header_text, mode, range, tags, unsigned, version, write::below};
use crate::{
    pb::{self, SignMethod},
    store::{ByteRange, ResponseHeaders, SignedOperation, SignedWrite, WriteMode, WriteOptions},
};

/// The maximum number of keys in a call.
const MAX_KEYS: usize = 1000;

/// The longest lifetime of a signature: 7 days
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>).
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// The largest object that S3 writes with one request
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub(super) const LARGEST: u64 = 5 * 1024 * 1024 * 1024;

/// What presigned URLs allow, for which keys and how long.
#[derive(Debug)]
pub(crate) struct Signing {
    /// The keys.
    pub(crate) keys: Vec<String>,
    /// What each URL allows.
    pub(crate) operation: SignedOperation,
    /// How long.
    pub(crate) lifetime: Duration,
}

/// The request of `Sign`, without its store. A field that does not apply to the method is rejected.
pub(crate) fn signing(request: pb::SignRequest) -> Result<Signing, Failure> {
    let count = request.keys.len();
    if !(1..=MAX_KEYS).contains(&count) {
        return Err(Failure::field("keys", format!("must have 1 to {MAX_KEYS} entries, not {count}")));
    }
    for (index, key) in request.keys.iter().enumerate() {
        super::key(key, &format!("keys[{index}]"))?;
    }
    let method = SignMethod::try_from(request.method).unwrap_or_default();
    let lifetime = lifetime(request.expires_in)?;
    let mut fields = Fields {
        method,
        keys: count,
        version: version(request.version, "version")?,
        range: request.range,
        response: request.response_headers,
        write: request.write,
    };
    let operation = match method {
        SignMethod::Unspecified => {
            return Err(Failure::field("method", "must be one of GET, PUT, HEAD and DELETE"));
        }
        SignMethod::Get => SignedOperation::Get {
            version: fields.version()?,
            range: fields.range()?,
            response: fields.response()?,
        },
        SignMethod::Head => {
            SignedOperation::Head { version: fields.version()?, response: fields.response()? }
        }
        SignMethod::Put => SignedOperation::Put(fields.write()?),
        SignMethod::Delete => SignedOperation::Delete { version: fields.version()? },
    };
    fields.must_be_taken()?;
    Ok(Signing { keys: request.keys, operation, lifetime })
}

/// The fields that only some methods have. The conversions take them.
struct Fields {
    method: SignMethod,
    keys: usize,
    version: Option<String>,
    range: Option<pb::ByteRange>,
    response: Option<pb::ResponseHeaders>,
    write: Option<pb::SignedWrite>,
}

impl Fields {
    fn version(&mut self) -> Result<Option<String>, Failure> {
        let version = self.version.take();
        if version.is_some() && self.keys > 1 {
            return Err(Failure::field("version", "must be empty if there are several keys"));
        }
        Ok(version)
    }

    fn range(&mut self) -> Result<Option<ByteRange>, Failure> {
        let range = self.range.take().map(|asked| range(asked, "range")).transpose()?;
        match range {
            Some(ByteRange::Bounded { start, end }) if start == end => {
                Err(Failure::field("range.bounded.end", "must be more than `start`: HTTP has no empty range"))
            }
            range => Ok(range),
        }
    }

    fn response(&mut self) -> Result<ResponseHeaders, Failure> {
        let headers = self.response.take().unwrap_or_default();
        Ok(ResponseHeaders {
            content_type: response_header(headers.content_type, "content_type")?,
            content_disposition: response_header(headers.content_disposition, "content_disposition")?,
            content_encoding: response_header(headers.content_encoding, "content_encoding")?,
            content_language: response_header(headers.content_language, "content_language")?,
            cache_control: response_header(headers.cache_control, "cache_control")?,
            expires: response_header(headers.expires, "expires")?,
        })
    }

    fn write(&mut self) -> Result<SignedWrite, Failure> {
        let write = self.write.take().unwrap_or_default();
        let options = WriteOptions {
            attributes: attributes(write.attributes.unwrap_or_default()).map_err(in_write)?,
            tags: tags(write.tags).map_err(in_write)?,
            mode: mode(write.mode).map_err(in_write)?,
            checksum_algorithm: None,
        };
        if let WriteMode::Update { version, .. } = &options.mode {
            if version.is_some() {
                let message = "must be empty: S3 has no condition on versions";
                return Err(Failure::field("write.mode.update.version", message));
            }
            if self.keys > 1 {
                return Err(Failure::field("write.mode.update", "must not be set if there are several keys"));
            }
        }
        let size = write.size.map(|size| unsigned(size, "write.size")).transpose()?;
        if size.is_some_and(|size| size > LARGEST) {
            return Err(Failure::field("write.size", "must be at most 5 GiB, S3's limit for one request"));
        }
        Ok(SignedWrite { options, size, crc32c: write.crc32c })
    }

    /// Rejects the fields that the method does not have.
    fn must_be_taken(&self) -> Result<(), Failure> {
        let left = [
            ("version", self.version.is_some()),
            ("range", self.range.is_some()),
            ("response_headers", self.response.is_some()),
            ("write", self.write.is_some()),
        ];
        let name = self.method.as_str_name().trim_start_matches("SIGN_METHOD_");
        match left.into_iter().find(|(_, is_set)| *is_set) {
            Some((field, _)) => Err(Failure::field(field, format!("does not apply to the method {name}"))),
            None => Ok(()),
        }
    }
}

/// The lifetime of a signature, which has whole seconds.
pub(crate) fn lifetime(message: Option<prost_types::Duration>) -> Result<Duration, Failure> {
    let lifetime = message.and_then(|message| Duration::try_from(message).ok());
    lifetime
        .filter(|lifetime| lifetime.subsec_nanos() == 0 && !lifetime.is_zero() && *lifetime <= LONGEST)
        .ok_or_else(|| Failure::field("expires_in", "must be set: 1 s to 7 days, in whole seconds"))
}

/// A header that S3 returns. S3 rejects what a header cannot carry, but only when the URL is used.
fn response_header(text: String, name: &str) -> Result<String, Failure> {
    let field = format!("response_headers.{name}");
    if !text.is_ascii() {
        let message = "must be ASCII text; RFC 8187 says how to write other file names: filename*=UTF-8''…";
        return Err(Failure::field(field, message));
    }
    header_text(text, &field)
}

fn in_write(failure: Failure) -> Failure {
    below("write", failure)
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    fn request(method: SignMethod) -> pb::SignRequest {
        pb::SignRequest {
            method: method.into(),
            keys: vec!["k".to_owned()],
            expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..Default::default()
        }
    }

    fn wrong(method: SignMethod, edit: impl FnOnce(&mut pb::SignRequest)) -> String {
        let mut request = request(method);
        edit(&mut request);
        field(signing(request))
    }

    #[test]
    fn a_field_that_does_not_apply_to_the_method_is_rejected() {
        use SignMethod::{Delete, Get, Head, Put};
        let range = || Some(pb::ByteRange { range: Some(pb::byte_range::Range::Offset(1)) });
        assert_eq!(wrong(Put, |r| r.version = "v".to_owned()), "version");
        for method in [Put, Head, Delete] {
            assert_eq!(wrong(method, |r| r.range = range()), "range", "{method:?}");
        }
        for method in [Put, Delete] {
            assert_eq!(
                wrong(method, |r| r.response_headers = Some(pb::ResponseHeaders::default())),
                "response_headers"
            );
        }
        for method in [Get, Head, Delete] {
            assert_eq!(wrong(method, |r| r.write = Some(pb::SignedWrite::default())), "write");
            assert!(signing(pb::SignRequest { version: "v".to_owned(), ..request(method) }).is_ok());
        }
        assert!(signing(pb::SignRequest { range: range(), ..request(Get) }).is_ok());
    }

    #[test]
    fn keys_method_and_lifetime_are_checked() {
        use SignMethod::Get;
        let of = |seconds, nanos| Some(prost_types::Duration { seconds, nanos });
        assert_eq!(wrong(Get, |r| r.keys.clear()), "keys");
        assert_eq!(wrong(Get, |r| r.keys = vec!["k".to_owned(); 1001]), "keys");
        assert_eq!(wrong(Get, |r| r.keys.push(String::new())), "keys[1]");
        assert_eq!(wrong(SignMethod::Unspecified, |_| ()), "method");
        assert_eq!(wrong(Get, |r| r.method = 9), "method");
        for lifetime in [None, of(0, 0), of(0, 999_999_999), of(-1, 0), of(604_801, 0), of(60, 1), of(60, -1)]
        {
            assert_eq!(wrong(Get, |r| r.expires_in = lifetime), "expires_in", "{lifetime:?}");
        }
        for seconds in [1, 604_800] {
            let taken = signing(pb::SignRequest { expires_in: of(seconds, 0), ..request(Get) }).unwrap();
            assert_eq!(taken.lifetime.as_secs(), seconds.unsigned_abs());
        }
        assert_eq!(
            wrong(Get, |r| (r.version, r.keys) = ("v".to_owned(), vec!["a".to_owned(), "b".to_owned()])),
            "version"
        );
    }

    #[test]
    fn what_is_read_and_written_is_checked() {
        use SignMethod::{Get, Put};
        let empty = pb::BoundedRange { start: 3, end: 3 };
        let empty = pb::ByteRange { range: Some(pb::byte_range::Range::Bounded(empty)) };
        assert_eq!(wrong(Get, |r| r.range = Some(empty)), "range.bounded.end");
        let headers = |content_disposition: &str| {
            Some(pb::ResponseHeaders {
                content_disposition: content_disposition.to_owned(),
                ..Default::default()
            })
        };
        for text in ["ü", "a\r\nb"] {
            let named = wrong(Get, |r| r.response_headers = headers(text));
            assert_eq!(named, "response_headers.content_disposition");
        }
        let write = |edit: fn(&mut pb::SignedWrite)| {
            wrong(Put, |r| {
                let mut write = pb::SignedWrite::default();
                edit(&mut write);
                r.write = Some(write);
            })
        };
        assert_eq!(write(|w| w.size = Some(-1)), "write.size");
        assert_eq!(write(|w| w.size = Some(5 * 1024 * 1024 * 1024 + 1)), "write.size");
        assert_eq!(write(|w| w.mode = Some(pb::WriteMode { mode: None })), "write.mode");
        assert_eq!(write(|w| drop(w.tags.insert("aws:k".to_owned(), String::new()))), "write.tags");
        let update = |version: &str| {
            let update = pb::write_mode::Update { etag: "\"e\"".to_owned(), version: version.to_owned() };
            let mode = Some(pb::WriteMode { mode: Some(pb::write_mode::Mode::Update(update)) });
            Some(pb::SignedWrite { mode, ..Default::default() })
        };
        assert_eq!(wrong(Put, |r| r.write = update("v")), "write.mode.update.version");
        let several = wrong(Put, |r| (r.write, r.keys) = (update(""), vec!["k".to_owned(); 2]));
        assert_eq!(several, "write.mode.update");
        assert!(signing(pb::SignRequest { write: update(""), ..request(Put) }).is_ok());
    }
}
