//! ListObjects and ListObjectsV2.

use std::{ops::Bound, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use redb::{ReadableTable, StorageError};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, ETag, EncodingType, Initiator, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
        ListObjectsV2Output, Object, Owner,
    },
    s3_error,
};

use super::{
    attributes,
    call::{ACCOUNT, admit, number, received, timestamp},
    checksums,
    page::{Entries, Line, Page, Query, page},
};
use crate::embedded::storage::{self, ObjectRow, Reading, Storage};

/// ListObjects, whose pages continue after a marker.
pub(super) async fn list_objects(
    storage: &Arc<Storage>,
    mut request: S3Request<ListObjectsInput>,
) -> S3Result<S3Response<ListObjectsOutput>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let query = Query::new(
        input.prefix.as_ref(),
        input.delimiter.as_ref(),
        input.marker.clone(),
        input.max_keys,
        "max-keys",
    )?;
    let (max, rolled_up) = (query.max, query.delimiter.is_some());
    let page = objects(storage, input.bucket.clone(), query, headers).await?;
    // Without a delimiter, callers use the last key as the marker.
    let next =
        page.lines.last().filter(|_| page.truncated && rolled_up).map(|line| encoding.text(line.name()));
    let truncated = page.truncated;
    let (contents, common_prefixes) = lines(page, encoding, true);
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        marker: Some(encoding.text(&input.marker.unwrap_or_default())),
        max_keys: i32::try_from(max).ok(),
        is_truncated: Some(truncated),
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: input.delimiter.map(|delimiter| encoding.text(&delimiter)),
        next_marker: next,
        encoding_type: input.encoding_type,
        ..ListObjectsOutput::default()
    }))
}

/// ListObjectsV2, whose pages continue at a token.
pub(super) async fn list_objects_v2(
    storage: &Arc<Storage>,
    mut request: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let after = match &input.continuation_token {
        Some(token) => Some(after(token)?),
        None => input.start_after.clone(),
    };
    let query =
        Query::new(input.prefix.as_ref(), input.delimiter.as_ref(), after, input.max_keys, "max-keys")?;
    let max = query.max;
    let page = objects(storage, input.bucket.clone(), query, headers).await?;
    let next =
        page.lines.last().filter(|_| page.truncated).map(|line| BASE64_URL_SAFE_NO_PAD.encode(line.name()));
    let (truncated, count) = (page.truncated, page.lines.len());
    let (contents, common_prefixes) = lines(page, encoding, input.fetch_owner == Some(true));
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        max_keys: i32::try_from(max).ok(),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(truncated),
        next_continuation_token: next,
        contents: Some(contents),
        common_prefixes: Some(common_prefixes),
        delimiter: input.delimiter.map(|delimiter| encoding.text(&delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|after| encoding.text(&after)),
        ..ListObjectsV2Output::default()
    }))
}

fn after(token: &str) -> S3Result<String> {
    let after = BASE64_URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    after.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

async fn objects(
    storage: &Arc<Storage>,
    bucket: String,
    query: Query,
    headers: HeaderMap,
) -> S3Result<Page<ObjectRow>> {
    storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let first = match &query.after {
                Some(after) if *after >= query.prefix => entries(tables, &bucket, Bound::Excluded(after))?,
                _ => entries(tables, &bucket, Bound::Included(&query.prefix))?,
            };
            Ok(page(&query, first, |key| entries(tables, &bucket, Bound::Included(key)))?)
        })
        .await
}

pub(super) fn entries<'t>(
    tables: &'t Reading,
    bucket: &str,
    from: Bound<&str>,
) -> Result<Entries<'t, ObjectRow>, StorageError> {
    let owned = bucket.to_owned();
    let range = (from.map(|key| (bucket, key)), Bound::Unbounded);
    let entries = ReadableTable::range::<(&str, &str)>(&tables.objects, range)?;
    Ok(Box::new(entries.map_while(move |entry| {
        let (key, row) = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let (bucket, key) = key.value();
        (bucket == owned).then(|| Ok((key.to_owned(), storage::decode(row.value())?)))
    })))
}

fn lines(page: Page<ObjectRow>, encoding: Encoding, with_owner: bool) -> (Vec<Object>, Vec<CommonPrefix>) {
    let (mut contents, mut common) = (Vec::new(), Vec::new());
    for line in page.lines {
        match line {
            Line::Entry(key, row) => contents.push(Object {
                owner: with_owner.then(owner),
                key: Some(encoding.text(&key)),
                ..described(row)
            }),
            Line::Common(prefix) => common.push(CommonPrefix { prefix: Some(encoding.text(&prefix)) }),
        }
    }
    (contents, common)
}

fn described(row: ObjectRow) -> Object {
    let checksum = row.checksum;
    Object {
        checksum_type: checksum
            .as_ref()
            .map(|checksum| checksums::type_name(checksum.composite).to_owned().into()),
        checksum_algorithm: checksum.map(|checksum| vec![checksum.algorithm.into()]),
        e_tag: Some(ETag::Strong(row.etag)),
        last_modified: Some(timestamp(row.modified)),
        size: Some(number(row.size)),
        storage_class: Some(attributes::class(&row.attributes).into()),
        ..Object::default()
    }
}

/// The owner of everything.
pub(super) fn owner() -> Owner {
    Owner { display_name: None, id: Some(ACCOUNT.to_owned()) }
}

/// The initiator of every upload.
pub(super) fn initiator() -> Initiator {
    Initiator { display_name: None, id: Some(ACCOUNT.to_owned()) }
}

/// How a response encodes keys. XML cannot represent some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(_) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request")),
        }
    }

    pub(super) fn text(self, key: &str) -> String {
        match self {
            Self::Plain => key.to_owned(),
            Self::Url => encoded(key).replace("%20", "+"),
        }
    }
}

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

/// Percent-encodes a key for a URL.
pub(super) fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string()
}
