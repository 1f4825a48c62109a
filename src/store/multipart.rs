//! A multipart upload under way: parts in flight, and its end in S3 whatever happens here.

use std::future::Future;

use tokio::task::JoinSet;
use tracing::Instrument;

use super::{ChecksumAlgorithm, Error, ErrorKind, ObjectMeta, ReadOptions, S3Store};
use crate::s3::{Checksum, ChecksumHasher, MultipartUpload, NewObject, Part, WriteCondition, expected_etag};

/// A multipart upload. Dropped before its completion it is aborted in S3, in the background.
#[derive(Debug)]
pub(super) struct Multipart {
    store: S3Store,
    upload: MultipartUpload,
    object: NewObject,
    condition: WriteCondition,
    in_flight: JoinSet<Result<(Part, u64), Error>>,
    bytes_in_flight: u64,
    done: Vec<(Part, u64)>,
    ended: bool,
}

impl Multipart {
    /// Creates the upload in S3. The request outlives a dropped future, because its upload would otherwise stay with
    /// nobody who knows its id: made for nobody, it is aborted.
    pub(super) async fn begin(
        store: &S3Store,
        full_key: String,
        object: NewObject,
        condition: WriteCondition,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Self, Error> {
        let store = store.clone();
        let tasks = store.inner.tasks.clone();
        let creating = tasks.spawn(async move {
            let upload =
                store.client().create_multipart_upload(&full_key, &object, algorithm, store.deadline).await?;
            let (in_flight, bytes_in_flight, done, ended) = (JoinSet::new(), 0, Vec::new(), false);
            Ok(Self { store, upload, object, condition, in_flight, bytes_in_flight, done, ended })
        });
        creating
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Internal, "creating an upload was stopped")))
    }

    /// What S3 calls it.
    pub(super) fn upload(&self) -> &MultipartUpload {
        &self.upload
    }

    /// The number of the next part.
    pub(super) fn next_number(&self) -> u32 {
        u32::try_from(self.done.len() + self.in_flight.len() + 1).unwrap_or(u32::MAX)
    }

    /// How many parts are under way.
    pub(super) fn parts_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many bytes are under way.
    pub(super) fn bytes_in_flight(&self) -> u64 {
        self.bytes_in_flight
    }

    /// Starts a part of `size` bytes.
    pub(super) fn start(
        &mut self,
        size: u64,
        part: impl Future<Output = Result<Part, Error>> + Send + 'static,
    ) {
        self.bytes_in_flight += size;
        self.in_flight.spawn(async move { Ok((part.await?, size)) }.in_current_span());
    }

    /// Waits for one part to end; `None` if none is under way. May be dropped without losing a part.
    pub(super) async fn part_done(&mut self) -> Option<Result<(), Error>> {
        let joined = self.in_flight.join_next().await?;
        Some(self.record(joined))
    }

    /// Notes the parts that have ended, without waiting.
    pub(super) fn parts_done(&mut self) -> Result<(), Error> {
        while let Some(joined) = self.in_flight.try_join_next() {
            self.record(joined)?;
        }
        Ok(())
    }

    /// Waits for all parts and makes the object; gives its metadata without key and size, and its number of parts.
    pub(super) async fn complete(mut self) -> Result<(ObjectMeta, u32), Error> {
        while let Some(part) = self.part_done().await {
            part?;
        }
        self.done.sort_by_key(|(part, _)| part.number);
        // The parts have been summed up when they were sent: their bytes need not be looked at again.
        let whole =
            ChecksumHasher::combine(self.done.iter().map(|(part, size)| (part.checksum.as_ref(), *size)));
        let whole = whole.as_ref();
        let parts: Vec<_> = std::mem::take(&mut self.done).into_iter().map(|(part, _)| part).collect();
        let store = self.store.clone();
        let outcome = store
            .client()
            .complete_multipart_upload(&self.upload, &parts, whole, &self.condition, store.deadline)
            .await;
        let meta = match outcome {
            Err(error) if self.condition == WriteCondition::None && error.unclear() => {
                self.recognise(&parts, whole, error).await?
            }
            outcome => store.settle(&self.upload.key, &self.object, &self.condition, outcome).await?,
        };
        self.ended = true;
        Ok((meta, u32::try_from(parts.len()).unwrap_or(u32::MAX)))
    }

    /// The completion's answer was lost: the object that is there is ours if it has the checksum of our bytes, or the
    /// ETag of our parts.
    async fn recognise(
        &self,
        parts: &[Part],
        whole: Option<&Checksum>,
        error: Error,
    ) -> Result<ObjectMeta, Error> {
        let current = ReadOptions::default();
        let found =
            self.store.client().head_object(current.selecting(&self.upload.key), self.store.deadline).await;
        let Ok(found) = found else { return Err(error) };
        let expected = expected_etag(parts);
        let same_etag =
            expected.is_some_and(|etag| etag.trim_matches('"') == found.meta.etag.trim_matches('"'));
        let same_bytes = whole.is_some_and(|checksum| found.meta.checksums.contains(checksum));
        if same_etag || same_bytes { Ok(found.meta) } else { Err(error) }
    }

    fn record(
        &mut self,
        joined: Result<Result<(Part, u64), Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let stopped = |_| Error::new(ErrorKind::Internal, "the upload of a part was stopped");
        let (part, size) = joined.map_err(stopped)??;
        self.bytes_in_flight -= size;
        self.done.push((part, size));
        Ok(())
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (store, upload) = (self.store.clone(), self.upload.clone());
        let mut in_flight = std::mem::take(&mut self.in_flight);
        self.store.inner.tasks.spawn(async move {
            // A part that S3 takes after the abort would stay: none may be under way any more.
            in_flight.shutdown().await;
            match store.client().abort_multipart_upload(&upload).await {
                Ok(()) => tracing::debug!("a multipart upload was aborted"),
                Err(error) if error.kind() == ErrorKind::UploadNotFound => {}
                Err(error) => {
                    tracing::warn!(%error, upload_id = upload.id, "a multipart upload could not be aborted and stays in S3");
                }
            }
        });
    }
}
