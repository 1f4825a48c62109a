//! Multipart uploads that nobody will finish: S3 keeps, and charges for, their parts until they are aborted.

use std::time::{Duration, SystemTime};

use super::{Error, ErrorKind, S3Store, UnfinishedUpload};
use crate::{s3::MultipartUpload, telemetry::cut};

/// The most that S3 puts on a page.
const PAGE: u16 = 1000;

/// When an unfinished upload is taken for one that nobody will finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanSettings {
    /// How long ago it was started, and its last part written, at least.
    pub age: Duration,
    /// Whether it is aborted. Otherwise it is only told of: in a bucket that others write to as well, it may be theirs.
    pub abort: bool,
}

/// What a search for such uploads has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Orphans {
    /// How many there were.
    pub found: u64,
    /// How many of them were aborted.
    pub aborted: u64,
    /// The one that was started first.
    pub oldest: Option<UnfinishedUpload>,
}

impl S3Store {
    /// Looks for uploads below the store's prefix that were started at least `settings.age` before `now` and received no part since,
    /// and aborts them if that is wanted. Uploads whose times the server does not tell are left alone. One that cannot be aborted
    /// does not keep the others from it; the next search meets it again.
    pub async fn search_orphans(&self, settings: OrphanSettings, now: SystemTime) -> Result<Orphans, Error> {
        let mut orphans = Orphans::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.list_uploads("", after.as_deref(), PAGE).await?;
            let now = self.client().to_server_clock(now);
            let is_old = |time: SystemTime| now.duration_since(time).is_ok_and(|age| age >= settings.age);
            for upload in page.uploads {
                if upload.started.is_some_and(is_old) && self.received_no_part_since(&upload, is_old).await {
                    orphans.note(&upload);
                    if settings.abort {
                        orphans.aborted += u64::from(self.abort_orphan(&upload).await);
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(orphans);
            }
        }
    }

    /// Whether all parts of the upload are old; `false` if that is not known.
    async fn received_no_part_since(
        &self,
        upload: &UnfinishedUpload,
        is_old: impl Fn(SystemTime) -> bool,
    ) -> bool {
        let listed = async {
            let mut memory = self.page_memory();
            self.client().list_parts(&self.found(upload)?, self.deadline, &mut memory).await
        };
        match listed.await {
            Ok(listed) => listed.parts.is_empty() || listed.newest.is_some_and(is_old),
            Err(error) if error.kind() == ErrorKind::UploadNotFound => false,
            Err(error) => {
                tracing::warn!(%error, key = &*cut(&upload.key, 256), "the parts of an old upload could not be listed");
                false
            }
        }
    }

    fn found(&self, upload: &UnfinishedUpload) -> Result<MultipartUpload, Error> {
        let key = self.full_key(&upload.key, "upload_id")?;
        Ok(MultipartUpload { key, id: upload.s3_upload_id.clone(), algorithm: None })
    }

    /// Whether it was aborted, and not by another search.
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

impl Orphans {
    fn note(&mut self, upload: &UnfinishedUpload) {
        self.found += 1;
        if self.oldest.as_ref().is_none_or(|oldest| upload.started < oldest.started) {
            self.oldest = Some(upload.clone());
        }
    }
}
