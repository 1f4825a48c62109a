//! The parser of the `ListObjectsV2` document. It reads element by element, because with serde, parsing takes half of
//! a walk's time.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html#API_ListObjectsV2_ResponseSyntax>

use std::mem::take;

use quick_xml::{Reader, events::Event};

use super::{
    Error,
    error::invalid_response,
    xml::{self, UNREADABLE},
};

/// A page as it is in the document. Keys may be URL-encoded.
#[derive(Debug, Default)]
pub(super) struct ListPage {
    pub(super) encoding_type: String,
    pub(super) is_truncated: Option<bool>,
    pub(super) next_continuation_token: String,
    pub(super) contents: Vec<Contents>,
    pub(super) common_prefixes: Vec<String>,
}

/// An object on a page. Missing and unreadable elements are empty.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) key: String,
    pub(super) last_modified: String,
    pub(super) etag: String,
    pub(super) size: Option<u64>,
    pub(super) storage_class: String,
}

/// The kind of element that the reader is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Page,
    Contents,
    CommonPrefixes,
    /// An element that is skipped with its contents.
    Other,
}

/// Parses a page. Missing and unreadable elements are empty.
pub(super) fn read(body: &str) -> Result<ListPage, Error> {
    let mut reader = Reader::from_str(body);
    reader.config_mut().expand_empty_elements = true;
    let (mut page, mut text, mut begun) = (ListPage::default(), String::new(), false);
    // The open elements, outermost first.
    let mut places = Vec::new();
    loop {
        match reader.read_event().map_err(|error| unreadable(&error.to_string()))? {
            Event::Start(element) => {
                text.clear();
                let place = page.enter(places.last().copied(), element.local_name().as_ref());
                places.push(place?);
                begun = true;
            }
            Event::End(element) => {
                places.pop();
                if text.contains(UNREADABLE) {
                    text.clear();
                }
                page.leave(places.last().copied(), element.local_name().as_ref(), &mut text);
            }
            Event::Eof if begun && places.is_empty() => return Ok(page),
            Event::Eof => return Err(unreadable("unexpected end of document")),
            event => text.push_str(&xml::text_of(&event).unwrap_or_default()),
        }
    }
}

impl ListPage {
    fn enter(&mut self, place: Option<Place>, name: &str) -> Result<Place, Error> {
        Ok(match (place, name) {
            (None, "ListBucketResult") => Place::Page,
            (None, _) => {
                return Err(invalid_response("the response to ListObjectsV2 is not a ListBucketResult"));
            }
            (Some(Place::Page), "Contents") => {
                self.contents.push(Contents::default());
                Place::Contents
            }
            (Some(Place::Page), "CommonPrefixes") => Place::CommonPrefixes,
            _ => Place::Other,
        })
    }

    /// Stores the text of an element that ends inside `place`.
    fn leave(&mut self, place: Option<Place>, name: &str, text: &mut String) {
        match (place, self.contents.last_mut()) {
            (Some(Place::Page), _) => match name {
                "EncodingType" => self.encoding_type = take(text),
                "IsTruncated" => self.is_truncated = xml::flag(text),
                "NextContinuationToken" => self.next_continuation_token = take(text),
                _ => {}
            },
            (Some(Place::Contents), Some(contents)) => match name {
                "Key" => contents.key = take(text),
                "LastModified" => contents.last_modified = take(text),
                "ETag" => contents.etag = take(text),
                "Size" => contents.size = text.trim().parse().ok(),
                "StorageClass" => contents.storage_class = take(text),
                _ => {}
            },
            (Some(Place::CommonPrefixes), _) if name == "Prefix" => self.common_prefixes.push(take(text)),
            _ => {}
        }
    }
}

fn unreadable(why: &str) -> Error {
    invalid_response(&format!("the response to ListObjectsV2 cannot be parsed: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::escape::escape;

    use super::*;

    #[test]
    fn elements_are_only_read_in_their_own_place() {
        let page = read(
            "<?xml version='1.0'?>\n<s:ListBucketResult xmlns:s='x'> <s:Contents><s:Owner><s:Key>owner</s:Key></s:Owner>\
             <s:Key><![CDATA[<Key>]]>&#65;</s:Key><s:Size> 7 </s:Size><s:StorageClass/></s:Contents>\
             <s:Name><s:EncodingType>url</s:EncodingType></s:Name><s:IsTruncated>1</s:IsTruncated></s:ListBucketResult>",
        )
        .unwrap();
        assert_eq!((page.contents[0].key.as_str(), page.contents[0].size), ("<Key>A", Some(7)));
        assert_eq!((page.encoding_type.as_str(), page.is_truncated), ("", Some(true)));
    }

    #[test]
    fn an_empty_page_is_valid() {
        assert!(read("<ListBucketResult/>").unwrap().contents.is_empty());
    }

    #[test]
    fn other_documents_are_rejected() {
        for body in [
            "",
            "<Error><Code>SlowDown</Code></Error>",
            "<ListBucketResult>",
            "<ListBucketResult></Contents>",
        ] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    #[test]
    fn an_unreadable_element_does_not_affect_the_rest_of_the_page() {
        for (key, size) in [("k&unknown;", "1"), ("k&#0;", "1"), ("k&#xD800;", "1"), ("k\u{ffff}", "1")] {
            let body = format!(
                "<ListBucketResult><Contents><Key>{key}</Key><Size>{size}</Size></Contents><Contents><Key>z</Key></Contents></ListBucketResult>"
            );
            let page = read(&body).unwrap();
            let keys: Vec<_> = page.contents.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(keys, ["", "z"], "{key}");
        }
        for size in ["", "-1", "many", "99999999999999999999"] {
            let body = format!(
                "<ListBucketResult><Contents><Key>k</Key><Size>{size}</Size></Contents></ListBucketResult>"
            );
            assert_eq!(read(&body).unwrap().contents[0].size, None, "{size}");
        }
    }

    proptest! {
        #[test]
        fn keys_that_xml_can_carry_round_trip(keys in proptest::collection::vec("[ -~äß🚢]{0,20}", 0..5)) {
            let entries: Vec<_> =
                keys.iter().map(|key| format!("<Contents>\n<Key>{}</Key></Contents>", escape(key))).collect();
            let page = read(&format!("<ListBucketResult>{}</ListBucketResult>", entries.concat())).unwrap();
            let found: Vec<_> = page.contents.into_iter().map(|contents| contents.key).collect();
            prop_assert_eq!(found, keys);
        }
    }
}
