//! Copies objects: with CopyObject if possible, in parts if the object is too large or the copy is conditional, and
//! relayed through Longshore if the two stores do not share an S3 server.

use std::ops::Range;

use http::HeaderMap;

use super::{
    ByteRange, Conditions, Copied, CopyIfNotExists, CopyOptions, Error, ErrorKind, FailedCondition, Field,
    ObjectMeta, Properties, ReadOptions, S3Store, StoreSettings, Tags, UploadClaim, UploadOptions, WriteMode,
    WriteOptions,
    conditional::Carrier,
    transfer::{
        multipart::Multipart,
        part_size::{MAX_PART, MAX_PARTS},
        pinned::{Pin, is_exact},
    },
};
use crate::s3::{
    CopyCondition, CopySource, HeadAnswer, NewObject, ObjectTags, REDIRECT, Replacement, STORAGE_CLASS,
    WriteCondition, is_writable_class,
};

/// Minimum size of the parts of a large copy, in bytes. Their bytes do not pass through Longshore, so only the number
/// of requests matters.
const COPY_PART: u64 = 1024 * 1024 * 1024;

/// A copy, and everything that is known about its source.
struct Job<'a> {
    source: &'a S3Store,
    source_key: &'a str,
    pinned: CopySource,
    head: HeadAnswer,
    destination: &'a str,
    storage_class: Option<String>,
    options: CopyOptions,
}

impl S3Store {
    /// Copies `key` of `source` to `destination` in this store. The copy keeps the attributes and the tags unless new
    /// ones are given. It keeps the storage class if the destination supports it. If the future is dropped, the
    /// destination may or may not have been written, but never partially.
    pub async fn copy_from(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        options: CopyOptions,
    ) -> Result<Copied, Error> {
        Box::pin(self.copy_pinned(source, key, destination, options)).await.map(|(copied, _)| copied)
    }

    /// Returns the copy, and the source as it was when it was copied.
    pub(super) async fn copy_pinned(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        options: CopyOptions,
    ) -> Result<(Copied, HeadAnswer), Error> {
        let source_key = source.full_key(key, Field::Source)?;
        let full_destination = self.full_key(destination, Field::Destination)?;
        if let Some(tags) = &options.tags {
            self.require_tagging(tags)?;
        }
        let selected = options.source.selecting(&source_key);
        let head = source.client().head_object(selected).await;
        let head = head.map_err(|error| match error.kind() {
            ErrorKind::NotModified => error
                .recast(
                    ErrorKind::PreconditionFailed,
                    "source_conditions do not hold: the source has not changed",
                )
                .with_unmet(FailedCondition::Other),
            _ => error,
        })?;
        self.check_size(head.size)?;
        self.progress.set_total(head.size);
        let mut found = head.clone();
        let Pin { version, if_match } = Pin::of(&options.source, &found.properties);
        let pinned = source.client().copy_source(source_key, version, if_match);
        let (storage_class, dropped_storage_class) = self.storage_class(source, &options, &found);
        let job = Job {
            source,
            source_key: key,
            pinned,
            head,
            destination: &full_destination,
            storage_class,
            options,
        };
        let (properties, size) = self.run_copy(job).await?;
        found.size = size;
        let meta = ObjectMeta { key: destination.to_owned(), size, properties };
        Ok((Copied { meta, dropped_storage_class }, found))
    }

    /// Returns the properties of the copy and its size in bytes.
    async fn run_copy(&self, mut job: Job<'_>) -> Result<(Properties, u64), Error> {
        if !same_s3(self.settings(), job.source.settings()) {
            return self.relay(job).await;
        }
        let conditional = job.options.mode != WriteMode::Overwrite;
        let by_multipart = conditional && self.settings().copy_if_not_exists == CopyIfNotExists::Multipart;
        if job.head.size == 0 {
            // Some servers answer HEAD with a length of 0 for objects that have bytes. A read shows the size.
            let pinned = ReadOptions { version: job.pinned.version.clone(), ..ReadOptions::default() };
            let selected = pinned.selecting(&job.pinned.key);
            job.head.size = job.source.client().object_size(selected, &job.head).await?;
            self.check_size(job.head.size)?;
        }
        let size = job.head.size;
        let properties = match size {
            // An empty object has no part to copy.
            0 if by_multipart => return self.relay(job).await,
            MAX_PART.. => self.copy_by_parts(job).await?,
            _ if by_multipart => self.copy_by_parts(job).await?,
            _ => self.copy_by_s3(job).await?,
        };
        Ok((properties, size))
    }

