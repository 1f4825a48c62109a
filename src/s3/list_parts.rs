//! `ListParts`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>

use http::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Checksum, ChecksumAlgorithm, Client, Error,
    headers::not_s3,
    multipart::{MultipartUpload, Part},
    page::Room,
    request::Request,
    xml,
};

/// The most parts of an upload (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PARTS: usize = 10_000;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ListPartsResult {
    is_truncated: bool,
    next_part_number_marker: Option<u32>,
    part: Vec<ListedPart>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ListedPart {
    part_number: u32,
    #[serde(rename = "ETag")]
    etag: String,
    size: u64,
    #[serde(rename = "ChecksumCRC32")]
    crc32: Option<String>,
    #[serde(rename = "ChecksumCRC32C")]
    crc32c: Option<String>,
    #[serde(rename = "ChecksumCRC64NVME")]
    crc64nvme: Option<String>,
    #[serde(rename = "ChecksumSHA1")]
    sha1: Option<String>,
    #[serde(rename = "ChecksumSHA256")]
    sha256: Option<String>,
}

impl ListedPart {
    fn checksum(&self, algorithm: ChecksumAlgorithm) -> Option<Checksum> {
        let text = match algorithm {
            ChecksumAlgorithm::Crc32 => &self.crc32,
            ChecksumAlgorithm::Crc32c => &self.crc32c,
            ChecksumAlgorithm::Crc64Nvme => &self.crc64nvme,
            ChecksumAlgorithm::Sha1 => &self.sha1,
            ChecksumAlgorithm::Sha256 => &self.sha256,
        };
        Checksum::of_part(algorithm, text.as_deref()?)
    }
}

impl Client {
    /// `ListParts`, every page: the parts that S3 has, by number, each with its size in bytes.
    pub(crate) async fn list_parts(
        &self,
        upload: &MultipartUpload,
        deadline: Option<Instant>,
        room: &mut impl Room,
    ) -> Result<Vec<(Part, u64)>, Error> {
        let mut parts = Vec::new();
        let mut marker = 0;
        loop {
            let mut request = Request::object("ListParts", Method::GET, &upload.key)
                .query("uploadId", upload.id.as_str())
                .query("max-parts", "1000");
            if marker > 0 {
                request = request.query("part-number-marker", marker.to_string());
            }
            let answer = self.page(&request, deadline, room).await?;
            let next = page(&answer.body, upload.algorithm, &mut parts)?;
            if parts.len() > MAX_PARTS {
                return Err(not_s3("an upload has more than 10,000 parts"));
            }
            match next {
                None => break,
                Some(next) if next > marker => marker = next,
                Some(_) => return Err(not_s3("a listing of parts goes round in a circle")),
            }
        }
        parts.sort_by_key(|(part, _)| part.number);
        Ok(parts)
    }
}

/// Adds a page's parts; gives where the next page begins.
fn page(
    body: &str,
    algorithm: Option<ChecksumAlgorithm>,
    parts: &mut Vec<(Part, u64)>,
) -> Result<Option<u32>, Error> {
    // S3's documents say ListPartsResult; moto says ListPartsResponse.
    if !xml::root(body).is_some_and(|root| root.starts_with("ListParts")) {
        return Err(not_s3("a listing of parts is no ListPartsResult"));
    }
    let result: ListPartsResult = xml::read(body, "a listing of parts")?;
    parts.extend(result.part.into_iter().map(|part| {
        let checksum = algorithm.and_then(|algorithm| part.checksum(algorithm));
        (Part { number: part.part_number, etag: part.etag, checksum }, part.size)
    }));
    match (result.is_truncated, result.next_part_number_marker) {
        (false, _) => Ok(None),
        (true, Some(next)) => Ok(Some(next)),
        (true, None) => Err(not_s3("a listing of parts goes on without saying where")),
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
        let (first, size) = &parts[0];
        assert_eq!((first.number, first.etag.as_str(), *size), (1, "\"e\"", 5 << 20));
        assert_eq!(hex::encode(&first.checksum.as_ref().unwrap().value), "e3069283");
        let (second, size) = &parts[1];
        assert_eq!((second.number, second.checksum.as_ref(), *size), (2, None, 0));
    }

    #[test]
    fn an_answer_that_is_no_listing_of_parts_is_told() {
        let pages = ["<html/>".to_owned(), String::new(), PAGE.replace("NextPartNumberMarker", "Other")];
        for body in pages {
            assert!(page(&body, None, &mut Vec::new()).is_err(), "{body}");
        }
    }
}
