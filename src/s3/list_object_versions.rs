//! `ListObjectVersions`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>

use std::{
    cmp::{Ordering, Reverse},
    time::SystemTime,
};

use http::Method;

use super::{
    Client, Error, ObjectMeta, Properties, encode, error::invalid_response, page::Room, request::Request,
    xml::Element,
};

/// The parameters of a listing of versions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VersionsQuery<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: &'a str,
    /// Lists only versions of keys after this one, on every page. Empty: from the start.
    pub(crate) start_after: &'a str,
    /// The start of the page. `None` on the first page.
    pub(crate) after: Option<&'a VersionMarker>,
    pub(crate) max_keys: u16,
}

/// The start of a page of versions: after this version of this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VersionMarker {
    /// The full key, or a common prefix.
    pub(crate) key: String,
    /// Empty: after all versions of the key.
    pub(crate) version: String,
}

/// A version of an object, or a delete marker.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectVersion {
    /// The version. A delete marker has no size and no ETag.
    pub meta: ObjectMeta,
    /// Whether it is the key's current version.
    pub is_latest: bool,
    /// Whether it is a delete marker.
    pub delete_marker: bool,
}

/// A page of versions as S3 returns it, with full keys.
#[derive(Debug, Default)]
pub(crate) struct VersionsListed {
    /// In S3's order: by key, and the newest version of a key first.
    pub(crate) versions: Vec<ObjectVersion>,
    pub(crate) common_prefixes: Vec<String>,
    /// The number of entries skipped because their key is unreadable or their version id or size is missing.
    pub(crate) unreadable: usize,
    /// The start of the next page. `None` on the last page.
    pub(crate) next: Option<VersionMarker>,
}

impl Client {
    /// `ListObjectVersions`: one page of at most `max_keys` entries. Requests URL-encoded keys, because XML cannot carry
    /// every key.
    pub(crate) async fn list_object_versions(
        &self,
        listing: VersionsQuery<'_>,
        room: &mut impl Room,
    ) -> Result<VersionsListed, Error> {
        let mut request = Request::bucket("ListObjectVersions", Method::GET)
            .query("versions", "")
            .query("encoding-type", "url")
            .query("max-keys", listing.max_keys.to_string());
        let (key, version) =
            listing.after.map_or((listing.start_after, ""), |after| (&after.key, &after.version));
        let optional = [
            ("prefix", listing.prefix),
            ("delimiter", listing.delimiter),
            ("key-marker", key),
            ("version-id-marker", version),
        ];
        for (name, value) in optional {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        let answer = self.page(&request, room).await?;
        page(&answer.body, listing)
    }
}

/// An entry of a page, in the order of the keys.
enum Entry {
    Version(ObjectVersion),
    Common(String),
}

impl Entry {
    /// The last of the keys that the entry stands for: a common prefix represents all keys below it.
    fn end(&self) -> String {
        match self {
            Self::Version(version) => version.meta.key.clone(),
            Self::Common(prefix) => format!("{prefix}{}", char::MAX),
        }
    }

    /// Whether another entry may follow this one.
    fn precedes(&self, other: &Self) -> bool {
        let is_latest = matches!(other, Self::Version(version) if version.is_latest);
        match self.end().cmp(&other.end()) {
            Ordering::Less => true,
            Ordering::Equal => !is_latest,
            Ordering::Greater => false,
        }
    }

    /// Sorts entries in S3's order: by key, and the newest version of a key first. The sort is stable.
    fn rank(&self) -> (String, bool, Reverse<Option<SystemTime>>) {
        match self {
            Self::Version(version) => {
                (self.end(), !version.is_latest, Reverse(version.meta.properties.last_modified))
            }
            Self::Common(_) => (self.end(), false, Reverse(None)),
        }
    }

