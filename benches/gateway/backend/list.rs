//! ListObjectsV2 over generated keys. The cost of a page depends on its entries, not on the number of keys.

use std::{borrow::Cow, fmt::Write as _};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::answer::{self, Answer};
use crate::keys::Keys;

/// The largest page size, as in S3.
const MOST: u64 = 1000;

/// The decoded parameters of a request.
#[derive(Debug)]
struct Query<'a> {
    prefix: Cow<'a, str>,
    delimiter: Cow<'a, str>,
    start_after: Cow<'a, str>,
    /// The index of the next key. With it, `start_after` is ignored, as in S3.
    token: Option<u64>,
    max_keys: u64,
    encoded: bool,
}

/// The entries of a page.
#[derive(Debug)]
struct Entries {
    contents: String,
    common_prefixes: String,
    count: u64,
    /// The index of the first key after the page. `None`: this is the last page.
    next: Option<u64>,
}

/// Returns a page.
pub(super) fn page(keys: Keys, bucket: &str, query: &str) -> Answer {
    let Some(query) = Query::parse(query) else { return answer::invalid("The token is not valid.") };
    let entries = query.entries(keys);
    let mut text = String::with_capacity(entries.contents.len() + entries.common_prefixes.len() + 1024);
    text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    // Writing to a String does not fail.
    let _ = write!(text, "<Name>{bucket}</Name><Prefix>{}</Prefix>", query.echoed(&query.prefix));
    for (name, value) in [("Delimiter", &query.delimiter), ("StartAfter", &query.start_after)] {
        if !value.is_empty() {
            let _ = write!(text, "<{name}>{}</{name}>", query.echoed(value));
        }
    }
    let _ = write!(text, "<KeyCount>{}</KeyCount><MaxKeys>{}</MaxKeys>", entries.count, query.max_keys);
    let _ = write!(text, "<IsTruncated>{}</IsTruncated>", entries.next.is_some());
    if query.encoded {
        text.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(next) = entries.next {
        let _ = write!(text, "<NextContinuationToken>{next}</NextContinuationToken>");
    }
    text.push_str(&entries.contents);
    text.push_str(&entries.common_prefixes);
    text.push_str("</ListBucketResult>");
    answer::xml(text)
}

impl<'a> Query<'a> {
    /// Returns `None` if the continuation token is not one of the backend's.
    fn parse(query: &'a str) -> Option<Self> {
        let raw = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).map_or("", |(_, value)| value)
        };
        let text = |name: &str| percent_decode_str(raw(name)).decode_utf8_lossy();
        let token = text("continuation-token");
        Some(Self {
            prefix: text("prefix"),
            delimiter: text("delimiter"),
            start_after: text("start-after"),
            token: if token.is_empty() { None } else { Some(token.parse().ok()?) },
            max_keys: text("max-keys").parse().unwrap_or(MOST).min(MOST),
            encoded: !raw("encoding-type").is_empty(),
        })
    }

    fn entries(&self, keys: Keys) -> Entries {
        let prefix = self.prefix.as_ref();
        let end = keys.first(|key| key < prefix || key.starts_with(prefix));
        let mut at = self.start(keys);
        let capacity = if self.delimiter.is_empty() { 512 * 1024 } else { 0 };
        let (mut contents, mut common_prefixes) = (String::with_capacity(capacity), String::new());
        let mut count = 0;
        while at < end && count < self.max_keys {
            count += 1;
            let key = if self.delimiter.is_empty() { String::new() } else { keys.key(at) };
            if let Some(common) = self.common_prefix(&key) {
                // Writing to a String does not fail.
                let _ = write!(common_prefixes, "<CommonPrefixes><Prefix>{common}</Prefix></CommonPrefixes>");
                at = keys.first(|key| key < common || key.starts_with(common));
            } else {
                object(keys, at, &mut contents);
                at += 1;
            }
        }
        let next = (at < end && self.max_keys > 0).then_some(at);
        Entries { contents, common_prefixes, count, next }
    }

    /// The index of the first key that can be in the page.
    fn start(&self, keys: Keys) -> u64 {
        let (prefix, after) = (self.prefix.as_ref(), self.start_after.as_ref());
        let start = match self.token {
            Some(token) => token,
            None if after.is_empty() => 0,
            // After a common prefix come the keys that are not below it.
            None if self.common_prefix(after) == Some(after) => {
                keys.first(|key| key <= after || key.starts_with(after))
            }
            None => keys.first(|key| key <= after),
        };
        start.max(keys.first(|key| key < prefix))
    }

    /// The part of a key up to the first delimiter after the prefix.
    fn common_prefix<'key>(&self, key: &'key str) -> Option<&'key str> {
        let rest = key.strip_prefix(self.prefix.as_ref()).filter(|_| !self.delimiter.is_empty())?;
        let end = self.prefix.len() + rest.find(self.delimiter.as_ref())? + self.delimiter.len();
        key.get(..end)
    }

    /// A parameter as it appears in the response.
    fn echoed(&self, value: &str) -> String {
        if self.encoded {
            return utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        }
        value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
    }
}

/// Appends the entry of a key. No key has characters that need to be encoded.
fn object(keys: Keys, index: u64, text: &mut String) {
    text.push_str("<Contents><Key>");
    keys.write(index, text);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "</Key><LastModified>2026-11-24T10:00:00.000Z</LastModified><ETag>&quot;{index:032x}&quot;</ETag>\
         <ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>\
         <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
        index * 37
    );
}
