//! ListMultipartUploads.

use std::{ops::Bound, sync::Arc};

use http::HeaderMap;
use redb::{ReadableTable, StorageError};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload},
    s3_error,
};

use super::{
    attributes,
    call::{admit, received, timestamp},
    checksums,
    list::{Encoding, initiator, owner},
    page::{Entries, Line, Page, Query, page},
    uploads::{parse, written},
};
use crate::embedded::storage::{self, Failed, Reading, Storage, UploadRow};

type Upload = (u64, UploadRow);

/// Lists the uploads in progress by key, and those of one key by age.
pub(super) async fn list_multipart_uploads(
    storage: &Arc<Storage>,
    mut request: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let headers = received(&mut request).headers;
    let input = request.input;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let marker = input.key_marker.clone();
    let query = Query::new(
        input.prefix.as_ref(),
        input.delimiter.as_ref(),
        marker,
        input.max_uploads,
        "max-uploads",
    )?;
    let upload_marker = upload_marker(&query, input.upload_id_marker.as_deref())?;
    let max = query.max;
    let found = found(storage, input.bucket.clone(), query, upload_marker, headers).await?;
    let last = found.lines.last();
    let mut output = ListMultipartUploadsOutput {
        next_key_marker: last.map(|line| encoding.text(line.name())),
        next_upload_id_marker: last.and_then(|line| match line {
            Line::Entry(_, (id, _)) => Some(written(*id)),
            Line::Common(_) => None,
        }),
        bucket: Some(input.bucket),
        delimiter: input.delimiter.map(|delimiter| encoding.text(&delimiter)),
        encoding_type: input.encoding_type,
        is_truncated: Some(found.truncated),
        key_marker: Some(encoding.text(&input.key_marker.unwrap_or_default())),
        max_uploads: i32::try_from(max).ok(),
        prefix: Some(encoding.text(&input.prefix.unwrap_or_default())),
        upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
        ..ListMultipartUploadsOutput::default()
    };
    (output.uploads, output.common_prefixes) = lines(found.lines, encoding);
    Ok(S3Response::new(output))
}

/// The upload id after which the page begins. It is ignored without a key marker.
fn upload_marker(query: &Query, marker: Option<&str>) -> S3Result<Option<u64>> {
    match (&query.after, marker.filter(|id| !id.is_empty())) {
        (Some(_), Some(id)) => {
            parse(id).map(Some).ok_or_else(|| s3_error!(InvalidArgument, "Invalid uploadId marker"))
        }
        _ => Ok(None),
    }
}

async fn found(
    storage: &Arc<Storage>,
    bucket: String,
    query: Query,
    upload_marker: Option<u64>,
    headers: HeaderMap,
) -> S3Result<Page<Upload>> {
    storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            if let (Some(key), Some(id)) = (&query.after, upload_marker) {
                check_marker(tables, &bucket, key, id)?;
            }
            let from = |key: &str| uploads(tables, &bucket, Bound::Included((key, 0)));
            let first = match &query.after {
                Some(after) if *after >= query.prefix => {
                    uploads(tables, &bucket, Bound::Excluded((after, upload_marker.unwrap_or(u64::MAX))))?
                }
                _ => from(&query.prefix)?,
            };
            Ok(page(&query, first, from)?)
        })
        .await
}

/// Rejects a marker that is an upload of another key. An upload that no longer exists is a valid marker.
fn check_marker(tables: &Reading, bucket: &str, key: &str, id: u64) -> Result<(), Failed> {
    for upload in uploads(tables, bucket, Bound::Included(("", 0)))? {
        let (of, (found, _)) = upload?;
        if found == id && of != key {
            return Err(s3_error!(InvalidArgument, "Invalid uploadId marker").into());
        }
    }
    Ok(())
}

fn lines(
    lines: Vec<Line<Upload>>,
    encoding: Encoding,
) -> (Option<Vec<MultipartUpload>>, Option<Vec<CommonPrefix>>) {
    let (mut entries, mut common) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            Line::Entry(key, (id, row)) => entries.push(described(encoding.text(&key), id, &row)),
            Line::Common(prefix) => common.push(CommonPrefix { prefix: Some(encoding.text(&prefix)) }),
        }
    }
    (Some(entries), Some(common))
}

fn uploads<'t>(
    tables: &'t Reading,
    bucket: &str,
    from: Bound<(&str, u64)>,
) -> Result<Entries<'t, Upload>, StorageError> {
    let owned = bucket.to_owned();
    let range = (from.map(|(key, id)| (bucket, key, id)), Bound::Unbounded);
    let entries = ReadableTable::range::<(&str, &str, u64)>(&tables.uploads, range)?;
    Ok(Box::new(entries.map_while(move |entry| {
        let (key, row) = match entry {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let (bucket, key, id) = key.value();
        (bucket == owned).then(|| Ok((key.to_owned(), (id, storage::decode(row.value())?))))
    })))
}

fn described(key: String, id: u64, row: &UploadRow) -> MultipartUpload {
    MultipartUpload {
        checksum_algorithm: row.checksum_asked.then(|| row.checksum_algorithm.clone().into()),
        checksum_type: row.checksum_asked.then(|| checksums::type_name(row.composite).to_owned().into()),
        initiated: Some(timestamp(row.initiated)),
        initiator: Some(initiator()),
        key: Some(key),
        owner: Some(owner()),
        storage_class: Some(attributes::class(&row.attributes).into()),
        upload_id: Some(written(id)),
    }
}
