//! Multipart uploads that nobody will finish: S3 keeps, and charges for, their parts until they are aborted.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, stream};

use super::{Error, ErrorKind, S3Store, UnfinishedUpload};
use crate::{
    s3::{ListedParts, MultipartUpload},
    telemetry::cut,
};

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
    /// How many old ones were left alone, because S3 did not list their parts, or not when these were written.
    pub unknown: u64,
    /// The one that was started first.
    pub oldest: Option<UnfinishedUpload>,
}

/// What is known of an old upload.
enum Verdict {
    Orphan,
    InUse,
    Unknown,
}

/// How many uploads are looked into at a time.
const WIDTH: usize = 8;

impl S3Store {
    /// Looks for uploads below the store's prefix that were started at least `settings.age` ago and have no part that is younger, by the
    /// server's clock, and aborts them if that is wanted. Uploads whose times the server does not tell are left alone. One that
    /// cannot be aborted does not keep the others from it; the next search meets it again. What was found is in `orphans` also if
    /// the search fails or is dropped.
    pub async fn search_orphans(&self, settings: OrphanSettings, orphans: &mut Orphans) -> Result<(), Error> {
        let mut after: Option<String> = None;
        loop {
            let page = self.list_uploads("", after.as_deref(), PAGE).await?;
            let old =
                page.uploads.into_iter().filter(|upload| is_old(upload.started, page.now, settings.age));
            let mut judged = stream::iter(old)
                .map(async |upload| (self.judge(&upload, settings.age).await, upload))
                .buffer_unordered(WIDTH);
            while let Some((verdict, upload)) = judged.next().await {
                match verdict {
                    Verdict::InUse => {}
                    Verdict::Unknown => orphans.unknown += 1,
                    Verdict::Orphan => {
                        orphans.note(&upload);
                        if settings.abort {
                            orphans.aborted += u64::from(self.abort_orphan(&upload).await);
                        }
                    }
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether an old upload is in use still, by the age of its newest part.
    async fn judge(&self, upload: &UnfinishedUpload, age: Duration) -> Verdict {
        let listed = async {
            let mut memory = self.page_memory();
            self.client().list_parts(&self.found(upload)?, self.deadline, &mut memory).await
        };
        match listed.await {
            Ok(ListedParts { now: None, .. }) => Verdict::Unknown,
            Ok(ListedParts { parts, newest: None, .. }) if !parts.is_empty() => Verdict::Unknown,
            // The clocks of the server's machines may differ: the start is compared once more.
            Ok(ListedParts { newest, now, .. }) if is_old(newest.or(upload.started), now, age) => {
                Verdict::Orphan
            }
            Ok(_) => Verdict::InUse,
            Err(error) if error.kind() == ErrorKind::UploadNotFound => Verdict::InUse,
            Err(error) => {
                tracing::debug!(%error, key = &*cut(&upload.key, 256), "the parts of an old upload could not be listed");
                Verdict::Unknown
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

/// Whether `then` is at least `age` before `now`; `false` if either is not known.
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