    fn marker(&self) -> VersionMarker {
        let version = match self {
            Self::Version(version) => version.meta.properties.version.clone().unwrap_or_default(),
            Self::Common(_) => String::new(),
        };
        VersionMarker { key: self.end(), version }
    }
}

fn page(body: &str, listing: VersionsQuery<'_>) -> Result<VersionsListed, Error> {
    let VersionsQuery { start_after, after, max_keys, .. } = listing;
    let max_keys = usize::from(max_keys);
    let result = Element::read(body, "ListVersionsResult", "the response to ListObjectVersions")?;
    let encoded = result.text("EncodingType") == Some("url");
    let name = |text: &str| {
        let name = if encoded { encode::decode_listed(text.to_owned()).ok()? } else { text.to_owned() };
        Some(name).filter(|name| !name.is_empty())
    };
    let (mut entries, mut unreadable) = (Vec::new(), 0);
    for element in result.children() {
        let entry = match element.name.as_str() {
            "Version" => version(element, false, &name).map(Entry::Version),
            "DeleteMarker" => version(element, true, &name).map(Entry::Version),
            "CommonPrefixes" => element.text("Prefix").and_then(name).map(Entry::Common),
            _ => continue,
        };
        match entry {
            Some(entry) => entries.push(entry),
            None => unreadable += 1,
        }
    }
    // Some servers list the delete markers after the versions.
    if !entries.is_sorted_by(Entry::precedes) {
        entries.sort_by_cached_key(Entry::rank);
    }
    let next = next(&result, &entries, name)?;
    // A server that ignores the markers repeats the entries up to this one.
    let repeated = after.filter(|after| !after.version.is_empty());
    if let Some(at) = repeated.and_then(|after| entries.iter().position(|entry| entry.marker() == *after)) {
        entries.drain(..=at);
    }
    // Some servers start with the key that a listing should start after.
    entries.retain(|entry| entry.end().as_str() > start_after);
    let is_cut = entries.len() > max_keys;
    entries.truncate(max_keys);
    // If the server returned more entries than requested, the next page has the rest.
    let next = if is_cut { entries.last().map(Entry::marker) } else { next };
    let mut listed = VersionsListed { unreadable, next, ..VersionsListed::default() };
    for entry in entries {
        match entry {
            Entry::Version(version) => listed.versions.push(version),
            Entry::Common(prefix) => listed.common_prefixes.push(prefix),
        }
    }
    Ok(listed)
}

fn version(
    element: &Element,
    delete_marker: bool,
    name: &impl Fn(&str) -> Option<String>,
) -> Option<ObjectVersion> {
    let properties = Properties {
        last_modified: element.time("LastModified"),
        etag: element.text("ETag").map(str::to_owned),
        version: Some(element.text("VersionId")?.to_owned()),
        storage_class: element.text("StorageClass").map(str::to_owned),
        ..Properties::default()
    };
    let size = if delete_marker { 0 } else { element.number("Size")? };
    Some(ObjectVersion {
        meta: ObjectMeta { key: name(element.text("Key")?)?, size, properties },
        is_latest: element.flag("IsLatest").unwrap_or_default(),
        delete_marker,
    })
}

/// The start of the next page. Without a marker in the response, it is the last entry in the order of the keys.
fn next(
    result: &Element,
    entries: &[Entry],
    name: impl Fn(&str) -> Option<String>,
) -> Result<Option<VersionMarker>, Error> {
    match (result.flag("IsTruncated"), result.text("NextKeyMarker").and_then(name)) {
        (Some(false), _) | (None, None) => Ok(None),
        (_, Some(key)) => {
            let version = result.text("NextVersionIdMarker").unwrap_or_default().to_owned();
            Ok(Some(VersionMarker { key, version }))
        }
        (Some(true), None) => {
            let lost = || invalid_response("a list of versions is truncated without a marker");
            entries.last().map(|last| Some(last.marker())).ok_or_else(lost)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListVersionsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name><Prefix/><KeyMarker/>
<VersionIdMarker/><NextKeyMarker>b</NextKeyMarker><NextVersionIdMarker>v0</NextVersionIdMarker>
<EncodingType>url</EncodingType><MaxKeys>4</MaxKeys><IsTruncated>true</IsTruncated>
<DeleteMarker><Key>a+b%2Bc</Key><VersionId>v2</VersionId><IsLatest>true</IsLatest>
<LastModified>2026-01-02T03:04:05.000Z</LastModified><Owner><ID>i</ID></Owner></DeleteMarker>
<Version><Key>a+b%2Bc</Key><VersionId>v1</VersionId><IsLatest>false</IsLatest>
<LastModified>2026-01-02T03:04:04.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size>
<StorageClass>STANDARD</StorageClass><Owner><Key>x</Key></Owner></Version>
<Version><Key>b</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><Size>0</Size></Version>
<CommonPrefixes><Prefix>c%2F</Prefix></CommonPrefixes></ListVersionsResult>"#;

    fn marker(key: &str, version: &str) -> VersionMarker {
        VersionMarker { key: key.to_owned(), version: version.to_owned() }
    }

    fn page(body: &str, after: Option<&VersionMarker>, max_keys: u16) -> Result<VersionsListed, Error> {
        super::page(body, VersionsQuery { prefix: "", delimiter: "", start_after: "", after, max_keys })
    }

    fn ids(listed: &VersionsListed) -> Vec<(&str, &str)> {
        listed
            .versions
            .iter()
            .map(|found| {
                (found.meta.key.as_str(), found.meta.properties.version.as_deref().unwrap_or_default())
            })
            .collect()
    }

    #[test]
    fn versions_and_delete_markers_are_parsed_in_the_order_of_the_page() {
        let listed = page(PAGE, None, 1000).unwrap();
        assert_eq!(ids(&listed), [("a b+c", "v2"), ("a b+c", "v1"), ("b", "null")]);
        let [deleted, old, current] = &listed.versions[..] else { panic!() };
        assert!(deleted.is_latest && deleted.delete_marker && !old.delete_marker && !old.is_latest);
        assert!(current.is_latest);
        assert_eq!((old.meta.size, old.meta.properties.etag.as_deref()), (7, Some("\"e\"")));
        assert_eq!((deleted.meta.size, deleted.meta.properties.etag.as_deref()), (0, None));
        let since = deleted.meta.properties.last_modified.unwrap().duration_since(SystemTime::UNIX_EPOCH);
        assert_eq!(since.unwrap().as_secs(), 1_767_323_045);
        assert_eq!(listed.common_prefixes, ["c/"]);
        assert_eq!(listed.next, Some(marker("b", "v0")));
    }

    #[test]
    fn delete_markers_that_are_listed_after_the_versions_are_put_into_order() {
        let (start, end) = (PAGE.find("<DeleteMarker>").unwrap(), PAGE.find("<Version>").unwrap());
        let marker = &PAGE[start..end];
        let moved =
            PAGE.replace(marker, "").replace("<CommonPrefixes>", &format!("{marker}<CommonPrefixes>"));
        assert_eq!(
            ids(&page(&moved, None, 1000).unwrap()),
            [("a b+c", "v2"), ("a b+c", "v1"), ("b", "null")]
        );
    }

    #[test]
    fn unreadable_entries_are_skipped_and_counted() {
        for (old, new) in [
            ("<Size>7</Size>", ""),
            ("<VersionId>v1</VersionId>", ""),
            ("<Key>b</Key>", "<Key>%FF</Key>"),
            ("c%2F", "%FF"),
        ] {
            let listed = page(&PAGE.replace(old, new), None, 1000).unwrap();
            assert_eq!(listed.unreadable, 1, "{old}");
            assert_eq!(listed.versions.len() + listed.common_prefixes.len(), 3, "{old}");
        }
    }

    #[test]
    fn a_missing_marker_is_taken_from_the_last_entry() {
        let without = PAGE.replace("NextKeyMarker", "Other");
        assert_eq!(page(&without, None, 1000).unwrap().next, Some(marker("c/\u{10ffff}", "")));
        let last = without.replace("<IsTruncated>true", "<IsTruncated>false");
        assert_eq!(page(&last, None, 1000).unwrap().next, None);
        let empty = "<ListVersionsResult><IsTruncated>true</IsTruncated></ListVersionsResult>";
        assert!(page(empty, None, 1000).is_err());
    }

    #[test]
    fn an_oversized_page_is_truncated_and_the_next_page_has_the_rest() {
        let first = page(PAGE, None, 1).unwrap();
        assert_eq!(ids(&first), [("a b+c", "v2")]);
        assert_eq!(first.next, Some(marker("a b+c", "v2")));
        let rest = page(PAGE, Some(&marker("a b+c", "v2")), 2).unwrap();
        assert_eq!(ids(&rest), [("a b+c", "v1"), ("b", "null")], "the server ignored the marker");
        assert_eq!(rest.next, Some(marker("b", "null")));
    }

    #[test]
    fn the_key_that_a_listing_starts_after_is_left_out() {
        let query =
            VersionsQuery { prefix: "", delimiter: "", start_after: "a b+c", after: None, max_keys: 9 };
        assert_eq!(ids(&super::page(PAGE, query).unwrap()), [("b", "null")]);
    }

    #[test]
    fn a_response_that_is_not_a_list_of_versions_is_rejected() {
        for body in ["", "<html/>", "<ListBucketResult/>"] {
            assert!(page(body, None, 1000).is_err(), "{body}");
        }
    }
}
