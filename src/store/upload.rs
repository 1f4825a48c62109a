//! Writing an object whose bytes come one after another, of any and also of unknown size.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    ChecksumAlgorithm, ChecksumType, Error, ErrorKind, ObjectMeta, Properties, S3Store, UploadClaim,
    UploadOptions, Uploaded, chunk::compare, conditional::Carrier, filling::Filling, multipart::Multipart,
    part_size::PartSizes,
};
use crate::s3::{NewObject, StreamCrc32c};

/// An upload under way. Small objects become one put, larger ones a multipart upload. Dropping it before
/// [`Upload::finish`] has ended aborts it in S3: nothing becomes visible and nothing stays behind.
///
/// It holds in memory the part that fills and those under way: no part, and all parts under way together, are larger
/// than the store's `part_size × max_concurrency`, or 128 MiB where that is less. Beyond the first 64 KiB all of that is memory
/// of the tenant's share of the budget. [`Upload::write`] waits for it where it is used up.
#[derive(Debug)]
pub struct Upload {
    store: S3Store,
    key: String,
    full_key: String,
    /// What describes the object.
    headers: HeaderMap,
    options: UploadOptions,
    sizes: PartSizes,
    filling: Filling,
    received: u64,
    crc32c: StreamCrc32c,
    multipart: Option<Multipart>,
}

impl S3Store {
    /// Begins an upload; nothing is sent before there are more bytes than `multipart_threshold`.
    pub fn upload(&self, key: &str, options: UploadOptions) -> Result<Upload, Error> {
        let headers = options.write.attributes.headers().map_err(in_the_spec)?;
        self.upload_described(key, headers, options)
    }

    /// As [`S3Store::upload`], of an object that is described by `headers` instead of `options`.
    pub(super) fn upload_described(
        &self,
        key: &str,
        headers: HeaderMap,
        options: UploadOptions,
    ) -> Result<Upload, Error> {
        let full_key = self.full_key(key, "spec.key")?;
        self.require_tagging(&options.write.tags)?;
        let sizes =
            PartSizes::new(options.size, options.part_size, self.settings().transfer).map_err(in_the_spec)?;
        Ok(Upload {
            store: self.clone(),
            key: key.to_owned(),
            full_key,
            headers,
            sizes,
            filling: Filling::new(
                self.inner.budget.clone(),
                self.record.clone(),
                self.client().checksum_for(options.write.checksum_algorithm),
            ),
            options,
            received: 0,
            crc32c: StreamCrc32c::new(),
            multipart: None,
        })
    }
}

