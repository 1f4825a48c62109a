//! `ListObjectsV2`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use std::time::SystemTime;

use http::Method;
use tokio::time::Instant;

use super::{
    Client, Error, ObjectMeta, encode,
    headers::not_s3,
    list_page::{self, Contents},
    request::Request,
};

/// What to list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    pub(crate) start_after: &'a str,
    pub(crate) max_keys: u16,
    pub(crate) continuation: Option<&'a str>,
}

/// A page as S3 gives it, with whole keys.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) objects: Vec<ObjectMeta>,
    pub(crate) common_prefixes: Vec<String>,
    pub(crate) continuation: Option<String>,
}

impl Client {
    /// `ListObjectsV2`, one page. Keys are asked for URL-encoded, since XML cannot carry every key.
    pub(crate) async fn list_objects(
        &self,
        listing: Listing<'_>,
        deadline: Option<Instant>,
    ) -> Result<Listed, Error> {
        let mut request = Request::bucket("ListObjectsV2", Method::GET)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", listing.max_keys.to_string());
        let optional = [
            ("prefix", listing.prefix),
            ("delimiter", listing.delimiter),
            ("start-after", listing.start_after),
        ];
        for (name, value) in optional {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        if let Some(token) = listing.continuation {
            request = request.query("continuation-token", token);
        }
        let answer = self.document(&request, deadline).await?;
        page(&answer.body)
    }
}

pub(super) fn page(body: &str) -> Result<Listed, Error> {
    let page = list_page::read(body)?;
    let encoded = page.encoding_type == "url";
    let name = |text: String| {
        if encoded {
            encode::decode_listed(text).map_err(|_| not_s3("a listed key is not UTF-8"))
        } else {
            Ok(text)
        }
    };
    let object = |entry: Contents| {
        Ok(ObjectMeta {
            key: name(entry.key)?,
            size: entry.size,
            last_modified: entry.last_modified.parse::<jiff::Timestamp>().ok().map(SystemTime::from),
            etag: entry.etag,
            storage_class: entry.storage_class,
            ..ObjectMeta::default()
        })
    };
    let continuation = Some(page.next_continuation_token).filter(|token| !token.is_empty());
    if page.is_truncated && continuation.is_none() {
        return Err(not_s3("a listing goes on without saying where"));
    }
    Ok(Listed {
        objects: page.contents.into_iter().map(object).collect::<Result<_, Error>>()?,
        common_prefixes: page.common_prefixes.into_iter().map(name).collect::<Result<_, _>>()?,
        continuation: continuation.filter(|_| page.is_truncated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix></Prefix>
<EncodingType>url</EncodingType><KeyCount>2</KeyCount><MaxKeys>2</MaxKeys><IsTruncated>true</IsTruncated>
<NextContinuationToken>t/1=</NextContinuationToken>
<Contents><Key>a+b%2Bc%0D%01</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified>
<ETag>&quot;e&quot;</ETag><ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>SlowDown.txt</Key><LastModified>2026-01-02T03:04:05Z</LastModified><ETag>"f"</ETag><Size>0</Size></Contents>
<CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes></ListBucketResult>"#;

    #[test]
    fn a_page_is_read_with_its_odd_keys() {
        let page = page(PAGE).unwrap();
        assert_eq!(page.objects[0].key, "a b+c\r\u{1}");
        assert_eq!((page.objects[0].size, page.objects[0].etag.as_str()), (5, "\"e\""));
        let seconds = page.objects[0].last_modified.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(seconds.as_millis(), 1_767_323_045_678);
        assert_eq!(page.objects[1].key, "SlowDown.txt");
        assert_eq!(page.common_prefixes, ["d/"]);
        assert_eq!(page.continuation.as_deref(), Some("t/1="));
    }

    #[test]
    fn keys_are_taken_as_they_are_where_the_server_does_not_encode() {
        let plain = PAGE.replace("<EncodingType>url</EncodingType>", "").replace("a+b%2Bc%0D%01", " a+b%2B ");
        assert_eq!(page(&plain).unwrap().objects[0].key, " a+b%2B ");
    }

    #[test]
    fn an_answer_that_is_no_listing_is_told() {
        assert!(page("<html/>").is_err());
        assert!(page("").is_err());
        assert!(page(&PAGE.replace("t/1=", "")).is_err());
    }
}
