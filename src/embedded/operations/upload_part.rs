//! UploadPart and UploadPartCopy.

use std::{ops::Range, sync::Arc};

use http::HeaderMap;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CopyPartResult, ETag, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
    },
    s3_error,
};

use super::{
    attributes,
    call::{admit, received, timestamp},
    checksums::{self, Algorithm, Claims, Digested, Digests},
    copy::Source,
    encryption,
    receive::{Incoming, MAX_SINGLE_WRITE, receive},
    uploads::upload,
};
use crate::embedded::storage::{self, BlobFile, Failed, NewBlob, PartRow, Storage, UploadRow, blocking, now};

/// Stores a part. It replaces an earlier part with the same number.
pub(super) async fn upload_part(
    storage: &Arc<Storage>,
    mut request: S3Request<UploadPartInput>,
) -> S3Result<S3Response<UploadPartOutput>> {
    let received = received(&mut request);
    let headers = received.headers.clone();
    let UploadPartInput { bucket, key, upload_id, part_number, body, .. } = request.input;
    let target = Target { bucket, key, upload_id, number: number(part_number)? };
    let (id, row) = target.find(storage, &headers).await?;
    let claimed = Claims::of(&headers)?.algorithm();
    let algorithm = algorithm(&row, claimed)?;
    let Incoming { blob, digested } =
        receive(storage.blobs(), Some((id, target.number)), body, received, algorithm).await?;
    let mut told = attributes::told_of_encryption(&row.attributes);
    if row.checksum_asked || claimed.is_some() {
        told.extend(checksums::headers(&digested.checksum, 0));
        told.remove("x-amz-checksum-type");
    }
    let etag = ETag::Strong(hex::encode(digested.md5));
    target.store(storage, headers, blob, &digested).await?;
    let output = UploadPartOutput { e_tag: Some(etag), ..UploadPartOutput::default() };
    Ok(S3Response::with_headers(output, told))
}

/// Stores a range of an object as a part.
pub(super) async fn upload_part_copy(
    storage: &Arc<Storage>,
    mut request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let headers = received(&mut request).headers;
    let UploadPartCopyInput { bucket, key, upload_id, part_number, copy_source, copy_source_range, .. } =
        request.input;
    let source = Source::of(copy_source)?;
    let target = Target { bucket, key, upload_id, number: number(part_number)? };
    let (id, row) = target.find(storage, &headers).await?;
    let content = source.open(storage, &headers).await?;
    let range = range(copy_source_range.as_deref(), content.object.size)?;
    let algorithm = Algorithm::named(&row.checksum_algorithm).unwrap_or(Algorithm::DEFAULT);
    let (blobs, number) = (Arc::clone(storage.blobs()), target.number);
    let mut reading = content.reading(range);
    let (blob, digested) = blocking(move || {
        let mut file = BlobFile::create(&blobs, Some((id, number)))?;
        let mut digests = Digests::new(algorithm);
        while let Some(chunk) = reading.next()? {
            digests.update(&chunk);
            file.append(&mut [chunk])?;
        }
        Ok((file.finish()?, digests.finish()))
    })
    .await?;
    let modified = target.store(storage, headers, blob, &digested).await?;
    let told = attributes::told_of_encryption(&row.attributes);
    let output = UploadPartCopyOutput {
        copy_part_result: Some(result(&digested, modified)),
        ..UploadPartCopyOutput::default()
    };
    Ok(S3Response::with_headers(output, told))
}

fn result(digested: &Digested, modified: u64) -> CopyPartResult {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(Some(&digested.checksum), 0);
    CopyPartResult {
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        e_tag: Some(ETag::Strong(hex::encode(digested.md5))),
        last_modified: Some(timestamp(modified)),
    }
}

/// The upload and the number of a part.
#[derive(Debug, Clone)]
struct Target {
    bucket: String,
    key: String,
    upload_id: String,
    number: u16,
}

impl Target {
    /// The upload, if the request may add to it.
    async fn find(&self, storage: &Arc<Storage>, headers: &HeaderMap) -> S3Result<(u64, UploadRow)> {
        let (target, headers) = (self.clone(), headers.clone());
        storage
            .read(move |tables| {
                admit(storage::bucket(&tables.buckets, &target.bucket)?, &headers)?;
                let (id, row) = upload(&tables.uploads, &target.bucket, &target.key, &target.upload_id)?;
                encryption::check_part_key(&headers, &row.attributes.customer_key_md5)?;
                Ok((id, row))
            })
            .await
    }

    /// Stores a part and returns the time of the write. Fails if the upload has ended while the bytes arrived.
    async fn store(
        self,
        storage: &Storage,
        headers: HeaderMap,
        blob: NewBlob,
        digested: &Digested,
    ) -> S3Result<u64> {
        let row = PartRow {
            blob: blob.name().blob,
            size: digested.size,
            md5: digested.md5.to_vec(),
            modified: now(),
            checksum: Some(digested.checksum.clone()),
        };
        let modified = row.modified;
        storage
            .write(move |tables| {
                admit(storage::bucket(&tables.buckets, &self.bucket)?, &headers)?;
                upload(&tables.uploads, &self.bucket, &self.key, &self.upload_id)?;
                Ok::<_, Failed>(tables.put_part(blob, &row)?)
            })
            .await?;
        Ok(modified)
    }
}

fn number(number: i32) -> S3Result<u16> {
    match u16::try_from(number) {
        Ok(number @ 1..=10_000) => Ok(number),
        _ => Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and 10000, inclusive")),
    }
}

/// The checksum algorithm for a part. If the upload was created with one, the part must use the same.
fn algorithm(upload: &UploadRow, claimed: Option<Algorithm>) -> S3Result<Algorithm> {
    let expected = Algorithm::named(&upload.checksum_algorithm).unwrap_or(Algorithm::DEFAULT);
    let fits = match claimed {
        Some(claimed) => !upload.checksum_asked || claimed == expected,
        // S3 can compute a full-object checksum, but requires the caller to send the checksums for a composite one.
        None => !upload.composite,
    };
    if fits {
        return Ok(claimed.unwrap_or(expected));
    }
    Err(s3_error!(
        InvalidRequest,
        "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
        expected.name().to_ascii_lowercase(),
        claimed.map_or_else(|| "null".to_owned(), |claimed| claimed.name().to_ascii_lowercase())
    ))
}

/// Parses `bytes=first-last`. Both numbers are required and must be inside the source.
fn range(text: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(text) = text else {
        if size > MAX_SINGLE_WRITE {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_SINGLE_WRITE}"
            ));
        }
        return Ok(0..size);
    };
    let parsed = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let parsed =
        parsed.and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    let Some((first, last)) = parsed.filter(|(first, last)| first <= last) else {
        return Err(s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        ));
    };
    if first >= size {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy range is invalid for the source object size"
        ));
    }
    if last >= size {
        return Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {size}"
        ));
    }
    if last - first >= MAX_SINGLE_WRITE {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_SINGLE_WRITE}"
        ));
    }
    Ok(first..last + 1)
}
