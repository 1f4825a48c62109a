//! ListObjectsV2 over generated keys.

use std::fmt::Write as _;

use super::answer::{self, Answer};

/// The largest page size, as in S3.
const MOST: u64 = 1000;

/// Returns a page. The continuation token is the number of the next key.
pub(super) fn page(keys: u64, bucket: &str, query: &str) -> Answer {
    let value = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name))
            .map(|pair| pair.1)
    };
    let number = |name: &str| value(name).and_then(|text| text.parse::<u64>().ok());
    let first = number("continuation-token").unwrap_or(0);
    let end = keys.min(first + number("max-keys").unwrap_or(MOST).min(MOST));
    let mut text = String::with_capacity(512 * 1024);
    text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    // Writing to a String does not fail.
    let _ = write!(text, "<Name>{bucket}</Name><Prefix></Prefix><KeyCount>{}</KeyCount>", end - first);
    let _ = write!(text, "<MaxKeys>{MOST}</MaxKeys><IsTruncated>{}</IsTruncated>", end < keys);
    if value("encoding-type").is_some() {
        text.push_str("<EncodingType>url</EncodingType>");
    }
    if end < keys {
        let _ = write!(text, "<NextContinuationToken>{end}</NextContinuationToken>");
    }
    for key in first..end {
        let _ = write!(
            text,
            "<Contents><Key>data/2026/11/part-{key:09}.parquet</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified>\
             <ETag>&quot;{key:032x}&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm>\
             <ChecksumType>FULL_OBJECT</ChecksumType><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            key * 37
        );
    }
    text.push_str("</ListBucketResult>");
    answer::xml(text)
}
