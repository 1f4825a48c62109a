//! CopyObject, and what UploadPartCopy shares with it.

use std::sync::Arc;

use http::HeaderMap;
use s3s::{
    S3Error, S3Request, S3Response, S3Result,
    dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETag},
    s3_error,
};

use super::{
    archive, attributes,
    call::{admit, asked_version, expect_owner, received, refuse_unkept, text, timestamp, told_version},
    checksums::{self, Algorithm, Digests},
    conditions::Conditions,
    content::{self, Content, digest},
    encryption::{self, KeyOf},
    receive::MAX_SINGLE_WRITE,
    tags,
};
use crate::embedded::storage::{
    self, AttributesRow, ChecksumRow, ObjectRow, Storage, TagRow, VersionId, Versioning, blocking, now,
};

/// The object that a copy reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    bucket: String,
    key: String,
    version: Option<VersionId>,
}

impl Source {
    pub(super) fn of(source: CopySource) -> S3Result<Self> {
        match source {
            CopySource::Bucket { bucket, key, version_id } => {
                let version = asked_version(version_id.as_deref())?;
                Ok(Self { bucket: bucket.into(), key: key.into(), version })
            }
            CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
                Err(s3_error!(NotImplemented, "Access points are not implemented"))
            }
        }
    }

    /// Opens the source, if the request may read it and its conditions hold.
    pub(super) async fn open(&self, storage: &Arc<Storage>, headers: &HeaderMap) -> S3Result<Content> {
        let (storage, source, headers) = (Arc::clone(storage), self.clone(), headers.clone());
        blocking(move || {
            let content = content::open(&storage, (&source.bucket, &source.key), source.version, &headers)?;
            expect_owner(&headers, "x-amz-source-expected-bucket-owner")?;
            encryption::check_key(&headers, KeyOf::CopySource, &content.object.attributes.customer_key_md5)?;
            Conditions::of_source(&headers).check_source(&content.object)?;
            if archive::is_archived(&content.object) {
                return Err(s3_error!(
                    InvalidObjectState,
                    "The source object of the COPY operation is not in the active tier"
                )
                .into());
            }
            Ok(content)
        })
        .await
    }
}

/// Copies an object. The copy shares the bytes of its source. They are read only if the ETag or the checksum of the
/// copy must be computed.
pub(super) async fn copy_object(
    storage: &Arc<Storage>,
    mut request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let headers = received(&mut request).headers;
    let CopyObjectInput { bucket, key, copy_source, .. } = request.input;
    let source = Source::of(copy_source)?;
    refuse_unkept(&headers)?;
    let said = Said::of(&headers)?;
    let in_vain = source.bucket == bucket && source.key == key && said.changes_nothing(&headers);
    if in_vain && source.version.is_none() {
        return Err(changes_nothing());
    }
    loop {
        let content = source.open(storage, &headers).await?;
        // In a bucket with versions, a copy of a version onto its own key makes it the current one.
        if in_vain && content.versioning == Versioning::Never {
            return Err(changes_nothing());
        }
        let source_version = content.version_id();
        let object = said.copied(content, &headers).await?;
        let row = object.clone();
        let (source, bucket, key, headers) = (source.clone(), bucket.clone(), key.clone(), headers.clone());
        let copied = storage.write(move |tables| {
            let versioning = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?.versioning();
            let there = storage::object(&tables.objects, &bucket, &key)?;
            Conditions::of(&headers).check_write(there.as_ref())?;
            // If the source has been replaced in the meantime, its bytes may be gone. In that case, try again.
            let place = (source.bucket.as_str(), source.key.as_str());
            let now = storage::version(&tables.objects, &tables.versions, place, source.version)?;
            if now.is_none_or(|now| now.delete_marker || now.body != row.body) {
                return Ok(None);
            }
            let written = tables.write_object(&bucket, &key, row, versioning)?;
            Ok(Some(told_version(versioning, &written)))
        });
        if let Some(version_id) = copied.await? {
            let mut answer = answer(&object);
            answer.output.version_id = version_id;
            answer.output.copy_source_version_id = source_version;
            return Ok(answer);
        }
    }
}

fn changes_nothing() -> S3Error {
    s3_error!(
        InvalidRequest,
        "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
    )
}

fn answer(object: &ObjectRow) -> S3Response<CopyObjectOutput> {
    let checksums::Fields { crc32, crc32c, crc64nvme, sha1, sha256 } =
        checksums::fields(object.checksum.as_ref(), object.parts);
    let result = CopyObjectResult {
        checksum_crc32: crc32,
        checksum_crc32c: crc32c,
        checksum_crc64nvme: crc64nvme,
        checksum_sha1: sha1,
        checksum_sha256: sha256,
        checksum_type: Some(checksums::type_name(false).to_owned().into()),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(timestamp(object.modified)),
    };
    let output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
    S3Response::with_headers(output, attributes::told_of_encryption(&object.attributes))
}

/// What a request specifies for the copy.
struct Said {
    /// `None` to keep the attributes of the source.
    attributes: Option<AttributesRow>,
    tags: Option<Vec<TagRow>>,
    algorithm: Option<Algorithm>,
}

impl Said {
    fn of(headers: &HeaderMap) -> S3Result<Self> {
        let attributes = match text(headers, "x-amz-metadata-directive") {
            None | Some("COPY") => None,
            Some("REPLACE") => Some(attributes::of(headers)?),
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
        };
        let tags = match text(headers, "x-amz-tagging-directive") {
            None | Some("COPY") => None,
            Some("REPLACE") => Some(tags::of_header(headers)?),
            Some(_) => return Err(s3_error!(InvalidArgument, "Unknown tagging directive.")),
        };
        Ok(Self { attributes, tags, algorithm: checksums::asked(headers)? })
    }

    fn changes_nothing(&self, headers: &HeaderMap) -> bool {
        let changing = |name: &str| {
            name == "x-amz-storage-class"
                || name == "x-amz-website-redirect-location"
                || name.starts_with("x-amz-server-side-encryption")
        };
        self.attributes.is_none() && !headers.keys().any(|name| changing(name.as_str()))
    }

    async fn copied(&self, content: Content, headers: &HeaderMap) -> S3Result<ObjectRow> {
        let source = content.object.clone();
        if source.size > MAX_SINGLE_WRITE {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_SINGLE_WRITE}"
            ));
        }
        let attributes = match &self.attributes {
            Some(attributes) => attributes.clone(),
            None => attributes::copied(&source.attributes, headers)?,
        };
        let tags = self.tags.clone().unwrap_or_else(|| source.tags.clone());
        let (etag, checksum) = self.digested(content).await?;
        Ok(ObjectRow {
            etag,
            checksum: Some(checksum),
            modified: now(),
            attributes,
            tags,
            size: source.size,
            body: source.body,
            ..ObjectRow::default()
        })
    }

    /// The ETag and the checksum of the copy. They cover the whole object, even if the source was uploaded in parts.
    async fn digested(&self, content: Content) -> S3Result<(String, ChecksumRow)> {
        let source = &content.object;
        let stored = source.checksum.as_ref().and_then(|checksum| Algorithm::named(&checksum.algorithm));
        let algorithm = self.algorithm.or(stored).unwrap_or(Algorithm::DEFAULT);
        if let (0, Some(checksum)) = (source.parts, &source.checksum)
            && checksum.algorithm == algorithm.name()
        {
            return Ok((source.etag.clone(), checksum.clone()));
        }
        let size = source.size;
        let digested = digest(content.reading(0..size), Digests::new(algorithm)).await?;
        Ok((hex::encode(digested.md5), digested.checksum))
    }
}
