//! `HeadObject` and `GetObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use http::{HeaderMap, Method, StatusCode, header::RANGE};

use super::{
    Attributes, ByteRange, Client, Conditions, Error, ErrorKind, Properties, RestoreStatus, attributes,
    client::Answer,
    encryption::DataAccess,
    error::invalid_response,
    headers::{self, ContentRange, content_length, content_range, echoed},
    request::Request,
    restore_object,
};
use crate::transport::ResponseBody;

/// The object to read, and the conditions of the read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) conditions: &'a Conditions,
}

/// An object's metadata, without its bytes.
#[derive(Debug, Clone)]
pub(crate) struct HeadAnswer {
    pub(crate) size: u64,
    pub(crate) properties: Properties,
    pub(crate) attributes: Attributes,
    /// The restored copy of an archived object. `None` if no restore was requested.
    pub(crate) restore: Option<RestoreStatus>,
    /// The archive tier of an object in INTELLIGENT_TIERING. Empty if it is in none.
    pub(crate) archive_status: String,
    pub(crate) write_id: Option<String>,
    /// The headers that describe the object, for a write that copies the object.
    pub(crate) carried: HeaderMap,
    /// Whether the object has metadata that the response omits.
    pub(crate) hides_metadata: bool,
    /// The MD5 of the object's bytes, if the ETag is an MD5.
    pub(crate) md5: Option<[u8; 16]>,
}

/// The metadata of an object, and a body with its bytes `start..end`.
#[derive(Debug)]
pub(crate) struct GetAnswer {
    pub(crate) size: u64,
    pub(crate) properties: Properties,
    pub(crate) attributes: Attributes,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) body: ResponseBody,
}

impl HeadAnswer {
    fn of(headers: &HeaderMap, size: u64) -> Self {
        let (attributes, write_id) = attributes::read(headers);
        let properties = headers::properties(headers);
        let md5 = properties.etag.as_deref().filter(|_| !hides_md5(headers)).and_then(md5);
        let (carried, hides_metadata) = (attributes::carried(headers), attributes::hides_metadata(headers));
        let restore = restore_object::status(headers);
        let archive_status = restore_object::archive_status(headers);
        Self { size, properties, attributes, restore, archive_status, write_id, carried, hides_metadata, md5 }
    }
}

