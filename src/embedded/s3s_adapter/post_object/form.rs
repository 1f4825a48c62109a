//! Reads `multipart/form-data` (RFC 7578) up to the file, which is then streamed.

use std::io;

use async_stream::try_stream;
use bytes::{Buf, Bytes, BytesMut};
use futures::Stream;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use s3s::Body;

use super::super::refusal::Refusal;

/// The most bytes before the file
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>: "MaxPostPreDataLengthExceeded").
const MAX_BEFORE_FILE: usize = 20 * 1024;

/// The fields of a form, and its body from the file on.
pub(super) struct Form {
    /// The fields before the file, by lower-case name.
    fields: Vec<(String, String)>,
    /// The name of the file.
    pub(super) filename: String,
    rest: Parts,
}

/// The boundary of a form, if the headers are those of one.
pub(in super::super) fn boundary(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let found = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"').to_owned())
    });
    Some(found.unwrap_or_default())
}

impl Form {
    /// Reads the fields before the file.
    pub(super) async fn read(body: Body, boundary: &str) -> Result<Self, Refusal> {
        if boundary.is_empty() || boundary.len() > 70 {
            return Err(malformed());
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first boundary has no line break before it.
        let mut parts = Parts { body, buffer: BytesMut::from(&b"\r\n"[..]), delimiter, read: 0 };
        let delimiter = parts.delimiter.clone();
        parts.take_until(&delimiter).await?;
        let mut fields = Vec::new();
        loop {
            let line_end = parts.take_until(b"\r\n").await?;
            if !line_end.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                let message = "POST requires exactly one file upload per request.";
                return Err(Refusal::bad("InvalidArgument", message).with("ArgumentName", "file"));
            }
            // A part without headers would begin with the empty line.
            parts.put_back(b"\r\n");
            let head = parts.take_until(b"\r\n\r\n").await?;
            let head = String::from_utf8(head.to_vec()).map_err(|_| malformed())?;
            let (name, filename) = disposition(&head).ok_or_else(malformed)?;
            if name == "file" {
                return Ok(Self { fields, filename, rest: parts });
            }
            let value = parts.take_until(&delimiter).await?;
            let value = String::from_utf8(value.to_vec()).map_err(|_| malformed())?;
            fields.push((name, value));
        }
    }

    /// The value of a field, by its lower-case name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// All fields.
    pub(super) fn fields(&self) -> &[(String, String)] {
        &self.fields
    }

    /// The bytes of the file. What follows it is read and ignored.
    pub(super) fn into_file(self) -> impl Stream<Item = io::Result<Bytes>> {
        let Self { rest: mut parts, .. } = self;
        try_stream! {
            loop {
                if let Some(at) = find(&parts.buffer, &parts.delimiter) {
                    if at > 0 {
                        yield parts.buffer.split_to(at).freeze();
                    }
                    break;
                }
                // The delimiter may have begun.
                let safe = parts.buffer.len().saturating_sub(parts.delimiter.len() - 1);
                if safe > 0 {
                    yield parts.buffer.split_to(safe).freeze();
                }
                if !parts.more().await? {
                    Err(io::Error::from(io::ErrorKind::UnexpectedEof))?;
                }
            }
            parts.buffer.clear();
            while parts.more().await? {
                parts.buffer.clear();
            }
        }
    }
}

/// A body that is read piece by piece.
struct Parts {
    body: Body,
    buffer: BytesMut,
    /// A line break and the boundary.
    delimiter: Vec<u8>,
    /// The number of bytes that have been read.
    read: usize,
}

