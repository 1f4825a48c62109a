//! ListParts.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{ETag, ListPartsInput, ListPartsOutput, Part},
    s3_error,
};

use super::{
    attributes,
    call::{admit, number, received, timestamp},
    checksums,
    encryption::{self, KeyOf},
    list::{initiator, owner},
    uploads::upload,
};
use crate::embedded::storage::{self, PartRow, Storage, UploadRow};

/// Lists the parts of an upload by number.
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
    let of = Of { bucket: bucket.clone(), key: key.clone(), upload_id: upload_id.clone(), headers };
    let (row, mut parts) = found(storage, of, marker, max).await?;
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
        parts: Some(
            parts
                .into_iter()
                .map(|(number, part)| described_part(number, part, row.checksum_asked))
                .collect(),
        ),
        upload_id: Some(upload_id),
        ..ListPartsOutput::default()
    }))
}

/// The requested upload.
struct Of {
    bucket: String,
    key: String,
    upload_id: String,
    headers: HeaderMap,
}

/// The upload, and its parts after `marker`: up to `max`, and one more if there is one.
async fn found(
    storage: &Arc<Storage>,
    of: Of,
    marker: i32,
    max: usize,
) -> S3Result<(UploadRow, Vec<(u16, PartRow)>)> {
    storage
        .read(move |tables| {
            admit(storage::bucket(&tables.buckets, &of.bucket)?, &of.headers)?;
            let (id, row) = upload(&tables.uploads, &of.bucket, &of.key, &of.upload_id)?;
            if encryption::customer_key(&of.headers, KeyOf::Object)?.is_some() {
                encryption::check_part_key(&of.headers, &row.attributes.customer_key_md5)?;
            }
            let parts = storage::parts(&tables.parts, id)?
                .filter(|part| part.as_ref().map_or(true, |(number, _)| i32::from(*number) > marker))
                .take(max + 1)
                .collect::<Result<Vec<_>, _>>()?;
            Ok((row, parts))
        })
        .await
}

/// Describes a part. Its checksum is returned only if the upload was created with a checksum algorithm.
fn described_part(part_number: u16, row: PartRow, with_checksum: bool) -> Part {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(row.checksum.as_ref().filter(|_| with_checksum), 0);
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
