//! `ListObjectsV2`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>

use std::time::SystemTime;

use http::Method;

use super::{
    Client, Error, ObjectMeta, Properties, encode,
    error::invalid_response,
    list_page::{self, Contents},
    page::Room,
    request::Request,
};

/// Maximum length of a continuation token in bytes. S3's tokens have about a hundred characters.
const MAX_TOKEN: usize = 8 * 1024;

/// The parameters of a listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListQuery<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    pub(crate) start_after: &'a str,
    pub(crate) max_keys: u16,
    pub(crate) continuation: Option<&'a Continuation>,
}

/// The start of the next page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Continuation {
    /// S3's token.
    Token(String),
    /// After this full key. The server sent more entries than requested, and the rest were dropped.
    After(String),
}

/// A page as S3 returns it, with full keys.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) objects: Vec<ObjectMeta>,
    pub(crate) common_prefixes: Vec<String>,
    /// The number of entries skipped because their key is unreadable or their size is missing.
    pub(crate) unreadable: usize,
    /// For each of these that is an object, how many of the objects precede it.
    pub(crate) unreadable_at: Vec<usize>,
    pub(crate) continuation: Option<Continuation>,
}

impl Client {
    /// `ListObjectsV2`: one page of at most `max_keys` entries. Requests URL-encoded keys, because XML cannot carry
    /// every key.
    pub(crate) async fn list_objects(
        &self,
        listing: ListQuery<'_>,
        room: &mut impl Room,
    ) -> Result<Listed, Error> {
        let mut request = Request::bucket("ListObjectsV2", Method::GET)
            .query("list-type", "2")
            .query("encoding-type", "url")
            .query("max-keys", listing.max_keys.to_string());
        let (token, start_after) = match listing.continuation {
            None => ("", listing.start_after),
            // S3 ignores start-after if there is a token, so every page sends the same start-after.
            Some(Continuation::Token(token)) => (token.as_str(), listing.start_after),
            Some(Continuation::After(key)) => ("", key.as_str()),
        };
        let optional = [
            ("prefix", listing.prefix),
            ("delimiter", listing.delimiter),
            ("start-after", start_after),
            ("continuation-token", token),
        ];
        for (name, value) in optional {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        let answer = self.page(&request, room).await?;
        page(&answer.body, usize::from(listing.max_keys))
    }
}

pub(super) fn page(body: &str, max_keys: usize) -> Result<Listed, Error> {
    let page = list_page::read(body)?;
    let encoded = page.encoding_type == "url";
    let name = |text: String| {
        let decoded = if encoded { encode::decode_listed(text).ok()? } else { text };
        Some(decoded).filter(|name| !name.is_empty())
    };
    let said = |text: String| Some(text).filter(|text| !text.is_empty());
    let object = |entry: Contents| {
        let properties = Properties {
            last_modified: entry.last_modified.trim().parse::<jiff::Timestamp>().ok().map(SystemTime::from),
            etag: said(entry.etag),
            storage_class: said(entry.storage_class),
            ..Properties::default()
        };
        Some(ObjectMeta { key: name(entry.key)?, size: entry.size?, properties })
    };
    let entries = page.contents.len() + page.common_prefixes.len();
    let (mut objects, mut unreadable_at) = (Vec::with_capacity(page.contents.len()), Vec::new());
    for entry in page.contents {
        match object(entry) {
            Some(object) => objects.push(object),
            None => unreadable_at.push(objects.len()),
        }
    }
    let common_prefixes: Vec<_> = page.common_prefixes.into_iter().filter_map(name).collect();
    let unreadable = entries - objects.len() - common_prefixes.len();
    let continuation = next(page.is_truncated, page.next_continuation_token)?.map(Continuation::Token);
    let mut listed = Listed { objects, common_prefixes, unreadable, unreadable_at, continuation };
    listed.cut(max_keys);
    Ok(listed)
}

/// The token of the next page. A response with a token but without `IsTruncated` may have more pages.
fn next(is_truncated: Option<bool>, token: String) -> Result<Option<String>, Error> {
    match (is_truncated, token) {
        (Some(false), _) => Ok(None),
        (_, token) if token.len() > MAX_TOKEN => {
            Err(invalid_response("a listing's continuation token is too long"))
        }
        (_, token) if !token.is_empty() => Ok(Some(token)),
        (Some(true), _) => Err(invalid_response("a listing is truncated without a continuation token")),
        (None, _) => Ok(None),
    }
}

impl Listed {
    /// Drops the entries beyond `max_keys`. The next page starts after the last entry kept.
    fn cut(&mut self, max_keys: usize) {
        if self.objects.len() + self.common_prefixes.len() <= max_keys {
            return;
        }
        // A common prefix represents all keys below it, so the next page starts after the last of them.
        let beyond = |prefix: &String| format!("{prefix}{}", char::MAX);
        let ends = self.objects.iter().map(|object| object.key.clone());
        let mut ends: Vec<_> = ends.chain(self.common_prefixes.iter().map(beyond)).collect();
        ends.sort_unstable();
        let Some(last) = max_keys.checked_sub(1).and_then(|last| ends.into_iter().nth(last)) else { return };
        self.objects.retain(|object| object.key <= last);
        self.common_prefixes.retain(|prefix| beyond(prefix) <= last);
        self.continuation = Some(Continuation::After(last));
    }
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
    fn a_page_with_encoded_keys_is_parsed() {
        let page = page(PAGE, 1000).unwrap();
        assert_eq!(page.objects[0].key, "a b+c\r\u{1}");
        let first = &page.objects[0].properties;
        assert_eq!((page.objects[0].size, first.etag.as_deref()), (5, Some("\"e\"")));
        let seconds = first.last_modified.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(seconds.as_millis(), 1_767_323_045_678);
        assert_eq!(page.objects[1].key, "SlowDown.txt");
        assert_eq!(page.common_prefixes, ["d/"]);
        assert_eq!(page.continuation, Some(Continuation::Token("t/1=".to_owned())));
    }

