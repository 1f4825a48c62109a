//! CompleteMultipartUpload: assembles an object from parts without reading or moving their bytes.

use std::{collections::HashSet, sync::Arc};

use http::HeaderMap;
use md5::{Digest, Md5};
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{
        CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedMultipartUpload, CompletedPart,
        ETag,
    },
    s3_error,
};

use super::{
    attributes,
    call::{admit, detailed, received, text, told_version},
    checksums::{self, Algorithm},
    conditions::Conditions,
    encryption::{self, KeyOf},
    uploads::{no_such_upload, parse, upload},
};
use crate::embedded::storage::{
    self, ChecksumRow, Failed, ObjectRow, PartRow, Storage, UploadRow, Writing, now,
};

/// The smallest size of every part except the last
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MIN_PART: u64 = 5 * 1024 * 1024;

/// Assembles an object from an upload's parts. A repeated request gets the same response while the object exists.
pub(super) async fn complete_multipart_upload(
    storage: &Arc<Storage>,
    mut request: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let headers = received(&mut request).headers;
    let CompleteMultipartUploadInput { bucket, key, upload_id, multipart_upload, .. } = request.input;
    let host = text(&headers, "host").unwrap_or_default();
    let location = format!("http://{host}/{bucket}/{}", super::list::encoded(&key));
    let listed = listed(multipart_upload)?;
    let (bucket_name, key_name) = (bucket.clone(), key.clone());
    let (object, version_id) = storage
        .write(move |tables| {
            let versioning = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?.versioning();
            let told = |object: ObjectRow| {
                let version_id = told_version(versioning, &object);
                (object, version_id)
            };
            let Some(id) = parse(&upload_id) else { return Err(no_such_upload().into()) };
            if storage::upload(&tables.uploads, &bucket, &key, id)?.is_none() {
                let there = storage::object(&tables.objects, &bucket, &key)?;
                return there
                    .filter(|there| there.body == id && there.parts > 0)
                    .map(told)
                    .ok_or_else(|| no_such_upload().into());
            }
            let (_, row) = upload(&tables.uploads, &bucket, &key, &upload_id)?;
            // S3 requires the customer's key only if it needs the key to compute checksums.
            if row.checksum_asked || encryption::customer_key(&headers, KeyOf::Object)?.is_some() {
                encryption::check_part_key(&headers, &row.attributes.customer_key_md5)?;
            }
            let there = storage::object(&tables.objects, &bucket, &key)?;
            Conditions::of(&headers).check_write(there.as_ref())?;
            let object = assembled(tables, id, row, &listed, &headers)?;
            tables.uploads.remove((bucket.as_str(), key.as_str(), id))?;
            remove_unlisted(tables, id, &listed)?;
            Ok(told(tables.write_object(&bucket, &key, object, versioning)?))
        })
        .await?;
    let mut answer = answer(&object, bucket_name, key_name, location);
    answer.output.version_id = version_id;
    Ok(answer)
}

fn answer(
    object: &ObjectRow,
    bucket: String,
    key: String,
    location: String,
) -> S3Response<CompleteMultipartUploadOutput> {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(object.checksum.as_ref(), object.parts);
    let kind =
        object.checksum.as_ref().map(|checksum| checksums::type_name(checksum.composite).to_owned().into());
    let output = CompleteMultipartUploadOutput {
        bucket: Some(bucket),
        key: Some(key),
        location: Some(location),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: kind,
        ..CompleteMultipartUploadOutput::default()
    };
    S3Response::with_headers(output, attributes::told_of_encryption(&object.attributes))
}

/// A part as the caller lists it.
struct Listed {
    number: u16,
    etag: String,
    checksum: Option<(Algorithm, Vec<u8>)>,
}

fn listed(upload: Option<CompletedMultipartUpload>) -> S3Result<Vec<Listed>> {
    let parts = upload.and_then(|upload| upload.parts).unwrap_or_default();
    if parts.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    let listed = parts.into_iter().map(|part| {
        let number = part.part_number.and_then(|number| u16::try_from(number).ok());
        let (Some(number), Some(etag)) = (number, &part.e_tag) else {
            return Err(s3_error!(MalformedXML));
        };
        Ok(Listed { number, etag: etag.value().to_owned(), checksum: claimed(&part)? })
    });
    let listed = listed.collect::<S3Result<Vec<_>>>()?;
    if listed.windows(2).any(|pair| pair[0].number >= pair[1].number) {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order. Parts must be ordered by part number."
        ));
    }
    Ok(listed)
}

fn claimed(part: &CompletedPart) -> S3Result<Option<(Algorithm, Vec<u8>)>> {
    let claims = [
        (Algorithm::Crc32, &part.checksum_crc32),
        (Algorithm::Crc32c, &part.checksum_crc32c),
        (Algorithm::Crc64Nvme, &part.checksum_crc64nvme),
        (Algorithm::Sha1, &part.checksum_sha1),
        (Algorithm::Sha256, &part.checksum_sha256),
    ];
    let claim = claims.into_iter().find_map(|(algorithm, value)| Some((algorithm, value.as_ref()?)));
    claim.map(|(algorithm, value)| Ok((algorithm, algorithm.parse(value)?))).transpose()
}