    /// Fails if a copy must not be this large.
    fn check_size(&self, bytes: u64) -> Result<(), Error> {
        match self.largest_copy {
            Some(most) if bytes > most => {
                let message = format!("the object has {bytes} bytes, and the call may write at most {most}");
                Err(Error::new(ErrorKind::LimitExceeded, message))
            }
            _ => Ok(()),
        }
    }

    /// Returns the storage class to request for a copy, and the source's class if it cannot be requested: an archive
    /// class, a class that is specific to the server, or one of another server.
    fn storage_class(
        &self,
        source: &S3Store,
        options: &CopyOptions,
        found: &HeadAnswer,
    ) -> (Option<String>, Option<String>) {
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        if let Some(attributes) = &options.attributes {
            return (named(&attributes.storage_class), None);
        }
        let Some(name) = found.properties.storage_class.clone() else { return (None, None) };
        let both_amazon = self.client().is_amazon() && source.client().is_amazon();
        let has_it = same_s3(self.settings(), source.settings()) || both_amazon;
        match name.as_str() {
            name if has_it && is_writable_class(name) => (Some(name.to_owned()), None),
            // Every server calls its default class `STANDARD`.
            "STANDARD" => (None, None),
            _ => (None, Some(name)),
        }
    }

    /// Copies with `CopyObject`.
    async fn copy_by_s3(&self, job: Job<'_>) -> Result<Properties, Error> {
        let by_header = matches!(self.settings().copy_if_not_exists, CopyIfNotExists::Header { .. });
        // `conditional_put` is about the standard headers, and does not apply to a header that is specific to the
        // server.
        let standard = match job.options.mode {
            WriteMode::Create if by_header => WriteCondition::Absent,
            ref mode => self.condition(job.destination, mode, Carrier::Copy).await?,
        };
        let (condition, exists) = match (&self.settings().copy_if_not_exists, &job.options.mode) {
            (CopyIfNotExists::Header { name, value, status }, WriteMode::Create) => {
                (CopyCondition::Header { name: name.clone(), value: value.clone() }, *status)
            }
            (CopyIfNotExists::Header { .. }, WriteMode::Update { .. }) => {
                let message = "the store's copy_if_not_exists names a header, which supports only create: set it to multipart or native to update by copy";
                return Err(Error::new(ErrorKind::ConditionsNotSupported, message));
            }
            _ => (CopyCondition::Standard(standard.clone()), 412),
        };
        let write_id = self.write_id_for(&job.options.mode);
        // The write id is metadata, which a copy keeps or replaces as a whole. A copy with a write id sends all of it.
        let described = job.options.attributes.is_some() || write_id.is_some();
        let object = if described { Some((job.description()?, write_id.clone())) } else { None };
        let kept = job.options.attributes.is_none();
        let replacement = Replacement {
            object,
            storage_class: job.storage_class.clone(),
            redirect: job.head.carried.get(REDIRECT).filter(|_| kept).cloned(),
            tags: job.options.tags.clone(),
        };
        let outcome = self.client().copy_object(&job.pinned, job.destination, &replacement, &condition).await;
        let outcome = match outcome.map_err(|error| exists_by_status(error, exists)) {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => {
                Err(self.attribute_condition(&job, error).await)
            }
            outcome => outcome,
        };
        let ours = NewObject { write_id, ..NewObject::default() };
        let settled = self.settle(job.destination, &ours, &standard, outcome).await;
        settled.map_err(|error| source_changed(error, &job.options.mode))
    }

