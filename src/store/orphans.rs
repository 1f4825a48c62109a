//! Multipart uploads that nobody will finish: S3 keeps, and charges for, their parts until they are aborted.

use std::time::{Duration, SystemTime};

use super::{Error, ErrorKind, S3Store, UnfinishedUpload};
use crate::{s3::MultipartUpload, telemetry::cut};

/// The most that S3 puts on a page.
const PAGE: u16 = 1000;

/// When an unfinished upload is taken for one that nobody will finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrphanSettings {
    /// How long ago it was started, at least.
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
    /// Looks for uploads below the store's prefix that were started at least `settings.age` before `now`, and aborts them
    /// if that is wanted. Uploads whose beginning the server does not tell are left alone. One that cannot be aborted
    /// does not keep the others from it; the next search meets it again.
    pub async fn search_orphans(&self, settings: OrphanSettings, now: SystemTime) -> Result<Orphans, Error> {
        let mut orphans = Orphans::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.list_uploads("", after.as_deref(), PAGE).await?;
            for upload in page.uploads {
                let age = upload.started.and_then(|started| now.duration_since(started).ok());
                if age.is_some_and(|age| age >= settings.age) {
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

    /// Whether it was aborted, and not by another search.
    async fn abort_orphan(&self, upload: &UnfinishedUpload) -> bool {
        let aborted = async {
            let (key, id) = (self.full_key(&upload.key, "upload_id")?, upload.s3_upload_id.clone());
            self.client().abort_multipart_upload(&MultipartUpload { key, id, algorithm: None }).await
        };
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
