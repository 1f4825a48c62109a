//! Finds abandoned multipart uploads. S3 keeps their parts, and charges for them, until they are aborted.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, stream};

use super::{Error, ErrorKind, Field, OrphanSettings, S3Store, UnfinishedUpload};
use crate::{
    s3::{ListedParts, MultipartUpload},
    telemetry::cut,
};

/// S3's maximum page size.
const PAGE: u16 = 1000;

/// The result of a search for orphans.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orphans {
    /// Number of orphans.
    pub found: u64,
    /// Number of orphans that were aborted.
    pub aborted: u64,
    /// Number of old uploads that were left alone, because S3 did not list their parts or not the times of these.
    pub unknown: u64,
    /// The one that was started first.
    pub oldest: Option<UnfinishedUpload>,
}

/// The state of an old upload.
enum UploadState {
    Orphan,
    InUse,
    Unknown,
}

/// How many uploads are examined, and aborted, at the same time.
const CONCURRENCY: usize = 8;

impl S3Store {
    /// Finds uploads under the store's prefix that were started at least `settings.age` ago and have no younger part,
    /// by the server's clock, and aborts them if `settings.abort` is set. Uploads for which the server does not report
    /// times are left alone. If an upload cannot be aborted, the search continues with the others; the next search
    /// finds it again. If the search fails or is dropped, `orphans` has what it found before.
    pub async fn search_orphans(&self, settings: OrphanSettings, orphans: &mut Orphans) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let page = self.list_uploads("", after.as_deref(), PAGE).await?;
            let old =
                page.uploads.into_iter().filter(|upload| is_old(upload.started, page.now, settings.age));
            let mut examined = stream::iter(old)
                .map(async |upload| (self.state_of(&upload, settings.age).await, upload))
                .buffer_unordered(CONCURRENCY);
            let mut found = Vec::new();
            while let Some((state, upload)) = examined.next().await {
                match state {
                    UploadState::InUse => {}
                    UploadState::Unknown => orphans.unknown += 1,
                    UploadState::Orphan => {
                        orphans.note(&upload);
                        found.push(upload);
                    }
                }
            }
            if !settings.abort {
                found.clear();
            }
            let mut aborts = stream::iter(found)
                .map(async |upload| self.abort_orphan(&upload).await)
                .buffer_unordered(CONCURRENCY);
            while let Some(aborted) = aborts.next().await {
                orphans.aborted += u64::from(aborted);
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether an old upload is still in use, judged by the age of its newest part.
    async fn state_of(&self, upload: &UnfinishedUpload, age: Duration) -> UploadState {
        let listed = async {
            let mut memory = self.page_memory();
            self.client().list_parts(&self.found(upload)?, &mut memory).await
        };
        match listed.await {
            Ok(ListedParts { now: None, .. }) => UploadState::Unknown,
            Ok(ListedParts { parts, newest: None, .. }) if !parts.is_empty() => UploadState::Unknown,
            // Without parts the start is compared with this response's clock.
            Ok(ListedParts { newest, now, .. }) if is_old(newest.or(upload.started), now, age) => {
                UploadState::Orphan
            }
            Ok(_) => UploadState::InUse,
            Err(error) if error.kind() == ErrorKind::UploadNotFound => UploadState::InUse,
            Err(error) => {
                tracing::debug!(%error, key = &*cut(&upload.key, 256), "the parts of an old upload could not be listed");
                UploadState::Unknown
            }
        }
    }

    fn found(&self, upload: &UnfinishedUpload) -> Result<MultipartUpload, Error> {
        let key = self.full_key(&upload.key, Field::UploadId)?;
        Ok(MultipartUpload { key, id: upload.s3_upload_id.clone(), algorithm: None })
    }

    /// Aborts an orphan. Returns `false` if that fails, or if the upload is already gone.
    async fn abort_orphan(&self, upload: &UnfinishedUpload) -> bool {
        let aborted = async { self.client().abort_multipart_upload(&self.found(upload)?).await };
        match aborted.await {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::UploadNotFound => false,
            Err(error) => {
                tracing::warn!(%error, key = &*cut(&upload.key, 256), "an orphaned upload could not be aborted");
                false
            }
        }
    }
}

/// Whether `then` is at least `age` before `now`; `false` if either is unknown.
fn is_old(then: Option<SystemTime>, now: Option<SystemTime>, age: Duration) -> bool {
    now.zip(then).is_some_and(|(now, then)| now.duration_since(then).is_ok_and(|passed| passed >= age))
}

impl Orphans {
    fn note(&mut self, upload: &UnfinishedUpload) {
        self.found += 1;
        if self.oldest.as_ref().is_none_or(|oldest| upload.started < oldest.started) {
            self.oldest = Some(upload.clone());
        }
    }
}
