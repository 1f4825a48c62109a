//! Copying: by S3 itself where it can, by parts where the object is too large for that, relayed where the two
//! stores have not the same S3.

use std::ops::Range;

use super::{
    Attributes, ByteRange, Conditions, CopyIfNotExists, CopyOptions, Error, ErrorKind, Head, ObjectMeta,
    ReadOptions, S3Store, StoreSettings, Tags, UploadClaim, UploadOptions, WriteMode, WriteOptions,
    conditional::Carrier,
    multipart::Multipart,
    part_size::{MAX_PART, MAX_PARTS},
};
use crate::{
    s3::{CopyCondition, CopySource, NewObject, Replacement, WriteCondition},
    transport::Payload,
};

/// Large copies go in parts of at least this many bytes: no byte of them passes through Longshore, so only the
/// number of requests counts.
const COPY_PART: u64 = 1024 * 1024 * 1024;

/// A copy with everything that is known of it.
struct Job<'a> {
    source: &'a S3Store,
    source_key: &'a str,
    pinned: CopySource,
    head: Head,
    destination: &'a str,
    options: CopyOptions,
}

impl S3Store {
    /// Copies `key` of `source` to `destination` in this store; attributes and tags are kept unless new ones are
    /// given. The storage class is kept within one S3, since another need not have it. If the future is dropped, the
    /// destination may or may not have been written, but never in part.
    pub async fn copy_from(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        options: CopyOptions,
    ) -> Result<ObjectMeta, Error> {
        self.copy_pinned(source, key, destination, options).await.map(|(copied, _)| copied)
    }

    /// The copy's metadata and its source's, as it was when it was copied.
    pub(super) async fn copy_pinned(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        options: CopyOptions,
    ) -> Result<(ObjectMeta, ObjectMeta), Error> {
        let source_key = source.full_key(key, "source.key")?;
        let full_destination = self.full_key(destination, "destination.key")?;
        if let Some(tags) = &options.tags {
            self.require_tagging(tags)?;
        }
        let head = source.head(key, &options.source).await.map_err(|error| match error.kind() {
            ErrorKind::NotModified => error.recast(
                ErrorKind::PreconditionFailed,
                "source_conditions do not hold: the source has not changed",
            ),
            _ => error,
        })?;
        let found = head.meta.clone();
        let pinned = CopySource {
            bucket: source.settings().bucket.bucket.clone(),
            key: source_key,
            version: options.source.version.clone(),
            etag: found.etag.clone(),
        };
        let job = Job { source, source_key: key, pinned, head, destination: &full_destination, options };
        let copied = self.run_copy(job).await?;
        Ok((ObjectMeta { key: destination.to_owned(), size: found.size, ..copied }, found))
    }

    async fn run_copy(&self, job: Job<'_>) -> Result<ObjectMeta, Error> {
        if !same_s3(self.settings(), job.source.settings()) {
            return self.relay(job).await;
        }
        let conditional = job.options.mode != WriteMode::Overwrite;
        let by_multipart = conditional && self.settings().copy_if_not_exists == CopyIfNotExists::Multipart;
        match job.head.meta.size {
            0 if by_multipart => self.rewrite_empty(job).await,
            MAX_PART.. => self.copy_by_parts(job).await,
            _ if by_multipart => self.copy_by_parts(job).await,
            _ => self.copy_by_s3(job).await,
        }
    }

