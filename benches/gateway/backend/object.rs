//! Reads and writes of objects, whole and in parts.

use std::{fmt::Write as _, sync::PoisonError};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE},
    http::{request::Parts, response::Builder},
};

use super::{
    Backend,
    answer::{self, Answer},
    body::ObjectBody,
    pace::Pace,
};
use crate::content::{self, Content};

const CHECKSUM: &str = "x-amz-checksum-crc64nvme";
const CHECKSUM_TYPE: &str = "x-amz-checksum-type";

impl Backend {
    /// GetObject and HeadObject.
    pub(super) fn read(&self, bucket: &str, key: &str, request: &Parts, pace: Pace) -> Answer {
        let Some(size) = key.rsplit('/').next().and_then(|size| size.parse::<u64>().ok()) else {
            return answer::no_such_key();
        };
        let range = request.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let range = range.and_then(|range| bounds(range, size));
        let (start, end) = range.unwrap_or((0, size));
        let mut head = Response::builder()
            .header(ETAG, format!("\"{size:032x}\""))
            .header(LAST_MODIFIED, "Tue, 24 Nov 2026 10:00:00 GMT")
            .header(ACCEPT_RANGES, "bytes")
            .header(CONTENT_TYPE, "binary/octet-stream")
            .header(CONTENT_LENGTH, end - start)
            .header("server", "AmazonS3");
        if range.is_some() {
            let last = end.saturating_sub(1);
            head = head
                .status(StatusCode::PARTIAL_CONTENT)
                .header(CONTENT_RANGE, format!("bytes {start}-{last}/{size}"));
        } else if bucket != "plain" && request.headers.get("x-amz-checksum-mode").is_some() {
            head = head.header(CHECKSUM, self.checksum(size)).header(CHECKSUM_TYPE, "FULL_OBJECT");
        }
        if request.method == Method::HEAD {
            return built(head, Either::Left(Full::default()));
        }
        let content = Content::range(start, end);
        built(head, Either::Right(ObjectBody::new(content, pace, self.abandoned.clone())))
    }

    /// The checksum of the whole object, encoded as in S3's header.
    fn checksum(&self, size: u64) -> String {
        let mut known = self.checksums.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(size).or_insert_with(|| STANDARD.encode(content::crc64nvme(size).to_be_bytes())).clone()
    }
}

/// CreateMultipartUpload.
pub(super) fn created(bucket: &str, key: &str) -> Answer {
    let mut text = String::from("<InitiateMultipartUploadResult>");
    let _ =
        write!(text, "<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>an-upload-of-the-bench</UploadId>");
    text.push_str("</InitiateMultipartUploadResult>");
    answer::xml(text)
}

/// PutObject and UploadPart.
pub(super) fn written(headers: &HeaderMap, size: u64) -> Answer {
    let mut head = Response::builder().header(ETAG, format!("\"{size:032x}\""));
    if let Some(checksum) = headers.get(CHECKSUM) {
        head = head.header(CHECKSUM, checksum).header(CHECKSUM_TYPE, "FULL_OBJECT");
    }
    built(head, Either::Left(Full::default()))
}

/// CompleteMultipartUpload. `parts` is the length of the list of parts, in bytes.
pub(super) fn completed(bucket: &str, key: &str, headers: &HeaderMap, parts: usize) -> Answer {
    let checksum = headers.get(CHECKSUM).and_then(|checksum| checksum.to_str().ok());
    let mut text = String::from("<CompleteMultipartUploadResult>");
    let _ = write!(text, "<Location>http://localhost/{bucket}/{key}</Location>");
    let _ = write!(text, "<Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>&quot;{parts:032x}-2&quot;</ETag>");
    if let Some(checksum) = checksum {
        let _ = write!(text, "<ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME>");
        text.push_str("<ChecksumType>FULL_OBJECT</ChecksumType>");
    }
    text.push_str("</CompleteMultipartUploadResult>");
    answer::xml(text)
}

/// Parses a byte range (RFC 9110, section 14.1.2). The end is exclusive.
fn bounds(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    if first.is_empty() {
        return Some((size.saturating_sub(last.parse().ok()?), size));
    }
    let end = if last.is_empty() { size } else { size.min(last.parse::<u64>().ok()? + 1) };
    let first = first.parse().ok()?;
    (first < end).then_some((first, end))
}

fn built(head: Builder, body: Either<Full<Bytes>, ObjectBody>) -> Answer {
    head.body(body).unwrap_or_else(|_| answer::unknown())
}
