//! ListObjectVersions.

use std::{iter::Peekable, ops::Bound, sync::Arc};

use http::HeaderMap;
use redb::{ReadableTable, StorageError};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, DeleteMarkerEntry, ETag, ListObjectVersionsInput, ListObjectVersionsOutput,
        ObjectVersion,
    },
    s3_error,
};

use super::{
    attributes,
    call::{admit, number, received, timestamp},
    checksums,
    list::{Encoding, owner},
    page::{Entries, Line, Page, Query, page},
};
use crate::embedded::{
    received::VersionOrder,
    storage::{self, Failed, ObjectRow, Reading, Storage, VersionId, place},
};

/// A version, and whether it is the current one.
type Version = (ObjectRow, bool);

/// Lists versions and delete markers by key, and the newest version of a key first.
pub(super) async fn list_object_versions(
    storage: &Arc<Storage>,
    mut request: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let marker = input.key_marker.clone();
    let query =
        Query::new(input.prefix.as_ref(), input.delimiter.as_ref(), marker, input.max_keys, "max-keys")?;
    let version_marker = version_marker(&query, input.version_id_marker.as_deref())?;
    let max = query.max;
    let found = found(storage, input.bucket.clone(), query, version_marker, headers).await?;
    let last = found.lines.last().filter(|_| found.truncated);
    let mut output = ListObjectVersionsOutput {
        next_key_marker: last.map(|line| encoding.text(line.name())),
        next_version_id_marker: last.and_then(|line| match line {
            Line::Entry(_, (row, _)) => Some(VersionId::of(row).text()),
            Line::Common(_) => None,
        }),
        name: Some(input.bucket),
        delimiter: input.delimiter.map(|delimiter| encoding.text(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(found.truncated),
        key_marker: Some(encoding.text(&input.key_marker.unwrap_or_default())),
        max_keys: i32::try_from(max).ok(),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        ..ListObjectVersionsOutput::default()
    };
    let order = lines(found, encoding, &mut output);
    let mut response = S3Response::new(output);
    response.extensions.insert(order);
    Ok(response)
}

/// The version after which the page begins.
fn version_marker(query: &Query, marker: Option<&str>) -> S3Result<Option<VersionId>> {
    match (&query.after, marker.filter(|id| !id.is_empty())) {
        (_, None) => Ok(None),
        (None, Some(_)) => {
            Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."))
        }
        (Some(_), Some(id)) => VersionId::parse(id)
            .map(Some)
            .ok_or_else(|| s3_error!(InvalidArgument, "Invalid version id specified")),
    }
}

async fn found(
    storage: &Arc<Storage>,
    bucket: String,
    query: Query,
    marker: Option<VersionId>,
    headers: HeaderMap,
) -> S3Result<Page<Version>> {
    storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let from = |key: &str| versions(tables, &bucket, Bound::Included(key), Bound::Included((key, 0)));
            let first = match &query.after {
                Some(after) if *after >= query.prefix => {
                    let place = position(tables, (&bucket, after), marker)?;
                    versions(tables, &bucket, Bound::Excluded(after), Bound::Excluded((after, place)))?
                }
                _ => from(&query.prefix)?,
            };
            Ok(page(&query, first, from)?)
        })
        .await
}

/// The place of a marker among the versions of its key. The marker need not exist any more.
fn position(tables: &Reading, (bucket, key): (&str, &str), marker: Option<VersionId>) -> Result<u64, Failed> {
    match marker {
        None => Ok(u64::MAX),
        Some(VersionId::Number(number)) => Ok(place(number)),
        Some(VersionId::Null) => {
            let null =
                storage::version(&tables.objects, &tables.versions, (bucket, key), Some(VersionId::Null))?;
            Ok(null.map_or(u64::MAX, |null| place(null.number)))
        }
    }
}