    /// `CopyObject`.
    async fn copy_by_s3(&self, job: Job<'_>) -> Result<ObjectMeta, Error> {
        let by_header = matches!(self.settings().copy_if_not_exists, CopyIfNotExists::Header { .. });
        // A header of the server's own stands for itself: `conditional_put` is about the standard ones.
        let standard = match job.options.mode {
            WriteMode::Create if by_header => WriteCondition::Absent,
            ref mode => self.condition(job.destination, mode, Carrier::Copy).await?,
        };
        let (condition, exists) = match (&self.settings().copy_if_not_exists, &job.options.mode) {
            (CopyIfNotExists::Header { name, value, status }, WriteMode::Create) => {
                (CopyCondition::Header { name: name.clone(), value: value.clone() }, *status)
            }
            (CopyIfNotExists::Header { .. }, WriteMode::Update { .. }) => {
                let message = "the store's copy_if_not_exists names a header for create only: update by copy needs multipart or native";
                return Err(Error::new(ErrorKind::ConditionsNotSupported, message));
            }
            _ => (CopyCondition::Standard(standard.clone()), 412),
        };
        let write_id = self.write_id_for(&job.options.mode);
        let replaced = job.options.attributes.clone();
        // The write id is metadata, so a copy that carries one says all of its metadata.
        let attributes = replaced.or_else(|| write_id.is_some().then(|| job.head.attributes.clone()));
        let storage_class = attributes.as_ref().unwrap_or(&job.head.attributes).storage_class.clone();
        let object = attributes.map(|attributes| (attributes, write_id.clone()));
        let replacement = Replacement { object, storage_class, tags: job.options.tags.clone() };
        let outcome = self
            .client()
            .copy_object(&job.pinned, job.destination, &replacement, &condition, self.deadline)
            .await;
        let outcome = match outcome.map_err(|error| exists_by_status(error, exists)) {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                Err(self.whose_condition(&job, error).await)
            }
            outcome => outcome,
        };
        let ours = NewObject { write_id, ..NewObject::default() };
        let settled = self.settle(job.destination, &ours, &standard, outcome).await;
        settled.map_err(|error| source_changed(error, &job.options.mode))
    }

    /// `CopyObject` has conditions on both ends and one answer: the source is looked at again.
    async fn whose_condition(&self, job: &Job<'_>, error: Error) -> Error {
        let current = ReadOptions { version: job.pinned.version.clone(), ..ReadOptions::default() };
        match job.source.client().head_object(current.selecting(&job.pinned.key), self.deadline).await {
            Ok(found) if found.meta.etag != job.pinned.etag => source_changed(error, &WriteMode::Overwrite),
            Err(missing) if missing.kind() == ErrorKind::ObjectNotFound => {
                source_changed(error, &WriteMode::Overwrite)
            }
            _ => error,
        }
    }

    /// A multipart upload of parts that S3 copies. S3 drops attributes and tags on this way, so they are said anew.
    async fn copy_by_parts(&self, job: Job<'_>) -> Result<ObjectMeta, Error> {
        let mode = job.options.mode.clone();
        let object = NewObject {
            tags: self.tags_of(&job).await?,
            attributes: job.options.attributes.unwrap_or(job.head.attributes),
            write_id: self.write_id_for(&mode),
        };
        let mut multipart = Multipart::begin(self, job.destination.to_owned(), object, mode, None)?;
        for range in parts(job.head.meta.size) {
            while multipart.parts.under_way() >= self.settings().transfer.max_concurrency {
                multipart.parts.one_done().await.transpose()?;
            }
            let (store, target, source) = (self.clone(), multipart.target().clone(), job.pinned.clone());
            let number = multipart.next_number();
            multipart.parts.start(0, async move {
                let (client, upload) = (store.client(), target.await?);
                let copied = client.upload_part_copy(&upload, number, &source, range, store.deadline).await;
                copied.map_err(|error| source_changed(error, &WriteMode::Overwrite))
            });
        }
        multipart.complete().await.map(|(meta, _)| meta)
    }

    /// An empty object has no part to copy: it is put anew.
    async fn rewrite_empty(&self, job: Job<'_>) -> Result<ObjectMeta, Error> {
        let tags = self.tags_of(&job).await?;
        let attributes = job.options.attributes.unwrap_or(job.head.attributes);
        let options = WriteOptions { attributes, tags, mode: job.options.mode, checksum_algorithm: None };
        self.put_payload(job.destination, Payload::default(), options).await
    }

    /// Reads from one S3 and writes to another, both at the slower one's pace.
    async fn relay(&self, job: Job<'_>) -> Result<ObjectMeta, Error> {
        let tags = self.tags_of(&job).await?;
        let attributes = job
            .options
            .attributes
            .clone()
            .unwrap_or_else(|| Attributes { storage_class: String::new(), ..job.head.attributes.clone() });
        let etag = Some(job.pinned.etag.clone()).filter(|etag| !etag.is_empty());
        let conditions = Conditions { if_match: etag, ..Conditions::default() };
        let read = ReadOptions { version: job.pinned.version.clone(), conditions };
        let whole: Option<ByteRange> = None;
        let mut reader = job
            .source
            .get(job.source_key, whole, &read)
            .await
            .map_err(|error| source_changed(error, &WriteMode::Overwrite))?;
        let size = Some(reader.info().meta.size);
        let write = WriteOptions { attributes, tags, mode: job.options.mode, checksum_algorithm: None };
        let relative = self.relative(job.destination)?;
        let mut upload = self.upload(&relative, UploadOptions { write, size, part_size: None })?;
        while let Some(bytes) = reader.next().await.transpose()? {
            upload.write(bytes).await?;
        }
        upload.finish(UploadClaim::default()).await.map(|uploaded| uploaded.meta)
    }

    /// The tags that a copy is to have where S3 does not copy them itself. A server that has no tags has none to keep.
    async fn tags_of(&self, job: &Job<'_>) -> Result<Tags, Error> {
        if let Some(tags) = &job.options.tags {
            return Ok(tags.clone());
        }
        if self.settings().disable_tagging || job.source.settings().disable_tagging {
            return Ok(Tags::new());
        }
        let version = job.pinned.version.as_deref();
        match job.source.client().get_object_tagging(&job.pinned.key, version, self.deadline).await {
            Err(error) if error.kind() == ErrorKind::OperationNotSupported => Ok(Tags::new()),
            Err(error) if error.kind() == ErrorKind::AccessDenied => {
                let message = "the source's tags cannot be read with its store's credentials: allow s3:GetObjectTagging, or give tags";
                Err(error.recast(ErrorKind::AccessDenied, message))
            }
            other => other,
        }
    }
}

