//! ListMultipartUploads and ListParts.

use std::{ops::Bound, sync::Arc};

use redb::{ReadableTable, StorageError};
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CommonPrefix, ETag, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
        ListPartsOutput, MultipartUpload, Part,
    },
    s3_error,
};

use super::{
    attributes,
    call::{ACCOUNT, admit, number, received, timestamp},
    checksums,
    encryption::{self, KeyOf},
    list::{Encoding, owner},
    page::{Entries, Line, Query, page},
    uploads::{parse, upload, written},
};
use crate::embedded::storage::{self, PartRow, Reading, Storage, UploadRow};

type Upload = (u64, UploadRow);

/// Uploads under way, by key and, of one key, by age.
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
    // Of no meaning without a key.
    let upload_marker = match (&query.after, input.upload_id_marker.as_deref().filter(|id| !id.is_empty())) {
        (Some(_), Some(id)) => {
            Some(parse(id).ok_or_else(|| s3_error!(InvalidArgument, "Invalid uploadId marker"))?)
        }
        _ => None,
    };
    let (max, bucket) = (query.max, input.bucket.clone());
    let found = storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let from = |key: &str| uploads(tables, &bucket, Bound::Included((key, 0)));
            let first = match &query.after {
                Some(after) if *after >= query.prefix => {
                    uploads(tables, &bucket, Bound::Excluded((after, upload_marker.unwrap_or(u64::MAX))))?
                }
                _ => from(&query.prefix)?,
            };
            Ok(page(&query, first, from)?)
        })
        .await?;
    let last = found.lines.last().filter(|_| found.truncated);
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
    let (mut entries, mut common) = (Vec::new(), Vec::new());
    for line in found.lines {
        match line {
            Line::Entry(key, (id, row)) => entries.push(described(encoding.text(&key), id, &row)),
            Line::Common(prefix) => common.push(CommonPrefix { prefix: Some(encoding.text(&prefix)) }),
        }
    }
    output.uploads = Some(entries);
    output.common_prefixes = Some(common);
    Ok(S3Response::new(output))
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

fn initiator() -> Initiator {
    Initiator { display_name: None, id: Some(ACCOUNT.to_owned()) }
}

/// Parts of an upload, by number.
pub(super) async fn list_parts(
    storage: &Arc<Storage>,
    mut request: S3Request<ListPartsInput>,
) -> S3Result<S3Response<ListPartsOutput>> {
    let headers = received(&mut request).headers;
    let ListPartsInput { bucket, key, upload_id, max_parts, part_number_marker, .. } = request.input;
    let max = max_parts.map_or(Ok(1_000), usize::try_from);
    let max = max
        .map_err(|_| {
            s3_error!(InvalidArgument, "Argument max-parts must be an integer between 0 and 2147483647")
        })?
        .min(1_000);
    let marker = part_number_marker.unwrap_or(0).clamp(0, i32::from(u16::MAX));
    let (names, id) = ((bucket.clone(), key.clone()), upload_id.clone());
    let (row, mut parts) = storage
        .read(move |tables| {
            let (bucket, key) = names;
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let (id, row) = upload(&tables.uploads, &bucket, &key, &id)?;
            encryption::check_key(&headers, KeyOf::Object, &row.attributes.customer_key_md5)?;
            let parts = storage::parts(&tables.parts, id)?
                .filter(|part| part.as_ref().map_or(true, |(number, _)| i32::from(*number) > marker))
                .take(max + 1)
                .collect::<Result<Vec<_>, _>>()?;
            Ok((row, parts))
        })
        .await?;
    let truncated = parts.len() > max && max > 0;
    parts.truncate(max);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(bucket),
        checksum_algorithm: row.checksum_asked.then(|| row.checksum_algorithm.clone().into()),
        checksum_type: row.checksum_asked.then(|| checksums::type_name(row.composite).to_owned().into()),
        initiator: Some(initiator()),
        is_truncated: Some(truncated),
        key: Some(key),
        max_parts: i32::try_from(max).ok(),
        next_part_number_marker: Some(parts.last().map_or(0, |(number, _)| i32::from(*number))),
        owner: Some(owner()),
        part_number_marker: Some(marker),
        storage_class: Some(attributes::class(&row.attributes).into()),
        parts: Some(parts.into_iter().map(|(number, part)| described_part(number, part)).collect()),
        upload_id: Some(upload_id),
        ..ListPartsOutput::default()
    }))
}

fn described_part(part_number: u16, row: PartRow) -> Part {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(row.checksum.as_ref(), 0);
    Part {
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        e_tag: Some(ETag::Strong(hex::encode(row.md5))),
        last_modified: Some(timestamp(row.modified)),
        part_number: Some(i32::from(part_number)),
        size: Some(number(row.size)),
    }
}
