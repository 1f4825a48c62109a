//! `HeadObject` and `GetObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>

use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};
use tokio::time::Instant;

use super::{
    Attributes, ByteRange, Client, Conditions, Error, ErrorKind, ObjectMeta,
    headers::{self, not_s3, visible},
    request::Request,
};
use crate::transport::ResponseBody;

/// Which object to read, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selection<'a> {
    pub(crate) key: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) conditions: &'a Conditions,
}

/// An object without its bytes.
#[derive(Debug)]
pub(crate) struct HeadAnswer {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    pub(crate) write_id: Option<String>,
}

/// The head of an object or a range of it, and its bytes `start..end` to come.
#[derive(Debug)]
pub(crate) struct GetAnswer {
    pub(crate) meta: ObjectMeta,
    pub(crate) attributes: Attributes,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) body: ResponseBody,
}

impl Client {
    /// `HeadObject`.
    pub(crate) async fn head_object(
        &self,
        selection: Selection<'_>,
        deadline: Option<Instant>,
    ) -> Result<HeadAnswer, Error> {
        let request = reading("HeadObject", Method::HEAD, selection)?;
        let answer = self.stream(&request, deadline).await?;
        let (attributes, write_id) = headers::attributes(&answer.headers);
        Ok(HeadAnswer { meta: headers::object_meta(&answer.headers), attributes, write_id })
    }

    /// `GetObject`. A server that does not know ranges answers with the whole object: `start..end` says so.
    pub(crate) async fn get_object(
        &self,
        selection: Selection<'_>,
        range: Option<ByteRange>,
        deadline: Option<Instant>,
    ) -> Result<GetAnswer, Error> {
        let mut request = reading("GetObject", Method::GET, selection)?;
        if let Some(range) = range {
            request.headers.insert(RANGE, visible(&header(range), "range")?);
        }
        let answer = self.stream(&request, deadline).await?;
        let (start, end) = extent(answer.status, &answer.headers)?;
        let (attributes, _) = headers::attributes(&answer.headers);
        Ok(GetAnswer {
            meta: headers::object_meta(&answer.headers),
            attributes,
            start,
            end,
            body: answer.body,
        })
    }
}

fn reading(operation: &'static str, method: Method, selection: Selection<'_>) -> Result<Request, Error> {
    let mut request = Request::object(operation, method, selection.key)
        .version(selection.version)
        .header("x-amz-checksum-mode", "ENABLED")
        .hedgeable();
    headers::add_conditions(&mut request.headers, selection.conditions)?;
    Ok(request)
}

/// `Range` (RFC 9110, section 14.2), whose end is inclusive. The store asks for no empty range.
fn header(range: ByteRange) -> String {
    match range {
        ByteRange::Bounded { start, end } => format!("bytes={start}-{}", end.saturating_sub(1)),
        ByteRange::Offset(start) => format!("bytes={start}-"),
        ByteRange::Suffix(length) => format!("bytes=-{length}"),
    }
}

fn extent(status: StatusCode, headers: &HeaderMap) -> Result<(u64, u64), Error> {
    let length = headers::text(headers, &CONTENT_LENGTH);
    // Garage answers so to a suffix of an empty object.
    let empty = length == "0" && !headers.contains_key(CONTENT_RANGE);
    if status == StatusCode::PARTIAL_CONTENT && !empty {
        let range = headers::content_range(headers).ok_or_else(|| not_s3("a range without Content-Range"))?;
        if range.start >= range.end || range.end > range.total {
            return Err(not_s3("a Content-Range that is none"));
        }
        return Ok((range.start, range.end));
    }
    let length = length
        .parse()
        .map_err(|_| Error::new(ErrorKind::BackendProtocol, "S3 did not say the object's size"))?;
    Ok((0, length))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_exclusive_end_becomes_inclusive() {
        assert_eq!(header(ByteRange::Bounded { start: 0, end: 10 }), "bytes=0-9");
        assert_eq!(header(ByteRange::Offset(5)), "bytes=5-");
        assert_eq!(header(ByteRange::Suffix(7)), "bytes=-7");
    }

    #[test]
    fn the_extent_is_what_the_answer_says() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("3"));
        assert_eq!(extent(StatusCode::OK, &headers).unwrap(), (0, 3));
        assert!(extent(StatusCode::PARTIAL_CONTENT, &headers).is_err());
        headers.insert("content-range", HeaderValue::from_static("bytes 2-4/10"));
        assert_eq!(extent(StatusCode::PARTIAL_CONTENT, &headers).unwrap(), (2, 5));
        headers.insert("content-range", HeaderValue::from_static("bytes 2-10/10"));
        assert!(extent(StatusCode::PARTIAL_CONTENT, &headers).is_err());
    }
}