    #[test]
    fn keys_are_not_decoded_if_the_server_does_not_encode_them() {
        let plain = PAGE.replace("<EncodingType>url</EncodingType>", "").replace("a+b%2Bc%0D%01", " a+b%2B ");
        assert_eq!(page(&plain, 1000).unwrap().objects[0].key, " a+b%2B ");
    }

    #[test]
    fn unreadable_entries_are_skipped_and_counted() {
        let without = |old: &str, new: &str| page(&PAGE.replace(old, new), 1000).unwrap();
        for (old, new) in [
            ("a+b%2Bc%0D%01", "k%FF"),
            ("a+b%2Bc%0D%01", ""),
            ("<Size>5</Size>", "<Size/>"),
            ("<Size>5</Size>", ""),
        ] {
            let page = without(old, new);
            assert_eq!((page.unreadable, page.objects.len(), page.common_prefixes.len()), (1, 1, 1), "{new}");
            assert_eq!(page.objects[0].key, "SlowDown.txt");
            assert_eq!(page.unreadable_at, [0]);
        }
        assert_eq!(without("d%2F", "%FF").unreadable, 1);
    }

    #[test]
    fn a_listing_with_a_token_continues_unless_is_truncated_is_false() {
        let truncated = |text: &str| {
            let page = PAGE.replace("<IsTruncated>true</IsTruncated>", text);
            super::page(&page, 1000).unwrap().continuation.is_some()
        };
        assert!(truncated("") && truncated("<IsTruncated>True</IsTruncated>"));
        assert!(!truncated("<IsTruncated>false</IsTruncated>"));
        assert!(page(&PAGE.replace("t/1=", &"t".repeat(10_000)), 1000).is_err());
    }

    #[test]
    fn a_response_that_is_not_a_listing_is_rejected() {
        assert!(page("<html/>", 1000).is_err());
        assert!(page("", 1000).is_err());
        assert!(page(&PAGE.replace("t/1=", ""), 1000).is_err());
    }

    #[test]
    fn an_oversized_page_is_truncated_and_the_next_page_has_the_rest() {
        let after = |key: &str| Some(Continuation::After(key.to_owned()));
        let keys =
            |listed: &Listed| -> Vec<_> { listed.objects.iter().map(|object| object.key.clone()).collect() };
        let one = page(PAGE, 1).unwrap();
        assert_eq!((keys(&one), one.common_prefixes.len()), (vec!["SlowDown.txt".to_owned()], 0));
        assert_eq!(
            one.continuation,
            after("SlowDown.txt"),
            "in key order, regardless of the order on the page"
        );
        let two = page(PAGE, 2).unwrap();
        assert_eq!((two.objects.len(), two.common_prefixes.len()), (2, 0));
        assert_eq!(two.continuation, after("a b+c\r\u{1}"));
        let three = page(PAGE, 3).unwrap();
        assert_eq!((three.objects.len(), three.common_prefixes.len()), (2, 1));
        assert_eq!(three.continuation, Some(Continuation::Token("t/1=".to_owned())));
        let plain = PAGE.replace("a+b%2Bc%0D%01", "zz");
        assert_eq!(page(&plain, 2).unwrap().continuation, after("d/\u{10ffff}"));
    }
}