/// The versions of a bucket: current objects from the key `from`, and the others from the place `from_other`.
fn versions<'t>(
    tables: &'t Reading,
    bucket: &str,
    from: Bound<&str>,
    from_other: Bound<(&str, u64)>,
) -> Result<Entries<'t, Version>, StorageError> {
    let current = super::list::entries(tables, bucket, from)?;
    let of = bucket.to_owned();
    let range = (from_other.map(|(key, place)| (bucket, key, place)), Bound::Unbounded);
    let others = ReadableTable::range::<(&str, &str, u64)>(&tables.versions, range)?;
    let others = others.map_while(move |entry| {
        let (key, row) = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let (bucket, key, _) = key.value();
        let row = || Ok((key.to_owned(), storage::decode::<ObjectRow>(row.value())?));
        (bucket == of).then(row)
    });
    let others: Entries<'t, ObjectRow> = Box::new(others);
    let of = bucket.to_owned();
    let merged = Merged { current: current.peekable(), others: others.peekable() };
    Ok(Box::new(merged.map(move |entry| {
        let (key, row, is_current) = entry?;
        // A delete marker is current if no version of its key is newer.
        let is_latest = is_current || (row.delete_marker && is_newest(tables, &of, &key, &row)?);
        Ok((key, (row, is_latest)))
    })))
}

fn is_newest(tables: &Reading, bucket: &str, key: &str, row: &ObjectRow) -> Result<bool, StorageError> {
    let newest = storage::version(&tables.objects, &tables.versions, (bucket, key), None)?;
    Ok(newest.is_some_and(|newest| newest.number == row.number))
}

/// Entries of both tables in the order of their keys. The current object of a key comes before its other versions.
struct Merged<'t> {
    current: Peekable<Entries<'t, ObjectRow>>,
    others: Peekable<Entries<'t, ObjectRow>>,
}

impl Iterator for Merged<'_> {
    type Item = Result<(String, ObjectRow, bool), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let is_current = match (self.current.peek(), self.others.peek()) {
            (None, None) => return None,
            (Some(Ok((current, _))), Some(Ok((other, _)))) => current <= other,
            (Some(_), _) => true,
            (None, Some(_)) => false,
        };
        let next = if is_current { self.current.next() } else { self.others.next() };
        next.map(|entry| entry.map(|(key, row)| (key, row, is_current)))
    }
}

/// Fills the lists of the response, and returns the order in which S3 would mix them.
fn lines(page: Page<Version>, encoding: Encoding, output: &mut ListObjectVersionsOutput) -> VersionOrder {
    let (mut versions, mut markers, mut common) = (Vec::new(), Vec::new(), Vec::new());
    let mut order = Vec::new();
    for line in page.lines {
        match line {
            Line::Entry(key, (row, is_latest)) => {
                order.push(row.delete_marker);
                let key = encoding.text(&key);
                if row.delete_marker {
                    markers.push(marker(key, &row, is_latest));
                } else {
                    versions.push(described(key, row, is_latest));
                }
            }
            Line::Common(prefix) => common.push(CommonPrefix { prefix: Some(encoding.text(&prefix)) }),
        }
    }
    output.versions = Some(versions);
    output.delete_markers = Some(markers);
    output.common_prefixes = Some(common);
    VersionOrder(order)
}

fn marker(key: String, row: &ObjectRow, is_latest: bool) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(is_latest),
        key: Some(key),
        last_modified: Some(timestamp(row.modified)),
        owner: Some(owner()),
        version_id: Some(VersionId::of(row).text()),
    }
}

fn described(key: String, row: ObjectRow, is_latest: bool) -> ObjectVersion {
    let version_id = Some(VersionId::of(&row).text());
    let storage_class = Some(attributes::class(&row.attributes).into());
    let checksum = row.checksum;
    ObjectVersion {
        checksum_type: checksum
            .as_ref()
            .map(|checksum| checksums::type_name(checksum.composite).to_owned().into()),
        checksum_algorithm: checksum.map(|checksum| vec![checksum.algorithm.into()]),
        e_tag: Some(ETag::Strong(row.etag)),
        is_latest: Some(is_latest),
        key: Some(key),
        last_modified: Some(timestamp(row.modified)),
        owner: Some(owner()),
        size: Some(number(row.size)),
        storage_class,
        version_id,
        ..ObjectVersion::default()
    }
}
