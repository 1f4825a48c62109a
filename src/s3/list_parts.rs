//! `ListParts`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use std::time::SystemTime;

use http::Method;
use tokio::time::Instant;

use super::{
    Checksum, ChecksumAlgorithm, Client, Error,
    failure::server_clock,
    headers::not_s3,
    multipart::{MultipartUpload, Part},
    page::Room,
    request::Request,
    xml::{self, Element},
};

/// The most parts of an upload (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PARTS: u32 = 10_000;

/// The parts that S3 has of an upload.
#[derive(Debug, Default)]
pub(crate) struct ListedParts {
    /// In the order of their numbers, each with its size in bytes.
    pub(crate) parts: Vec<(Part, u64)>,
    /// When the newest was written; `None` without parts, or if S3 does not give the time of each.
    pub(crate) newest: Option<SystemTime>,
    /// What the server's clock said when it listed them; `None` where it did not say, or nothing plausible.
    pub(crate) now: Option<SystemTime>,
}

impl Client {
    /// `ListParts`, every page.
    pub(crate) async fn list_parts(
        &self,
        upload: &MultipartUpload,
        deadline: Option<Instant>,
        room: &mut impl Room,
    ) -> Result<ListedParts, Error> {
        let mut listed = Vec::new();
        let (mut marker, mut now) = (0, None);
        loop {
            let mut request = Request::object("ListParts", Method::GET, &upload.key)
                .query("uploadId", upload.known_id()?)
                .query("max-parts", "1000");
            if marker > 0 {
                request = request.query("part-number-marker", marker.to_string());
            }
            let answer = self.page(&request, deadline, room).await?;
            now = now.max(server_clock(&answer.headers));
            let next = page(&answer.body, upload.algorithm, &mut listed)?;
            if listed.len() > MAX_PARTS as usize {
                return Err(not_s3("an upload has more than 10,000 parts"));
            }
            match next {
                None => break,
                // Numbers end at 10,000, and so do pages that bring none.
                Some(next) if next > marker && next <= MAX_PARTS => marker = next,
                Some(_) => return Err(not_s3("a listing of parts goes round in a circle")),
            }
        }
        listed.sort_by_key(|listed| listed.part.number);
        if listed.windows(2).any(|pair| matches!(pair, [one, other] if one.part.number == other.part.number))
        {
            return Err(not_s3("a listing of parts has one part more than once"));
        }
        let times: Option<Vec<_>> = listed.iter().map(|listed| listed.written).collect();
        let newest = times.and_then(|times| times.into_iter().max());
        Ok(ListedParts {
            parts: listed.into_iter().map(|Listed { part, size, .. }| (part, size)).collect(),
            newest,
            now,
        })
    }

    /// `ListParts`, the first two of the parts from `number` on, if S3 has any, each with its size in bytes.
    pub(crate) async fn list_parts_from(
        &self,
        upload: &MultipartUpload,
        number: u32,
        deadline: Option<Instant>,
    ) -> Result<Vec<(Part, u64)>, Error> {
        let mut request = Request::object("ListParts", Method::GET, &upload.key)
            .query("uploadId", upload.known_id()?)
            .query("max-parts", "2");
        if number > 1 {
            request = request.query("part-number-marker", (number - 1).to_string());
        }
        let answer = self.page(&request, deadline, &mut TwoParts { left: MAX_TWO_PARTS }).await?;
        let mut listed = Vec::new();
        page(&answer.body, upload.algorithm, &mut listed)?;
        // Some servers begin before the marker.
        listed.retain(|listed| listed.part.number >= number);
        Ok(listed.into_iter().map(|Listed { part, size, .. }| (part, size)).collect())
    }
}

/// The most memory asked for a listing of two parts, in bytes: what is asked for where the server does not say its length.
const MAX_TWO_PARTS: u64 = 512 * 1024;

/// Room for a listing that is too small to count.
struct TwoParts {
    left: u64,
}

impl Room for TwoParts {
    async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        self.left =
            self.left.checked_sub(bytes).ok_or_else(|| not_s3("a listing of two parts is far too large"))?;
        Ok(())
    }
}

struct Listed {
    part: Part,
    size: u64,
    written: Option<SystemTime>,
}

/// Adds a page's parts; gives where the next page begins. Each part needs a number, an ETag and a size: an object is made of them.
fn page(
    body: &str,
    algorithm: Option<ChecksumAlgorithm>,
    parts: &mut Vec<Listed>,
) -> Result<Option<u32>, Error> {
    // S3's documents say ListPartsResult; moto says ListPartsResponse.
    let root = xml::root(body).filter(|root| root.starts_with("ListParts"));
    let result = Element::read(body, root.as_deref().unwrap_or("ListPartsResult"), "a listing of parts")?;
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
        parts.push(part(listed).ok_or_else(|| not_s3("a listed part without a number, an ETag or a size"))?);
    }
    match (result.flag("IsTruncated"), number(result.number("NextPartNumberMarker"))) {
        (Some(false), _) => Ok(None),
        (Some(true), None) => Err(not_s3("a listing of parts goes on without saying where")),
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
    fn parts_are_read_with_the_checksums_that_there_are() {
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
    fn an_answer_that_is_no_listing_of_parts_is_told() {
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
