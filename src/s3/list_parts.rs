//! `ListParts`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use std::time::SystemTime;

use http::Method;

use super::{
    Checksum, ChecksumAlgorithm, Client, Error,
    encryption::DataAccess,
    error::invalid_response,
    failed_attempt::server_clock,
    multipart::{MultipartUpload, Part},
    page::Room,
    request::Request,
    xml::{self, Element},
};

/// Maximum number of parts in an upload (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PARTS: u32 = 10_000;

/// The parts of an upload that S3 has.
#[derive(Debug, Default)]
pub(crate) struct ListedParts {
    /// The parts in order of their numbers, each with its size in bytes.
    pub(crate) parts: Vec<(Part, u64)>,
    /// When the newest part was written. `None` if there are no parts or S3 omits the time of any part.
    pub(crate) newest: Option<SystemTime>,
    /// The time of the server's clock when it listed them; `None` if the response has no plausible one.
    pub(crate) now: Option<SystemTime>,
}

impl Client {
    /// `ListParts`: all pages.
    pub(crate) async fn list_parts(
        &self,
        upload: &MultipartUpload,
        room: &mut impl Room,
    ) -> Result<ListedParts, Error> {
        let mut listed = Vec::new();
        let (mut marker, mut now) = (0, None);
        loop {
            let mut request = Request::object("ListParts", Method::GET, &upload.key)
                .accessing(DataAccess::Upload)
                .query("uploadId", upload.known_id()?)
                .query("max-parts", "1000");
            if marker > 0 {
                request = request.query("part-number-marker", marker.to_string());
            }
            let answer = self.page(&request, room).await?;
            now = now.max(server_clock(&answer.headers));
            let next = page(&answer.body, upload.algorithm, &mut listed)?;
            if listed.len() > MAX_PARTS as usize {
                return Err(invalid_response("an upload has more than 10,000 parts"));
            }
            match next {
                None => break,
                // Part numbers end at 10,000, so this also limits the number of pages without parts.
                Some(next) if next > marker && next <= MAX_PARTS => marker = next,
                Some(_) => return Err(invalid_response("a list of parts has an invalid next marker")),
            }
        }
        listed.sort_by_key(|listed| listed.part.number);
        if listed.windows(2).any(|pair| matches!(pair, [one, other] if one.part.number == other.part.number))
        {
            return Err(invalid_response("a list of parts contains the same part more than once"));
        }
        let times: Option<Vec<_>> = listed.iter().map(|listed| listed.written).collect();
        let newest = times.and_then(|times| times.into_iter().max());
        Ok(ListedParts {
            parts: listed.into_iter().map(|Listed { part, size, .. }| (part, size)).collect(),
            newest,
            now,
        })
    }

    /// `ListParts` for the first two parts whose numbers are `number` or higher, each with its size in bytes.
    pub(crate) async fn list_parts_from(
        &self,
        upload: &MultipartUpload,
        number: u32,
    ) -> Result<Vec<(Part, u64)>, Error> {
        let mut request = Request::object("ListParts", Method::GET, &upload.key)
            .accessing(DataAccess::Upload)
            .query("uploadId", upload.known_id()?)
            .query("max-parts", "2");
        if number > 1 {
            request = request.query("part-number-marker", (number - 1).to_string());
        }
        let answer = self.page(&request, &mut TwoParts { left: MAX_TWO_PARTS }).await?;
        let mut listed = Vec::new();
        page(&answer.body, upload.algorithm, &mut listed)?;
        // Some servers ignore the marker.
        listed.retain(|listed| listed.part.number >= number);
        Ok(listed.into_iter().map(|Listed { part, size, .. }| (part, size)).collect())
    }
}

/// Maximum memory for a listing of two parts, in bytes. Twice what is requested for a response of unknown length.
const MAX_TWO_PARTS: u64 = 512 * 1024;

/// Memory for a listing that is too small to count against the budget.
struct TwoParts {
    left: u64,
}