impl Client {
    /// `HeadObject`. If the response omits the size or the reason for a failure, reads one byte of the object to find
    /// out.
    pub(crate) async fn head_object(&self, selection: Selection<'_>) -> Result<HeadAnswer, Error> {
        let request = reading("HeadObject", Method::HEAD, selection)?;
        match self.stream(&request).await {
            Ok(answer) => self.head_answer(selection, answer).await,
            Err(error) if self.is_ambiguous(&error) => {
                match Box::pin(self.first_byte(selection)).await {
                    Ok((headers, Some(size))) => Ok(HeadAnswer::of(&headers, size)),
                    Ok((_, None)) => Err(error),
                    // An empty object has no first byte, so this error does not explain the failure. But the client may
                    // have learned from it, for example the region, or that the credentials had expired.
                    Err(empty) if empty.kind() == ErrorKind::RangeNotSatisfiable => {
                        match self.stream(&request).await {
                            Ok(answer) => self.head_answer(selection, answer).await,
                            Err(_) => Err(error),
                        }
                    }
                    Err(told) => Err(told),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn head_answer(
        &self,
        selection: Selection<'_>,
        Answer { headers, .. }: Answer,
    ) -> Result<HeadAnswer, Error> {
        let size = match content_length(&headers) {
            Some(size) => size,
            None => Box::pin(self.size(selection, &headers::properties(&headers))).await?,
        };
        Ok(HeadAnswer::of(&headers, size))
    }

    /// `GetObject`. If the response has only a range of the object, its properties have no checksums. A server without
    /// support for ranges sends the whole object, and `start..end` then covers all of
    /// it.
    pub(crate) async fn get_object(
        &self,
        selection: Selection<'_>,
        range: Option<ByteRange>,
    ) -> Result<GetAnswer, Error> {
        let mut request = reading("GetObject", Method::GET, selection)?;
        if let Some(range) = range {
            request.headers.insert(RANGE, echoed(&range_header(range))?);
        }
        let Answer { status, headers, body } = self.stream(&request).await?;
        let extent = extent(status, &headers, range)?;
        let mut properties = headers::properties(&headers);
        let size = match extent.size {
            Some(size) => size,
            None => Box::pin(self.size(selection, &properties)).await?,
        };
        let (attributes, _) = attributes::read(&headers);
        let (start, end) = extent.bytes.unwrap_or((0, size));
        // If the range is a part of a multipart upload, S3 returns the checksum of the part.
        if (start, end) != (0, size) {
            properties.checksums.clear();
        }
        Ok(GetAnswer { size, properties, attributes, start, end, body })
    }

    /// Finds the size of an object by a read of its first byte, for servers whose response to HEAD is unreliable.
    pub(crate) async fn object_size(
        &self,
        selection: Selection<'_>,
        found: &HeadAnswer,
    ) -> Result<u64, Error> {
        Box::pin(self.size(selection, &found.properties)).await
    }

    /// Finds the size of an object whose response omits it, as RFC 9110, section 8.6, allows. Fails if the object has
    /// been replaced or the server still omits the size.
    async fn size(&self, selection: Selection<'_>, properties: &Properties) -> Result<u64, Error> {
        let if_match = properties.strong_etag().map(str::to_owned);
        let pinned = Conditions { if_match, ..Conditions::default() };
        let selection = Selection { conditions: &pinned, ..selection };
        match self.first_byte(selection).await {
            Ok((headers, Some(size))) if headers::properties(&headers).etag == properties.etag => Ok(size),
            Ok((_, Some(_))) => Err(replaced()),
            Ok((_, None)) => {
                Err(Error::new(ErrorKind::BackendProtocol, "the server does not return the object's size"))
            }
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Err(replaced()),
            // Only an empty object has no first byte.
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Reads the first byte. Returns the headers of the response, and the object's size if they state it.
    async fn first_byte(&self, selection: Selection<'_>) -> Result<(HeaderMap, Option<u64>), Error> {
        let mut request = reading("GetObject", Method::GET, selection)?;
        let range = ByteRange::Bounded { start: 0, end: 1 };
        request.headers.insert(RANGE, echoed(&range_header(range))?);
        let Answer { status, headers, .. } = self.stream(&request).await?;
        let size = extent(status, &headers, Some(range))?.size;
        Ok((headers, size))
    }
}

fn replaced() -> Error {
    Error::new(ErrorKind::ObjectChanged, "the object was replaced during the call: call again")
}

/// Whether the ETag looks like an MD5 but is not one, as with KMS keys or customer-provided keys
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html>).
fn hides_md5(headers: &HeaderMap) -> bool {
    let encryption = headers.get("x-amz-server-side-encryption").map(http::HeaderValue::as_bytes);
    encryption.is_some_and(|name| name.starts_with(b"aws:kms"))
        || headers.contains_key("x-amz-server-side-encryption-customer-algorithm")
}

fn md5(etag: &str) -> Option<[u8; 16]> {
    hex::decode(etag.trim_matches('"')).ok()?.try_into().ok()
}

fn reading(operation: &'static str, method: Method, selection: Selection<'_>) -> Result<Request, Error> {
    let mut request = Request::object(operation, method, selection.key)
        .version(selection.version)
        .header("x-amz-checksum-mode", "ENABLED")
        .accessing(DataAccess::Read);
    headers::add_conditions(&mut request.headers, selection.conditions)?;
    Ok(request)
}

/// `Range` (RFC 9110, section 14.2), whose end is inclusive. The store never requests an empty range.
pub(super) fn range_header(range: ByteRange) -> String {
    match range {
        ByteRange::Bounded { start, end } => format!("bytes={start}-{}", end.saturating_sub(1)),
        ByteRange::Offset(start) => format!("bytes={start}-"),
        ByteRange::Suffix(length) => format!("bytes=-{length}"),
    }
}

/// The range of the bytes in a body and the object's size, as the response states them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// `None`: the whole object.
    bytes: Option<(u64, u64)>,
    size: Option<u64>,
}

fn extent(status: StatusCode, headers: &HeaderMap, range: Option<ByteRange>) -> Result<Extent, Error> {
    let length = content_length(headers);
    match status {
        // Garage responds like this to a suffix of an empty object.
        StatusCode::PARTIAL_CONTENT
            if length == Some(0)
                && matches!(range, Some(ByteRange::Suffix(_)))
                && content_range(headers).is_none() =>
        {
            Ok(Extent { bytes: Some((0, 0)), size: Some(0) })
        }
        StatusCode::PARTIAL_CONTENT => {
            let Some(ContentRange { bytes: Some((start, end)), total }) = content_range(headers) else {
                return Err(invalid_response("a response with status 206 has no valid Content-Range"));
            };
            if length.is_some_and(|length| length != end - start) {
                return Err(invalid_response(
                    "a response has a Content-Range and a Content-Length that differ",
                ));
            }
            Ok(Extent { bytes: Some((start, end)), size: total })
        }
        StatusCode::OK => Ok(Extent { bytes: None, size: length }),
        other => Err(invalid_response(&format!("the response to a read has status {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderValue,
        header::{CONTENT_LENGTH, CONTENT_RANGE},
    };

    use super::*;

    #[test]
    fn an_exclusive_end_becomes_inclusive() {
        assert_eq!(range_header(ByteRange::Bounded { start: 0, end: 10 }), "bytes=0-9");
        assert_eq!(range_header(ByteRange::Offset(5)), "bytes=5-");
        assert_eq!(range_header(ByteRange::Suffix(7)), "bytes=-7");
    }

    #[test]
    fn the_extent_comes_from_the_response() {
        let (ok, partial) = (StatusCode::OK, StatusCode::PARTIAL_CONTENT);
        let headers = |length: &'static str, range: &'static str| {
            let values = [(CONTENT_LENGTH, length), (CONTENT_RANGE, range)];
            let said = values.into_iter().filter(|(_, value)| !value.is_empty());
            said.map(|(name, value)| (name, HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        let found = |bytes, size| Extent { bytes, size };
        let bounded = Some(ByteRange::Bounded { start: 2, end: 5 });
        let extent = |status, length, range| super::extent(status, &headers(length, range), bounded);
        assert_eq!(extent(ok, "3", "").unwrap(), found(None, Some(3)));
        assert_eq!(extent(ok, "", "").unwrap(), found(None, None), "unknown, not 0");
        assert_eq!(
            extent(ok, "3", "bytes 2-4/10").unwrap(),
            found(None, Some(3)),
            "Content-Range has no meaning without status 206"
        );
        assert_eq!(extent(partial, "3", "bytes 2-4/10").unwrap(), found(Some((2, 5)), Some(10)));
        assert_eq!(extent(partial, "", "bytes 2-4/*").unwrap(), found(Some((2, 5)), None));
        for (length, range) in [("3", ""), ("0", ""), ("4", "bytes 2-4/10"), ("3", "bytes 2-10/10")] {
            assert!(extent(partial, length, range).is_err(), "{length} {range}");
        }
        assert!(extent(StatusCode::NO_CONTENT, "", "").is_err());
        let suffix = super::extent(partial, &headers("0", ""), Some(ByteRange::Suffix(3)));
        assert_eq!(suffix.unwrap(), found(Some((0, 0)), Some(0)));
    }

    #[test]
    fn an_etag_is_an_md5_only_if_it_can_be_one() {
        let md5 = "\"d41d8cd98f00b204e9800998ecf8427e\"";
        assert!(super::md5(md5).is_some());
        assert!(super::md5("\"d41d8cd98f00b204e9800998ecf8427e-2\"").is_none());
        let mut headers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static(md5))]);
        assert!(HeadAnswer::of(&headers, 0).md5.is_some());
        headers.insert("x-amz-server-side-encryption", HeaderValue::from_static("aws:kms:dsse"));
        assert!(HeadAnswer::of(&headers, 0).md5.is_none());
    }
}
