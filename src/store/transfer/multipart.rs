//! A multipart upload in progress. If its call ends early, it is aborted in S3.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures::FutureExt as _;

use super::parts::{Parts, Target};
use crate::store::{
    ChecksumAlgorithm, Error, ErrorKind, Properties, ReadOptions, S3Store, WriteMode, conditional::Carrier,
};
use crate::{
    s3::{
        Checksum, ChecksumHasher, HeadAnswer, MultipartUpload, NewObject, Part, WriteCondition, expected_etag,
    },
    telemetry::cut,
};

/// A multipart upload. Dropping it before its completion aborts it in S3, in the background.
#[derive(Debug)]
pub(in crate::store) struct Multipart {
    store: S3Store,
    target: Target,
    object: NewObject,
    condition: WriteCondition,
    pub(in crate::store) parts: Parts,
    /// Whether S3 was asked to create it.
    requested: Arc<AtomicBool>,
    ended: bool,
}

impl Multipart {
    /// Begins an upload, if `mode` allows it. S3 creates it while its first parts wait. If it is dropped in the
    /// meantime, the CreateMultipartUpload request still runs to its end, because only the response has the id that
    /// the abort needs.
    pub(in crate::store) fn begin(
        store: &S3Store,
        full_key: String,
        object: NewObject,
        mode: WriteMode,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Self, Error> {
        let condition = store.condition_for_s3(&mode, Carrier::Complete)?;
        let (creating, new) = (store.clone(), object.clone());
        let requested = Arc::<AtomicBool>::default();
        let request = Arc::clone(&requested);
        let target = async move {
            creating.require_version(&full_key, &mode).await?;
            request.store(true, Relaxed);
            creating.client().create_multipart_upload(&full_key, &new, algorithm).await
        };
        let (store, target) = (store.clone(), target.boxed().shared());
        Ok(Self { store, target, object, condition, parts: Parts::default(), requested, ended: false })
    }

    /// Replaces the condition of the completion, which is otherwise that of the mode.
    pub(in crate::store) fn completed_on(mut self, condition: WriteCondition) -> Self {
        self.condition = condition;
        self
    }

    /// The upload to send parts to.
    pub(in crate::store) fn target(&self) -> &Target {
        &self.target
    }

    /// The number of the next part.
    pub(in crate::store) fn next_number(&self) -> u32 {
        u32::try_from(self.parts.count() + 1).unwrap_or(u32::MAX)
    }

    /// Waits for all parts, then completes the upload. Returns the properties of the object and its number of parts.
    /// If it is dropped during the completion, or the outcome of that is unclear, the upload is not aborted: Ceph,
    /// SeaweedFS and others have lost finished objects when an abort arrived during or after a slow completion
    /// (<https://github.com/ceph/ceph/pull/60771>).
    pub(in crate::store) async fn complete(mut self) -> Result<(Properties, u32), Error> {
        let parts = self.parts.all_done().await?;
        let upload = self.target.clone().await?;
        self.ended = true;
        let outcome = self.store.complete(&upload, &parts, &self.object, &self.condition).await;
        if let Err(error) = &outcome {
            self.ended = error.unclear();
        }
        Ok((outcome?, u32::try_from(parts.len()).unwrap_or(u32::MAX)))
    }

    /// Leaves the upload in S3, for other calls to resume.
    pub(in crate::store) async fn leave(mut self) -> Result<MultipartUpload, Error> {
        let upload = self.target.clone().await?;
        self.ended = true;
        Ok(upload)
    }
}

impl S3Store {
    /// Completes an upload of `parts`, each with its size in bytes. Returns the properties of the object.
    pub(in crate::store) async fn complete(
        &self,
        upload: &MultipartUpload,
        parts: &[(Part, u64)],
        object: &NewObject,
        condition: &WriteCondition,
    ) -> Result<Properties, Error> {
        // The checksums of the parts were computed before they were sent, so their bytes are not read again.
        let whole = whole_checksum(parts);
        let whole = whole.as_ref();
        let parts: Vec<_> = parts.iter().map(|(part, _)| part.clone()).collect();
        let outcome = self.client().complete_multipart_upload(upload, &parts, whole, condition).await;
        match outcome {
            Err(error) if *condition == WriteCondition::None && error.unclear() => {
                self.recognise(upload, &parts, whole, error).await
            }
            outcome => self.settle(&upload.key, object, condition, outcome).await,
        }
    }

    /// Decides whether an upload was completed although the response was lost: the existing object is ours if it has
    /// the checksum of our bytes, or the ETag of our parts.
    async fn recognise(
        &self,
        upload: &MultipartUpload,
        parts: &[Part],
        whole: Option<&Checksum>,
        error: Error,
    ) -> Result<Properties, Error> {
        let current = ReadOptions::default();
        let found = self.client().head_object(current.selecting(&upload.key)).await;
        let Ok(HeadAnswer { properties, .. }) = found else { return Err(error) };
        let unquoted = |etag: &str| etag.trim_matches('"').to_owned();
        let same_etag = expected_etag(parts)
            .is_some_and(|expected| properties.etag.as_deref().map(unquoted) == Some(unquoted(&expected)));
        let same_bytes = whole.is_some_and(|checksum| properties.checksums.contains(checksum));
        if same_etag || same_bytes { Ok(properties) } else { Err(error) }
    }
}

/// The checksum of the whole object, if it can be combined from those of its parts.
pub(in crate::store) fn whole_checksum(parts: &[(Part, u64)]) -> Option<Checksum> {
    ChecksumHasher::combine(parts.iter().map(|(part, size)| (part.checksum.as_ref(), *size)))
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (store, target, requested) =
            (self.store.clone(), self.target.clone(), Arc::clone(&self.requested));
        let mut parts = std::mem::take(&mut self.parts);
        self.store.inner.tasks.spawn(async move {
            // S3 would keep a part that arrives after the abort, so no part may be in flight.
            parts.stop().await;
            if !requested.load(Relaxed) {
                return;
            }
            // If S3 has not created the upload, there is nothing to abort.
            let Ok(upload) = target.await else { return };
            match store.client().abort_multipart_upload(&upload).await {
                Ok(()) => tracing::debug!("a multipart upload was aborted"),
                Err(error) if error.kind() == ErrorKind::UploadNotFound => {}
                Err(error) => {
                    tracing::warn!(%error, upload_id = &*cut(&upload.id, 256), "a multipart upload could not be aborted and stays in S3");
                }
            }
        });
    }
}