impl Room for TwoParts {
    async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| invalid_response("a list of two parts is too large"))?;
        Ok(())
    }
}

struct Listed {
    part: Part,
    size: u64,
    written: Option<SystemTime>,
}

/// Adds a page's parts to `parts` and returns the marker of the next page. Each part needs a number, an ETag and a
/// size, because the object is assembled from them.
fn page(
    body: &str,
    algorithm: Option<ChecksumAlgorithm>,
    parts: &mut Vec<Listed>,
) -> Result<Option<u32>, Error> {
    // S3 documents the root as ListPartsResult; moto sends ListPartsResponse.
    let root = xml::root(body).filter(|root| root.starts_with("ListParts"));
    let result =
        Element::read(body, root.as_deref().unwrap_or("ListPartsResult"), "the response to ListParts")?;
    let number =
        |text: Option<u64>| text.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
    let part = |part: &Element| {
        let text = |algorithm: ChecksumAlgorithm| part.text(algorithm.element());
        let checksum = algorithm.and_then(|algorithm| Checksum::of_part(algorithm, text(algorithm)?));
        let (number, etag) = (number(part.number("PartNumber"))?, part.text("ETag")?.to_owned());
        let (size, written) = (part.number("Size")?, part.time("LastModified"));
        Some(Listed { part: Part { number, etag, checksum }, size, written })
    };
    for listed in result.all("Part") {
        parts.push(
            part(listed)
                .ok_or_else(|| invalid_response("a listed part has no number, no ETag or no size"))?,
        );
    }
    match (result.flag("IsTruncated"), number(result.number("NextPartNumberMarker"))) {
        (Some(false), _) => Ok(None),
        (Some(true), None) => Err(invalid_response("a list of parts is truncated without a marker")),
        (None, Some(next)) if parts.last().is_none_or(|last| last.part.number >= next) => Ok(None),
        (_, next) => Ok(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListPartsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId>
<PartNumberMarker>0</PartNumberMarker><NextPartNumberMarker>2</NextPartNumberMarker><MaxParts>2</MaxParts>
<IsTruncated>true</IsTruncated>
<Part><PartNumber>1</PartNumber><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;e&quot;</ETag>
<Size>5242880</Size><ChecksumCRC32C>4waSgw==</ChecksumCRC32C></Part>
<Part><PartNumber>2</PartNumber><ETag>"f"</ETag><Size>0</Size></Part></ListPartsResult>"#;

    #[test]
    fn parts_are_parsed_with_and_without_checksums() {
        let mut parts = Vec::new();
        assert_eq!(page(PAGE, Some(ChecksumAlgorithm::Crc32c), &mut parts).unwrap(), Some(2));
        let Listed { part: first, size, written } = &parts[0];
        assert_eq!((first.number, first.etag.as_str(), *size), (1, "\"e\"", 5 << 20));
        assert_eq!(hex::encode(&first.checksum.as_ref().unwrap().value), "e3069283");
        assert_eq!(
            humantime::format_rfc3339_millis(written.unwrap()).to_string(),
            "2026-01-02T03:04:05.678Z"
        );
        let Listed { part: second, size, written } = &parts[1];
        assert_eq!((second.number, second.checksum.as_ref(), *size, *written), (2, None, 0, None));
    }

    #[test]
    fn a_response_that_is_not_a_list_of_parts_is_rejected() {
        let without = |old: &str| PAGE.replace(old, "");
        let pages = [
            "<html/>".to_owned(),
            String::new(),
            PAGE.replace("NextPartNumberMarker", "Other"),
            without("<Size>5242880</Size>"),
            without("<ETag>\"f\"</ETag>"),
            without("<PartNumber>1</PartNumber>"),
            PAGE.replace("<PartNumber>1<", "<PartNumber>0<"),
        ];
        for body in pages {
            assert!(page(&body, None, &mut Vec::new()).is_err(), "{body}");
        }
    }
}