impl Upload {
    /// Takes the next bytes; waits while as many parts are under way as may be, so that S3's pace becomes the
    /// caller's. After an error the upload is over.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.crc32c.update(&data);
        self.take(data).await
    }

    /// As [`Upload::write`], with bytes in the pieces in which they came, and the CRC-32C that they should have.
    pub async fn write_chunk(&mut self, pieces: Vec<Bytes>, crc32c: Option<u32>) -> Result<(), Error> {
        match crc32c {
            Some(expected) => compare("a chunk", expected, self.crc32c.chunk(&pieces))?,
            None => {
                for piece in &pieces {
                    self.crc32c.update(piece);
                }
            }
        }
        for piece in pieces {
            self.take(piece).await?;
        }
        Ok(())
    }

    async fn take(&mut self, data: Bytes) -> Result<(), Error> {
        if let Some(multipart) = &mut self.multipart {
            multipart.parts.note_done()?;
        }
        let room = self.room()?;
        self.received += data.len() as u64;
        if let Some(size) = self.options.size
            && self.received > size
        {
            let message = format!("spec.size is {size} bytes, and {} have come already", self.received);
            return Err(Error::new(ErrorKind::SizeMismatch, message).with_field("spec.size"));
        }
        let cut = self.cut()?;
        self.filling.push(data, room, cut).await?;
        while self.exceeds_one_put() && self.filling.len() >= self.next_size()? {
            let size = self.next_size()?;
            self.start_part(size).await?;
        }
        Ok(())
    }

    /// Waits until a part has failed, or the caller is too slow for the memory that it holds. Poll it while waiting for the
    /// caller, and only then: the caller's speed is measured by it. Never ends while all is well; may be dropped without losing
    /// anything.
    pub async fn failed(&mut self) -> Error {
        let Some(multipart) = &mut self.multipart else { return self.filling.watch().await };
        tokio::select! {
            biased;
            error = multipart.parts.failed() => error,
            error = self.filling.watch() => error,
        }
    }

    /// Holds what has come against `claim`, writes what is left, and makes the object visible.
    pub async fn finish(mut self, claim: UploadClaim) -> Result<Uploaded, Error> {
        self.verify(claim)?;
        if !self.exceeds_one_put() {
            let (payload, _memory) = self.filling.take(u64::MAX).await.into_parts();
            let mode = &self.options.write.mode;
            let condition = self.store.condition(&self.full_key, mode, Carrier::Put).await?;
            let properties =
                self.store.put_object(&self.full_key, payload, &self.object(), &condition).await?;
            return Ok(self.uploaded(properties, 0));
        }
        while self.filling.len() > 0 {
            let size = self.next_size()?.min(self.filling.len());
            self.start_part(size).await?;
        }
        let Some(multipart) = self.multipart.take() else {
            return Err(Error::new(ErrorKind::Internal, "an upload of many parts has none"));
        };
        let (properties, parts) = multipart.complete().await?;
        Ok(self.uploaded(properties, parts))
    }

    fn uploaded(self, properties: Properties, parts: u32) -> Uploaded {
        Uploaded { meta: ObjectMeta { key: self.key, size: self.received, properties }, parts }
    }

    fn exceeds_one_put(&self) -> bool {
        self.received > self.store.settings().transfer.multipart_threshold
    }

    fn next_size(&self) -> Result<u64, Error> {
        self.sizes.of(self.multipart.as_ref().map_or(1, Multipart::next_number))
    }

    /// How many bytes the part that fills needs memory for: all that may come before it is known whether one put will do.
    fn room(&self) -> Result<u64, Error> {
        let threshold = self.store.settings().transfer.multipart_threshold;
        let part = self.next_size()?;
        let most = if self.multipart.is_some() { part } else { part.max(threshold) };
        let in_parts = self.received - self.filling.len();
        let left = self.options.size.map_or(u64::MAX, |size| size.saturating_sub(in_parts));
        Ok(most.min(left))
    }

    /// Where sums of what comes are to begin anew: at the end of each part, unless all of it will be one put. `None` where that
    /// is open, and the sums of parts would be of no use for a put.
    fn cut(&self) -> Result<Option<u64>, Error> {
        let threshold = self.store.settings().transfer.multipart_threshold;
        let part = self.next_size()?;
        let composite = |algorithm: ChecksumAlgorithm| algorithm.multipart_type() == ChecksumType::Composite;
        Ok(match self.options.size {
            Some(size) if size <= threshold => Some(u64::MAX),
            None if self.multipart.is_none()
                && threshold > part
                && self.filling.algorithm().is_some_and(composite) =>
            {
                None
            }
            _ => Some(part),
        })
    }

    async fn start_part(&mut self, size: u64) -> Result<(), Error> {
        if self.multipart.is_none() {
            self.multipart = Some(self.begin()?);
        }
        let Some(multipart) = &mut self.multipart else { return Ok(()) };
        let (target, number) = (multipart.target().clone(), multipart.next_number());
        let part = self.filling.take(size).await;
        multipart.parts.send(&self.store, &target, number, part, &self.sizes).await
    }

    fn begin(&self) -> Result<Multipart, Error> {
        let (mode, algorithm) = (self.options.write.mode.clone(), self.filling.algorithm());
        Multipart::begin(&self.store, self.full_key.clone(), self.object(), mode, algorithm)
    }

    /// What is to be written besides the bytes.
    fn object(&self) -> NewObject {
        let write = &self.options.write;
        NewObject {
            headers: self.headers.clone(),
            tags: write.tags.clone(),
            write_id: self.store.write_id_for(&write.mode),
        }
    }

    fn verify(&mut self, claim: UploadClaim) -> Result<(), Error> {
        for (size, field) in [(self.options.size, "spec.size"), (claim.size, "finish.size")] {
            if let Some(size) = size.filter(|size| *size != self.received) {
                let message = format!("{field} is {size} bytes, and {} have come", self.received);
                return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(field));
            }
        }
        let Some(claimed) = claim.crc32c else { return Ok(()) };
        if self.crc32c.sum() == claimed {
            return Ok(());
        }
        let message = "the bytes that have come do not have the crc32c given in finish";
        Err(Error::new(ErrorKind::ChecksumMismatch, message).with_field("finish.crc32c"))
    }
}

/// What is wrong with a size, where the sizes are in the upload's spec.
fn in_the_spec(error: Error) -> Error {
    match error.field() {
        Some("size") => error.with_field("spec.size"),
        Some("part_size") => error.with_field("spec.part_size"),
        Some("attributes.content_type") => error.with_field("spec.attributes.content_type"),
        Some("attributes.content_encoding") => error.with_field("spec.attributes.content_encoding"),
        Some("attributes.content_language") => error.with_field("spec.attributes.content_language"),
        Some("attributes.content_disposition") => error.with_field("spec.attributes.content_disposition"),
        Some("attributes.cache_control") => error.with_field("spec.attributes.cache_control"),
        Some("attributes.expires") => error.with_field("spec.attributes.expires"),
        Some("attributes.storage_class") => error.with_field("spec.attributes.storage_class"),
        Some("attributes.metadata") => error.with_field("spec.attributes.metadata"),
        _ => error,
    }
}
