//! GetObjectAttributes.

use std::sync::Arc;

use http::header;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        Checksum, ETag, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
        ObjectAttributes, ObjectPart,
    },
    s3_error,
};

use super::{
    attributes,
    call::{asked_version, number, received},
    checksums,
    conditions::Conditions,
    content::{self, Content},
    encryption::{self, KeyOf},
};
use crate::embedded::storage::{ChecksumRow, PartRow, Storage, blocking};

const ALL: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

/// Returns the requested attributes of an object.
pub(super) async fn object_attributes(
    storage: &Arc<Storage>,
    mut request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let headers = received(&mut request).headers;
    let GetObjectAttributesInput {
        bucket,
        key,
        version_id,
        max_parts,
        part_number_marker,
        object_attributes,
        ..
    } = request.input;
    let version = asked_version(version_id.as_deref())?;
    let asked = asked(&object_attributes)?;
    let storage = Arc::clone(storage);
    let content = blocking(move || {
        let content = content::open(&storage, (&bucket, &key), version, &headers)?;
        encryption::check_key(&headers, KeyOf::Object, &content.object.attributes.customer_key_md5)?;
        Conditions::of(&headers).check_read(&content.object)?;
        Ok(content)
    })
    .await?;
    let object = &content.object;
    let asked = |name: &str| asked.iter().any(|one| one == name);
    let output = GetObjectAttributesOutput {
        e_tag: asked("ETag").then(|| ETag::Strong(object.etag.clone())),
        checksum: object.checksum.as_ref().filter(|_| asked("Checksum")).map(checksum),
        object_parts: (asked("ObjectParts") && object.parts > 0)
            .then(|| parts(&content, max_parts, part_number_marker)),
        storage_class: asked("StorageClass").then(|| attributes::class(&object.attributes).into()),
        version_id: content.version_id(),
        object_size: asked("ObjectSize").then(|| number(object.size)),
        ..GetObjectAttributesOutput::default()
    };
    let mut headers = http::HeaderMap::new();
    headers.insert(header::LAST_MODIFIED, attributes::last_modified_header(object));
    Ok(S3Response::with_headers(output, headers))
}

/// In this response a composite checksum does not end in the number of parts.
fn checksum(row: &ChecksumRow) -> Checksum {
    let alone = ChecksumRow { composite: false, ..row.clone() };
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } = checksums::fields(Some(&alone), 0);
    Checksum {
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: Some(checksums::type_name(row.composite).to_owned().into()),
    }
}

/// The names of the requested attributes. The header may be repeated, and each one may hold several names.
fn asked(lines: &[ObjectAttributes]) -> S3Result<Vec<String>> {
    let names = lines.iter().flat_map(|line| line.as_str().split(','));
    let names: Vec<_> = names.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() || names.iter().any(|name| !ALL.contains(&name.as_str())) {
        return Err(s3_error!(InvalidArgument, "Invalid attribute name specified."));
    }
    Ok(names)
}

/// S3 lists the parts only if each has its own checksum, as is the case for composite checksums.
fn parts(content: &Content, max: Option<i32>, marker: Option<i32>) -> GetObjectAttributesParts {
    let total = GetObjectAttributesParts {
        total_parts_count: i32::try_from(content.object.parts).ok(),
        ..GetObjectAttributesParts::default()
    };
    if !content.object.checksum.as_ref().is_some_and(|checksum| checksum.composite) {
        return total;
    }
    let max = max.and_then(|max| usize::try_from(max).ok()).unwrap_or(1_000).min(1_000);
    let marker = marker.unwrap_or(0);
    let behind: Vec<_> = content.parts.iter().filter(|(number, _)| i32::from(*number) > marker).collect();
    let listed: Vec<_> = behind.iter().take(max).collect();
    GetObjectAttributesParts {
        is_truncated: Some(behind.len() > max),
        max_parts: i32::try_from(max).ok(),
        next_part_number_marker: Some(listed.last().map_or(0, |(number, _)| i32::from(*number))),
        part_number_marker: Some(marker),
        parts: Some(listed.iter().map(|(number, row)| part(*number, row)).collect()),
        ..total
    }
}

fn part(part_number: u16, row: &PartRow) -> ObjectPart {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(row.checksum.as_ref(), 0);
    ObjectPart {
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        part_number: Some(i32::from(part_number)),
        size: Some(number(row.size)),
    }
}
