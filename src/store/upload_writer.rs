//! Resuming an upload: parts from where another call left off.

use std::sync::Arc;

use bytes::Bytes;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::{
    Error, ErrorKind, ResumableUpload, S3Store,
    filling::Filling,
    parts::{Parts, Target},
    schedule::{Persisted, Schedule},
};

/// A writer that goes on with an upload. Dropped, it drops the parts that are under way; the whole parts before them stay.
#[derive(Debug)]
pub struct UploadWriter {
    store: S3Store,
    listing: Listing,
    target: Target,
    schedule: Schedule,
    filling: Filling,
    /// The number of the part that fills, and where it begins.
    next: (u32, u64),
    parts: Parts,
}

/// What S3 has of an upload, once it has answered.
type Listing = Shared<BoxFuture<'static, Result<Arc<Persisted>, Error>>>;

impl S3Store {
    /// Resumes an upload at `offset`, where the whole parts that S3 has must end. Whether they do becomes known while the next
    /// parts fill: no part is sent before.
    pub async fn resume_upload(&self, upload: &ResumableUpload, offset: u64) -> Result<UploadWriter, Error> {
        let (store, resumed, known) = (self.clone(), upload.clone(), self.known_to_s3(upload)?);
        let listing = async move {
            let mut room = store.uncounted_listing();
            store.persisted(&resumed, &mut room).await.map(Arc::new)
        };
        // A task, since nobody may ask for its outcome while the first part fills.
        let listing = AbortOnDropHandle::new(self.inner.tasks.spawn(listing.in_current_span()));
        let stopped = |_| Error::new(ErrorKind::Internal, "the listing of an upload's parts was stopped");
        let listing = listing.map(move |joined| joined.map_err(stopped)?).boxed().shared();
        let target =
            listing.clone().map(move |persisted| continues_at(offset, persisted?.size).map(|()| known));
        let target = target.boxed().shared();
        let mut schedule = Schedule::of(upload);
        let (number, start) = schedule.part_at(offset);
        if start < offset {
            // Only a last part, which is shorter than it would be, can end here.
            target.clone().await?;
            schedule.size = Some(offset);
        }
        Ok(UploadWriter {
            store: self.clone(),
            listing,
            target,
            schedule,
            next: (number, offset),
            filling: Filling::new(self.inner.budget.clone(), self.record.clone(), upload.checksum_algorithm),
            parts: Parts::default(),
        })
    }
}

impl UploadWriter {
    /// How many bytes complete the part that fills.
    pub(crate) fn room(&self) -> Result<u64, Error> {
        Ok(self.part_size()?.saturating_sub(self.filling.len()))
    }

    /// Takes the next bytes; waits while as many parts are under way as may be. After an error the writer is over.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.parts.note_done()?;
        let end = self.next.1 + self.filling.len() + data.len() as u64;
        if let Some(size) = self.schedule.size.filter(|size| end > *size) {
            let message = format!("the object has {size} bytes, and this would make it {end}");
            return Err(Error::new(ErrorKind::SizeMismatch, message).with_field("chunk"));
        }
        let part = self.part_size()?;
        self.filling.push(data, part, Some(part)).await?;
        loop {
            let part = self.part_size()?;
            if self.filling.len() < part || part == 0 {
                return Ok(());
            }
            self.send(part).await?;
        }
    }

    /// Waits until a part has failed, S3 turns out not to have the bytes before it, or the caller is too slow for the memory that
    /// it holds. Poll it while waiting for the caller, and only then. Never ends while all is well; may be dropped without losing
    /// anything.
    pub async fn failed(&mut self) -> Error {
        let target = self.target.clone();
        tokio::select! {
            biased;
            Err(error) = target, if self.target.peek().is_none() => error,
            error = self.parts.failed() => error,
            error = self.filling.watch() => error,
        }
    }

    /// The object ends here: what is left over becomes its last part.
    pub async fn end(&mut self) -> Result<(), Error> {
        let left = self.filling.len();
        if left > 0 { self.send(left).await } else { Ok(()) }
    }

    /// Waits until S3 has all whole parts; gives how many bytes it has of the object, from the first on. What has come
    /// beyond the last whole part is dropped.
    pub async fn settle(mut self) -> Result<u64, Error> {
        self.target.await?;
        let mut parts = self.listing.await?.listed.clone();
        for (part, size) in self.parts.all_done().await? {
            parts.retain(|(other, _)| other.number != part.number);
            parts.push((part, size));
        }
        parts.sort_by_key(|(part, _)| part.number);
        Ok(self.schedule.persisted(parts).size)
    }

    /// The size of the part that fills; 0 where no more bytes are to come.
    fn part_size(&self) -> Result<u64, Error> {
        let (number, start) = self.next;
        self.schedule.part_size(number, start)
    }

    async fn send(&mut self, size: u64) -> Result<(), Error> {
        let (number, start) = self.next;
        let part = self.filling.take(size).await;
        self.parts.send(&self.store, &self.target, number, part, &self.schedule.sizes).await?;
        self.next = (number + 1, start + size);
        Ok(())
    }
}

/// Whether an upload of which S3 has `persisted` bytes continues at `offset`.
fn continues_at(offset: u64, persisted: u64) -> Result<(), Error> {
    if offset == persisted {
        return Ok(());
    }
    let message = format!("`spec.offset` is {offset}, and S3 has {persisted} bytes: go on from there");
    Err(Error::new(ErrorKind::UploadOffsetMismatch, message).with_persisted_size(persisted))
}