    /// Finds out whether a failed condition is the source's or the destination's. `CopyObject` returns the same error
    /// for both, so the source is checked again.
    async fn attribute_condition(&self, job: &Job<'_>, error: Error) -> Error {
        let current = ReadOptions { version: job.pinned.version.clone(), ..ReadOptions::default() };
        match job.source.client().head_object(current.selecting(&job.pinned.key)).await {
            Ok(found) if found.properties.etag != job.head.properties.etag => {
                source_changed(error, &WriteMode::Overwrite)
            }
            Err(missing) if missing.kind() == ErrorKind::ObjectNotFound => {
                source_changed(error, &WriteMode::Overwrite)
            }
            _ => error,
        }
    }

    /// Copies with a multipart upload whose parts S3 copies. S3 does not copy attributes and tags in this way, so
    /// they are sent.
    async fn copy_by_parts(&self, job: Job<'_>) -> Result<Properties, Error> {
        let mode = job.options.mode.clone();
        let object = NewObject {
            tags: self.tags_of(&job).await?,
            headers: job.description()?,
            write_id: self.write_id_for(&mode),
        };
        let ranges = parts(job.head.size);
        if ranges.len() > 1 && !is_exact(job.pinned.version.as_deref(), job.pinned.etag.as_deref()) {
            let message = "the S3 server returns neither a strong ETag nor a version other than null for the source, so the copy could mix parts of two objects";
            return Err(Error::new(ErrorKind::BackendProtocol, message));
        }
        let mut multipart = Multipart::begin(self, job.destination.to_owned(), object, mode, None)?;
        for range in ranges {
            while multipart.parts.in_flight() >= self.settings().transfer.max_concurrency {
                multipart.parts.one_done().await.transpose()?;
            }
            let (store, target, source) = (self.clone(), multipart.target().clone(), job.pinned.clone());
            let number = multipart.next_number();
            multipart.parts.start(0, async move {
                let (client, upload) = (store.client(), target.await?);
                let bytes = range.as_ref().map_or(0, |range| range.end - range.start);
                let copied = client.upload_part_copy(&upload, number, &source, range).await;
                let copied = copied.map_err(|error| source_changed(error, &WriteMode::Overwrite))?;
                store.progress.add(bytes);
                Ok(copied)
            });
        }
        multipart.complete().await.map(|(properties, _)| properties)
    }

    /// Reads from one S3 server and writes to another, at the speed of the slower one.
    async fn relay(&self, job: Job<'_>) -> Result<(Properties, u64), Error> {
        let tags = self.tags_of(&job).await?;
        let headers = job.description()?;
        let conditions = Conditions { if_match: job.pinned.etag.clone(), ..Conditions::default() };
        let read = ReadOptions { version: job.pinned.version.clone(), conditions };
        let whole: Option<ByteRange> = None;
        let mut reader = job
            .source
            .get(job.source_key, whole, &read)
            .await
            .map_err(|error| source_changed(error, &WriteMode::Overwrite))?;
        job.require_same(&reader.info().meta, &reader.info().attributes.content_encoding)?;
        let size = Some(reader.info().meta.size);
        let write = WriteOptions { tags, mode: job.options.mode, ..WriteOptions::default() };
        let relative = self.relative(job.destination).unwrap_or_default();
        let options = UploadOptions { write, size, part_size: None };
        let mut upload = self.upload_described(&relative, headers, options).map_err(of_the_source)?;
        self.progress.set_total(reader.info().meta.size);
        while let Some(bytes) = reader.next().await.transpose()? {
            let count = bytes.len() as u64;
            upload.write(bytes).await?;
            self.progress.add(count);
        }
        upload
            .finish(UploadClaim::default())
            .await
            .map(|uploaded| (uploaded.meta.properties, uploaded.meta.size))
    }