/// The object assembled from the listed parts, if these match the uploaded parts.
fn assembled(
    tables: &Writing<'_>,
    id: u64,
    upload: UploadRow,
    listed: &[Listed],
    headers: &HeaderMap,
) -> Result<ObjectRow, Failed> {
    let (mut size, mut etags, mut checksums) = (0, Md5::new(), Vec::with_capacity(listed.len()));
    for (index, part) in listed.iter().enumerate() {
        let row = storage::part(&tables.parts, id, part.number)?
            .filter(|_| part.number > 0)
            .ok_or_else(invalid_part)?;
        part.check(&row, &upload)?;
        if row.size < MIN_PART && index + 1 < listed.len() {
            return Err(too_small(part, &row).into());
        }
        size += row.size;
        etags.update(&row.md5);
        checksums.extend(
            row.checksum
                .filter(|checksum| checksum.algorithm == upload.checksum_algorithm)
                .map(|checksum| (checksum.value, row.size)),
        );
    }
    check_size(headers, size)?;
    let checksum = whole(&upload, &checksums, listed.len());
    check_whole(headers, &upload, checksum.as_ref(), listed.len())?;
    Ok(ObjectRow {
        size,
        etag: format!("{}-{}", hex::encode(etags.finalize()), listed.len()),
        modified: now(),
        body: id,
        parts: u32::try_from(listed.len()).unwrap_or(u32::MAX),
        checksum,
        parts_have_checksums: upload.checksum_asked,
        attributes: upload.attributes,
        tags: upload.tags,
        ..ObjectRow::default()
    })
}

/// The checksum of the whole object; `None` if a part was uploaded with a checksum of another algorithm.
fn whole(upload: &UploadRow, parts: &[(Vec<u8>, u64)], listed: usize) -> Option<ChecksumRow> {
    let algorithm = Algorithm::named(&upload.checksum_algorithm)?;
    (parts.len() == listed).then(|| checksums::combine(algorithm, upload.composite, parts))
}

impl Listed {
    fn check(&self, row: &PartRow, upload: &UploadRow) -> S3Result<()> {
        if self.etag != hex::encode(&row.md5) {
            return Err(invalid_part());
        }
        match (&self.checksum, &row.checksum) {
            (Some(_), _) if !upload.checksum_asked => Err(invalid_part()),
            (Some((algorithm, value)), Some(stored)) => {
                if algorithm.name() != stored.algorithm || *value != stored.value {
                    return Err(invalid_part());
                }
                Ok(())
            }
            (None, _) if upload.composite => Err(s3_error!(
                InvalidRequest,
                "The upload was created using a {} checksum. The complete request must include the checksum for each part. It was missing for part {} in the request.",
                upload.checksum_algorithm.to_ascii_lowercase(),
                self.number
            )),
            _ => Ok(()),
        }
    }
}

fn check_size(headers: &HeaderMap, size: u64) -> S3Result<()> {
    match text(headers, "x-amz-mp-object-size") {
        Some(said) if said.parse() != Ok(size) => Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {said} does not match what was computed: {size}"
        )),
        _ => Ok(()),
    }
}

/// Compares the checksum with the one that the caller sends for the whole object.
fn check_whole(
    headers: &HeaderMap,
    upload: &UploadRow,
    found: Option<&ChecksumRow>,
    parts: usize,
) -> S3Result<()> {
    let kind = if upload.checksum_asked { checksums::type_name(upload.composite) } else { "null" };
    if let Some(said) = text(headers, "x-amz-checksum-type")
        && said != kind
    {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using the {kind} checksum mode. The complete request must use the same checksum mode."
        ));
    }
    let Some((algorithm, said)) = checksums::said_of_whole(headers) else { return Ok(()) };
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    let found = found.filter(|found| found.algorithm == algorithm.name());
    match found {
        Some(found) if checksums::written(found, parts) == said || checksums::written(found, 0) == said => {
            Ok(())
        }
        _ => Err(checksums::mismatch(algorithm)),
    }
}

/// Removes the uploaded parts that are not in the list.
fn remove_unlisted(tables: &mut Writing<'_>, id: u64, listed: &[Listed]) -> Result<(), Failed> {
    let wanted: HashSet<u16> = listed.iter().map(|part| part.number).collect();
    let numbers =
        storage::parts(&tables.parts, id)?.map(|part| Ok(part?.0)).collect::<Result<Vec<_>, Failed>>()?;
    for number in numbers.into_iter().filter(|number| !wanted.contains(number)) {
        tables.remove_part(id, number)?;
    }
    Ok(())
}

fn too_small(part: &Listed, row: &PartRow) -> S3Error {
    let error = s3_error!(EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size");
    let (size, number) = (row.size.to_string(), part.number.to_string());
    let details = [
        ("ETag", part.etag.as_str()),
        ("MinSizeAllowed", &MIN_PART.to_string()),
        ("PartNumber", &number),
        ("ProposedSize", &size),
    ];
    detailed(error, &details)
}

fn invalid_part() -> S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    )
}