impl Parts {
    /// Removes and returns the bytes before `end`, and removes `end`.
    async fn take_until(&mut self, end: &[u8]) -> Result<Bytes, Refusal> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                let taken = self.buffer.split_to(at).freeze();
                self.buffer.advance(end.len());
                if self.read.saturating_sub(self.buffer.len()) > MAX_BEFORE_FILE {
                    return Err(too_large());
                }
                return Ok(taken);
            }
            if self.read > MAX_BEFORE_FILE {
                return Err(too_large());
            }
            if !self.more().await.map_err(|_| malformed())? {
                return Err(malformed());
            }
        }
    }

    fn put_back(&mut self, bytes: &[u8]) {
        let mut buffer = BytesMut::from(bytes);
        buffer.extend_from_slice(&self.buffer);
        self.buffer = buffer;
    }

    /// Reads more. Returns whether there was more.
    async fn more(&mut self) -> io::Result<bool> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            if let Ok(data) = frame.into_data() {
                self.read += data.len();
                self.buffer.extend_from_slice(&data);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn find(buffer: &[u8], wanted: &[u8]) -> Option<usize> {
    buffer.windows(wanted.len()).position(|window| window == wanted)
}

/// The lower-case name of a field, and the name of its file, from the headers of a part.
fn disposition(head: &str) -> Option<(String, String)> {
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let parameter = |wanted: &str| {
        let mut rest = line;
        while let Some(at) = rest.find(';') {
            rest = rest[at + 1..].trim_start();
            let Some(value) = rest.strip_prefix(wanted).and_then(|rest| rest.strip_prefix('=')) else {
                continue;
            };
            // Browsers write a quote in a name as %22 (https://url.spec.whatwg.org/, "multipart/form-data").
            return match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().map(|text| text.replace("%22", "\"")),
                None => value.split(';').next().map(|text| text.trim().to_owned()),
            };
        }
        None
    };
    let name = parameter("name")?.to_ascii_lowercase();
    let filename = parameter("filename").unwrap_or_default();
    // Old browsers send a path.
    Some((name, filename.rsplit(['/', '\\']).next().unwrap_or_default().to_owned()))
}

fn too_large() -> Refusal {
    let message = "Your POST request fields preceding the upload file were too large.";
    Refusal::bad("MaxPostPreDataLengthExceeded", message)
}

fn malformed() -> Refusal {
    let message = "The body of your POST request is not well-formed multipart/form-data.";
    Refusal::bad("MalformedPOSTRequest", message)
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use http_body_util::StreamBody;

    use super::*;

    const FORM: &str = "--b\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na/b\r\n\
        --b\r\ncontent-disposition: form-data; filename=\"x\"; name=policy\r\nContent-Type: text/plain\r\n\r\n\r\n--x\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a%22.txt\"\r\n\r\n\r\n--data\r\n--\r\n\
        --b\r\nContent-Disposition: form-data; name=\"after\"\r\n\r\nignored\r\n--b--\r\n";

    /// A body that arrives in pieces of this size.
    fn body(text: &str, size: usize) -> Body {
        let pieces: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = pieces.into_iter().map(|piece| Ok::<_, io::Error>(http_body::Frame::data(piece)));
        Body::http_body(StreamBody::new(futures::stream::iter(frames)))
    }

    #[tokio::test]
    async fn fields_and_the_file_are_read_however_they_arrive() {
        for size in [1, 2, 3, 7, 64, 4096] {
            let form = Form::read(body(FORM, size), "b").await.unwrap();
            assert_eq!((form.value("key"), form.value("policy")), (Some("a/b"), Some("\r\n--x")), "{size}");
            assert_eq!((form.fields().len(), form.filename.as_str()), (2, "a\".txt"));
            let pieces: Vec<Bytes> = form.into_file().try_collect().await.unwrap();
            assert_eq!(pieces.concat(), b"\r\n--data\r\n--", "{size}");
        }
    }

    #[tokio::test]
    async fn incomplete_and_oversized_forms_are_rejected() {
        let code =
            async |text: &str| Form::read(body(text, 1000), "b").await.err().map(|refusal| refusal.code);
        assert_eq!(code("").await.as_deref(), Some("MalformedPOSTRequest"));
        assert_eq!(code(&FORM[..40]).await.as_deref(), Some("MalformedPOSTRequest"));
        assert_eq!(code("--b--\r\n").await.as_deref(), Some("InvalidArgument"));
        let large = FORM.replace("a/b", &"k".repeat(50_000));
        assert_eq!(code(&large).await.as_deref(), Some("MaxPostPreDataLengthExceeded"));
        let cut = &FORM[..FORM.find("--data").unwrap() + 3];
        let form = Form::read(body(cut, 1000), "b").await.unwrap();
        assert!(form.into_file().try_collect::<Vec<_>>().await.is_err());
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        let of = |text: &'static str| {
            boundary(&HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(text))]))
        };
        assert_eq!(of("Multipart/Form-Data; charset=utf-8; Boundary=\"b c\"").as_deref(), Some("b c"));
        assert_eq!(of("multipart/form-data").as_deref(), Some(""));
        assert_eq!(of("multipart/mixed; boundary=b"), None);
    }
}