    /// The tags to send with a copy if S3 does not copy them itself. A server that does not support tags has none to
    /// keep.
    async fn tags_of(&self, job: &Job<'_>) -> Result<Tags, Error> {
        if let Some(tags) = &job.options.tags {
            return Ok(tags.clone());
        }
        if job.source.settings().disable_tagging {
            return Ok(Tags::new());
        }
        let version = job.pinned.version.as_deref();
        match job.source.client().get_object_tagging(&job.pinned.key, version).await {
            Err(error) if error.kind() == ErrorKind::OperationNotSupported => Ok(Tags::new()),
            Err(error) if error.kind() == ErrorKind::AccessDenied => {
                let message = "the source store's credentials cannot read the source's tags: allow s3:GetObjectTagging, or give tags";
                Err(error.recast(ErrorKind::AccessDenied, message))
            }
            Ok(ObjectTags { tags, .. }) => self.require_tagging(&tags).map(|()| tags),
            Err(error) => Err(error),
        }
    }
}

/// The error of a copy whose request has no field for the value: the source determines it.
pub(super) fn of_the_source(error: Error) -> Error {
    match error.field() {
        Some(Field::Size | Field::PartSize | Field::Attributes | Field::Tags) => {
            error.with_field(Field::Source)
        }
        _ => error,
    }
}

impl Job<'_> {
    /// The headers that describe the copy.
    fn description(&self) -> Result<HeaderMap, Error> {
        if let Some(attributes) = &self.options.attributes {
            return attributes.headers();
        }
        if self.head.hides_metadata {
            let message = "the source has metadata that its server does not return, and a copy of this kind would lose it: give attributes, or use overwrite within one S3 server";
            return Err(Error::invalid_field(Field::Attributes, message));
        }
        let mut headers = self.head.carried.clone();
        // The name comes from a response header, so it parses.
        if let Some(class) = self.storage_class.as_deref().and_then(|class| class.parse().ok()) {
            headers.insert(STORAGE_CLASS, class);
        }
        Ok(headers)
    }

    /// Fails unless the object that is read is the one that HEAD described. Otherwise the copy could get another
    /// object's bytes, or the same bytes in another encoding.
    fn require_same(&self, read: &ObjectMeta, encoding: &str) -> Result<(), Error> {
        let head = &self.head;
        let etags = (&head.properties.etag, &read.properties.etag);
        if let (Some(ours), Some(theirs)) = etags
            && ours != theirs
        {
            return Err(Error::new(
                ErrorKind::ObjectChanged,
                "the source was replaced while it was being copied: copy it again",
            ));
        }
        // Some servers report a length of 0 for every object.
        let same_size = head.size == read.size || head.size == 0;
        if same_size && head.attributes.content_encoding == encoding {
            return Ok(());
        }
        let message =
            "the S3 server's answers to HEAD and GET for the source differ in size or content encoding";
        Err(Error::new(ErrorKind::BackendProtocol, message))
    }
}

/// Whether one S3 server can copy between the stores: it has both buckets, and both stores use the same credentials.
fn same_s3(destination: &StoreSettings, source: &StoreSettings) -> bool {
    destination.bucket.endpoint == source.bucket.endpoint
        && destination.bucket.region == source.bucket.region
        && destination.bucket.skip_signature == source.bucket.skip_signature
        && destination.credential_provider == source.credential_provider
}

/// The ranges to copy; `None` is the whole object, if one request can copy it.
fn parts(size: u64) -> Vec<Option<Range<u64>>> {
    if size < MAX_PART {
        return vec![None];
    }
    let part = COPY_PART.max(size.div_ceil(u64::from(MAX_PARTS)));
    (0..size.div_ceil(part)).map(|n| Some(n * part..size.min((n + 1) * part))).collect()
}

/// Recognises a status by which the server says that the key exists.
fn exists_by_status(error: Error, status: u16) -> Error {
    let said = error.service().map(|service| service.http_status);
    if status != 412 && said == Some(status) {
        return error.recast(ErrorKind::PreconditionFailed, "the destination exists");
    }
    error
}

/// If there is no condition on the destination, a failed condition is the source's, which is pinned to its ETag.
fn source_changed(error: Error, mode: &WriteMode) -> Error {
    match (error.kind(), mode) {
        (ErrorKind::PreconditionFailed, WriteMode::Overwrite) => error.recast(
            ErrorKind::ObjectChanged,
            "the source was replaced while it was being copied: copy it again",
        ),
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
