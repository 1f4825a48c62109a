//! GetObject and HeadObject.

use std::{ops::Range as Bytes, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{
        GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, Range, Timestamp, TimestampFormat,
    },
    s3_error,
};

use super::{
    archive, attributes,
    call::{asked_version, coded, detailed, number, received, text},
    checksums,
    conditions::Conditions,
    content::{self, Content},
    encryption::{self, KeyOf},
};
use crate::embedded::storage::{Failed, ObjectRow, PartRow, Storage, blocking};

/// Sends an object, or the requested bytes of it.
pub(super) async fn get_object(
    storage: &Arc<Storage>,
    mut request: S3Request<GetObjectInput>,
) -> S3Result<S3Response<GetObjectOutput>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let version = asked_version(input.version_id.as_deref())?;
    let overrides = Overrides {
        cache_control: input.response_cache_control,
        content_disposition: input.response_content_disposition,
        content_encoding: input.response_content_encoding,
        content_language: input.response_content_language,
        content_type: input.response_content_type,
        expires: input.response_expires,
    };
    let wanted = Wanted::of(input.range, input.part_number)?;
    let (bucket, key) = (input.bucket, input.key);
    let storage = Arc::clone(storage);
    let (answer, first, reading) = blocking(move || {
        let content = content::open(&storage, (&bucket, &key), version, &headers)?;
        let answer = answer(&content, &headers, wanted)?;
        if archive::is_archived(&content.object) {
            return Err(archived());
        }
        let mut reading = content.reading(answer.range.clone());
        let first = reading.next()?;
        Ok((answer, first, reading))
    })
    .await?;
    let body = first.map(|first| reading.stream(first));
    let mut headers = answer.headers;
    overrides.apply(&mut headers);
    let output = GetObjectOutput {
        body,
        content_length: Some(number(answer.range.end - answer.range.start)),
        content_range: answer.content_range,
        ..GetObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, headers))
}

/// Returns the headers of Get without the bytes.
pub(super) async fn head_object(
    storage: &Arc<Storage>,
    mut request: S3Request<HeadObjectInput>,
) -> S3Result<S3Response<HeadObjectOutput>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let version = asked_version(input.version_id.as_deref())?;
    let overrides = Overrides {
        cache_control: input.response_cache_control,
        content_disposition: input.response_content_disposition,
        content_encoding: input.response_content_encoding,
        content_language: input.response_content_language,
        content_type: input.response_content_type,
        expires: input.response_expires,
    };
    let wanted = Wanted::of(input.range, input.part_number)?;
    let (bucket, key) = (input.bucket, input.key);
    let storage = Arc::clone(storage);
    let mut answer = blocking(move || {
        let content = content::open(&storage, (&bucket, &key), version, &headers)?;
        answer(&content, &headers, wanted)
    })
    .await?;
    overrides.apply(&mut answer.headers);
    let output = HeadObjectOutput {
        content_length: Some(number(answer.range.end - answer.range.start)),
        content_range: answer.content_range,
        ..HeadObjectOutput::default()
    };
    Ok(S3Response::with_headers(output, answer.headers))
}

/// The bytes that a request asks for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    All,
    Range(Range),
    Part(u16),
}

impl Wanted {
    fn of(range: Option<Range>, part: Option<i32>) -> S3Result<Self> {
        match (range, part) {
            (None, None) => Ok(Self::All),
            (Some(range), None) => Ok(Self::Range(range)),
            (None, Some(part)) => match u16::try_from(part) {
                Ok(part @ 1..=10_000) => Ok(Self::Part(part)),
                _ => Err(s3_error!(
                    InvalidArgument,
                    "Part number must be an integer between 1 and 10000, inclusive"
                )),
            },
            (Some(_), Some(_)) => Err(s3_error!(
                InvalidRequest,
                "Cannot specify both Range header and partNumber query parameter"
            )),
        }
    }
}

struct Answer {
    range: Bytes<u64>,
    content_range: Option<String>,
    headers: HeaderMap,
}

