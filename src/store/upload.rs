//! Writes an object from a stream of bytes, whose size may be unknown.

use bytes::Bytes;
use http::HeaderMap;

use super::{
    ChecksumAlgorithm, ChecksumType, Error, ErrorKind, Field, ObjectMeta, Properties, S3Store, UploadClaim,
    UploadOptions, Uploaded,
    conditional::Carrier,
    transfer::{chunk::compare, filling::Filling, multipart::Multipart, part_size::PartSizes},
};
use crate::s3::{NewObject, StreamCrc32c};

/// An upload in progress. A small object is written with one PutObject, a larger one with a multipart upload.
/// Dropping it before [`Upload::finish`] has returned aborts it in S3: nothing becomes visible and nothing stays
/// behind.
///
/// It buffers the part being filled and the parts in flight. A single part, and all parts in flight together, are
/// limited to the store's `part_size × max_concurrency`, or to 128 MiB if that product is smaller. Everything beyond
/// the first 64 KiB comes from the tenant's share of the memory budget. [`Upload::write`] waits if the share is used
/// up.
#[derive(Debug)]
pub struct Upload {
    store: S3Store,
    key: String,
    full_key: String,
    /// The headers that describe the object.
    headers: HeaderMap,
    options: UploadOptions,
    sizes: PartSizes,
    filling: Filling,
    received: u64,
    crc32c: StreamCrc32c,
    multipart: Option<Multipart>,
}

impl S3Store {
    /// Begins an upload. Nothing is sent to S3 before more than `multipart_threshold` bytes have arrived or the
    /// upload is finished.
    pub fn upload(&self, key: &str, options: UploadOptions) -> Result<Upload, Error> {
        let headers = options.write.attributes.headers()?;
        self.upload_described(key, headers, options)
    }

    /// Begins an upload like [`S3Store::upload`]. The object is described by `headers` instead of the attributes in
    /// `options`.
    pub(super) fn upload_described(
        &self,
        key: &str,
        headers: HeaderMap,
        options: UploadOptions,
    ) -> Result<Upload, Error> {
        let full_key = self.full_key(key, Field::Key)?;
        self.require_tagging(&options.write.tags)?;
        let sizes = PartSizes::new(options.size, options.part_size, self.settings().transfer)?;
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
    /// Adds the next bytes. Waits while the maximum number of parts is in flight, which slows the caller down to the
    /// speed of S3. After an error the upload is over.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.crc32c.update(&data);
        self.take(data).await
    }

    /// Adds the next bytes like [`Upload::write`], in the pieces in which they arrived. If a CRC-32C is given, fails
    /// unless they have it.
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
            multipart.parts.record_finished()?;
        }
        let room = self.room()?;
        self.received += data.len() as u64;
        if let Some(size) = self.options.size
            && self.received > size
        {
            let message = format!(
                "the size announced at the start is {size} bytes, but {} have already arrived",
                self.received
            );
            return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::Size));
        }
        let cut = self.cut()?;
        self.filling.push(data, room, cut).await?;
        while self.exceeds_one_put() && self.filling.len() >= self.next_size()? {
            let size = self.next_size()?;
            self.start_part(size).await?;
        }
        Ok(())
    }

    /// Waits until a part fails, or the caller is too slow for the memory that it holds. Poll it only while waiting
    /// for the caller, because it measures the caller's speed. It does not return while the upload is healthy. Cancel
    /// safe.
    pub async fn failed(&mut self) -> Error {
        let Some(multipart) = &mut self.multipart else { return self.filling.watch().await };
        tokio::select! {
            biased;
            error = multipart.parts.failed() => error,
            error = self.filling.watch() => error,
        }
    }

    /// Waits until a part fails, while the server keeps the caller waiting because of a limit. Memory that other calls
    /// wait for is given back meanwhile. Cancel safe.
    pub async fn held_back(&mut self) -> Error {
        let Some(multipart) = &mut self.multipart else { match self.filling.hold_back().await {} };
        tokio::select! {
            biased;
            error = multipart.parts.failed() => error,
            never = self.filling.hold_back() => match never {},
        }
    }

    /// Verifies the received bytes against `claim`, writes the rest of them, and makes the object visible.
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
            return Err(Error::new(ErrorKind::Internal, "a multipart upload has no parts"));
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

    /// Number of bytes to reserve memory for: a part, or all bytes that may arrive before it is known whether one
    /// PutObject is enough.
    fn room(&self) -> Result<u64, Error> {
        let threshold = self.store.settings().transfer.multipart_threshold;
        let part = self.next_size()?;
        let most = if self.multipart.is_some() { part } else { part.max(threshold) };
        let in_parts = self.received - self.filling.len();
        let left = self.options.size.map_or(u64::MAX, |size| size.saturating_sub(in_parts));
        Ok(most.min(left))
    }

    /// Number of bytes after which a new checksum starts: a part, or no limit if one PutObject will write the object.
    /// `None` if that is not known yet and checksums of parts could not be combined for a PutObject.
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

    /// What to write besides the bytes.
    fn object(&self) -> NewObject {
        let write = &self.options.write;
        NewObject {
            headers: self.headers.clone(),
            tags: write.tags.clone(),
            write_id: self.store.write_id_for(&write.mode),
        }
    }

    fn verify(&mut self, claim: UploadClaim) -> Result<(), Error> {
        let sizes = [
            (self.options.size, Field::Size, "announced at the start"),
            (claim.size, Field::FinalSize, "given at the end"),
        ];
        for (size, field, when) in sizes {
            if let Some(size) = size.filter(|size| *size != self.received) {
                let message = format!("the size {when} is {size} bytes, but {} have arrived", self.received);
                return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(field));
            }
        }
        let Some(claimed) = claim.crc32c else { return Ok(()) };
        if self.crc32c.sum() == claimed {
            return Ok(());
        }
        let message = "the received bytes do not match their CRC-32C: upload the object again";
        Err(Error::new(ErrorKind::ChecksumMismatch, message).with_field(Field::FinalCrc32c))
    }
}