/// Whether one S3 server can copy between the stores: it has both buckets, and one set of credentials opens both.
fn same_s3(destination: &StoreSettings, source: &StoreSettings) -> bool {
    destination.bucket.endpoint == source.bucket.endpoint
        && destination.bucket.region == source.bucket.region
        && destination.bucket.skip_signature == source.bucket.skip_signature
        && destination.credential_provider == source.credential_provider
}

/// The ranges to copy; `None` is the whole object, where one request can copy that.
fn parts(size: u64) -> Vec<Option<Range<u64>>> {
    if size < MAX_PART {
        return vec![None];
    }
    let part = COPY_PART.max(size.div_ceil(u64::from(MAX_PARTS)));
    (0..size.div_ceil(part)).map(|n| Some(n * part..size.min((n + 1) * part))).collect()
}

/// A server's own way to say that the key exists.
fn exists_by_status(error: Error, status: u16) -> Error {
    let said = error.service().map(|service| service.http_status);
    if status != 412 && said == Some(status) {
        return error.recast(ErrorKind::PreconditionFailed, "the destination exists");
    }
    error
}

/// Without a condition on the destination, a failed one is the source's: it was pinned to its ETag.
fn source_changed(error: Error, mode: &WriteMode) -> Error {
    match (error.kind(), mode) {
        (ErrorKind::PreconditionFailed, WriteMode::Overwrite) => error
            .recast(ErrorKind::ObjectChanged, "the source was replaced while it was copied: copy it anew"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_object_is_copied_in_parts_without_gaps() {
        assert_eq!(parts(MAX_PART - 1), [None]);
        for size in [MAX_PART, 6 * COPY_PART + 1, 20_000 * COPY_PART + 7] {
            let ranges: Vec<_> = parts(size).into_iter().flatten().collect();
            assert!(ranges.len() <= MAX_PARTS as usize);
            assert_eq!((ranges[0].start, ranges[ranges.len() - 1].end), (0, size));
            assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
        }
    }
}