/// Checks the customer's key, then the conditions, then the range (RFC 9110, section 13.2.2).
fn answer(content: &Content, request: &HeaderMap, wanted: Wanted) -> Result<Answer, Failed> {
    let object = &content.object;
    encryption::check_key(request, KeyOf::Object, &object.attributes.customer_key_md5)?;
    Conditions::of(request).check_read(object)?;
    let with_checksum =
        text(request, "x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case("enabled"));
    let of_part = matches!(wanted, Wanted::Part(_)) && object.parts > 0;
    let whole = 0..object.size;
    let mut headers = attributes::told(object);
    if let Some(Ok(id)) = content.version_id().map(HeaderValue::try_from) {
        headers.insert("x-amz-version-id", id);
    }
    let range = match wanted {
        // As in S3, a suffix of an empty object is the whole object.
        Wanted::Range(Range::Suffix { length: 1.. }) if object.size == 0 => whole.clone(),
        Wanted::Range(range) => range.check(object.size).map_err(|_| not_satisfiable(range, object.size))?,
        Wanted::Part(number) if object.parts > 0 => {
            let (range, row) = content.part(number).ok_or_else(no_such_part)?;
            headers.insert("x-amz-mp-parts-count", HeaderValue::from(object.parts));
            if with_checksum {
                headers.extend(part_checksum(object, row));
            }
            range
        }
        Wanted::All | Wanted::Part(1) => whole.clone(),
        Wanted::Part(_) => return Err(no_such_part().into()),
    };
    if let (true, Some(checksum)) = (with_checksum && range == whole && !of_part, &object.checksum) {
        headers.extend(checksums::headers(checksum, object.parts));
    }
    // An empty range has no `Content-Range`, since that would have to name a first byte.
    let partial = !range.is_empty() && !matches!(wanted, Wanted::All);
    let content_range = partial.then(|| format!("bytes {}-{}/{}", range.start, range.end - 1, object.size));
    Ok(Answer { range, content_range, headers })
}

/// A part's own checksum, if the upload was created with a checksum algorithm.
fn part_checksum(object: &ObjectRow, part: &PartRow) -> HeaderMap {
    match (&object.checksum, &part.checksum) {
        (Some(whole), Some(part)) if object.parts_have_checksums => checksums::part_headers(part, whole),
        _ => HeaderMap::new(),
    }
}

fn not_satisfiable(range: Range, size: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    error.set_headers(headers);
    detailed(error, &[("ActualObjectSize", &size.to_string()), ("RangeRequested", &range.to_header_string())])
}

fn no_such_part() -> S3Error {
    coded(
        "InvalidPartNumber",
        StatusCode::RANGE_NOT_SATISFIABLE,
        "The requested partnumber is not satisfiable",
    )
}

fn archived() -> Failed {
    s3_error!(InvalidObjectState, "The operation is not valid for the object's storage class").into()
}

/// The `response-*` parameters of the query, which replace stored headers.
struct Overrides {
    cache_control: Option<String>,
    content_disposition: Option<String>,
    content_encoding: Option<String>,
    content_language: Option<String>,
    content_type: Option<String>,
    expires: Option<Timestamp>,
}

impl Overrides {
    fn apply(self, headers: &mut HeaderMap) {
        let expires = self.expires.and_then(|expires| {
            let mut text = Vec::new();
            expires.format(TimestampFormat::HttpDate, &mut text).ok()?;
            String::from_utf8(text).ok()
        });
        for (name, value) in [
            (header::CACHE_CONTROL, self.cache_control),
            (header::CONTENT_DISPOSITION, self.content_disposition),
            (header::CONTENT_ENCODING, self.content_encoding),
            (header::CONTENT_LANGUAGE, self.content_language),
            (header::CONTENT_TYPE, self.content_type),
            (header::EXPIRES, expires),
        ] {
            override_header(headers, name, value);
        }
    }
}

/// Replaces a header. A value that a header cannot have is ignored.
fn override_header(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
        headers.insert(name, value);
    }
}
