//! Resuming an upload: parts from any part boundary on.

use std::pin::pin;

use bytes::Bytes;
use futures::{FutureExt as _, future};
use tokio::sync::watch;

use super::{
    Error, ErrorKind, PersistedBytes, ResumableUpload, S3Store, UploadOffsets,
    filling::Filling,
    parts::{Parts, Target},
    schedule::Schedule,
};
use crate::s3::Part;

/// Writes consecutive parts of a resumable upload. Dropped, it drops the parts that are under way; those that S3 has stay.
#[derive(Debug)]
pub struct UploadWriter {
    store: S3Store,
    upload: ResumableUpload,
    target: Target,
    schedule: Schedule,
    filling: Filling,
    /// The number of the part that fills, and where it begins.
    next: (u32, u64),
    parts: Parts,
}

impl S3Store {
    /// Writes to an upload from `offset` on, where one of its parts must begin. The bytes that S3 has from the first on may end
    /// inside of a part only where that is the last one; then nothing can follow them.
    pub async fn resume_upload(&self, upload: &ResumableUpload, offset: u64) -> Result<UploadWriter, Error> {
        let mut schedule = Schedule::of(upload);
        let (number, start) = schedule.part_at(offset);
        if start < offset {
            let persisted_size = self.persisted(upload).await?.bytes.size;
            if offset != persisted_size {
                return Err(not_a_boundary(offset, persisted_size, schedule, (number, start)));
            }
            schedule.size = Some(offset);
        }
        let target: Target = future::ready(Ok(self.known_to_s3(upload)?)).boxed().shared();
        // Known from now on, and not only when the first part asks.
        let _ = target.clone().now_or_never();
        Ok(UploadWriter {
            store: self.clone(),
            upload: upload.clone(),
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
        self.fill(data, part).await?;
        loop {
            let part = self.part_size()?;
            if self.filling.len() < part || part == 0 {
                return Ok(());
            }
            self.send(part).await?;
        }
    }

    /// Reports to `listener`, whenever S3 has taken more of the bytes written from now on, where those end that it has without a gap,
    /// in bytes from the object's first.
    pub fn report_to(&mut self, listener: watch::Sender<u64>) {
        let (number, start) = self.next;
        self.parts.report_to(listener, number, start);
    }

    /// Waits until a part has failed, or the caller is too slow for the memory that it holds. Poll it while waiting for the caller,
    /// and only then. Never ends while all is well; may be dropped without losing anything.
    pub async fn failed(&mut self) -> Error {
        // A caller that is told of its progress may wait for S3: its time does not count while parts are being sent.
        while self.parts.is_reporting() && self.parts.under_way() > 0 {
            if let Some(Err(error)) = self.parts.one_done().await {
                return error;
            }
        }
        tokio::select! {
            biased;
            error = self.parts.failed() => error,
            error = self.filling.watch() => error,
        }
    }

    /// The object ends here: what is left over becomes its last part. Refused where the object is known to end elsewhere, so that no
    /// part of another writer is overwritten by less.
    pub async fn end(&mut self) -> Result<(), Error> {
        let (left, end) = (self.filling.len(), self.next.1 + self.filling.len());
        if let Some(size) = self.schedule.size.filter(|size| *size != end) {
            let message = format!("the object has {size} bytes, and `end` came after {end}");
            return Err(Error::new(ErrorKind::SizeMismatch, message).with_field("end"));
        }
        if self.schedule.size.is_none() {
            self.expect_nothing_beyond(left).await?;
        }
        if left > 0 { self.send(left).await } else { Ok(()) }
    }

    /// Fails where S3 has bytes beyond the `left` that are to become the last part.
    async fn expect_nothing_beyond(&self, left: u64) -> Result<(), Error> {
        let upload = self.store.known_to_s3(&self.upload)?;
        let number = self.next.0;
        let found = self.store.client().list_parts_from(&upload, number, self.store.deadline).await?;
        let beyond =
            |(part, size): &&(Part, u64)| part.number > number || (part.number == number && *size > left);
        match found.iter().find(beyond) {
            None => Ok(()),
            Some((part, _)) => {
                let end = self.next.1 + left;
                let message = format!(
                    "`end` came after {end} bytes, and S3 has more of the object: part {}",
                    part.number
                );
                Err(Error::new(ErrorKind::SizeMismatch, message).with_field("end"))
            }
        }
    }

    /// Takes bytes into the part that fills. Parts may end while these wait for memory.
    async fn fill(&mut self, data: Bytes, part: u64) -> Result<(), Error> {
        let Self { filling, parts, .. } = self;
        let mut filled = pin!(filling.push(data, part, Some(part)));
        loop {
            tokio::select! {
                biased;
                filled = &mut filled => return filled,
                Some(done) = parts.one_done() => done?,
            }
        }
    }

    /// Waits until S3 has all whole parts, and asks it which bytes of the object it has by then, whoever wrote them. Bytes beyond
    /// the last whole part are dropped.
    pub async fn settle(self) -> Result<PersistedBytes, Error> {
        let Self { store, upload, filling, mut parts, .. } = self;
        // The listing waits for memory, and must not wait for what this call holds.
        drop(filling);
        parts.all_done().await?;
        Ok(store.persisted(&upload).await?.bytes)
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

fn not_a_boundary(offset: u64, persisted_size: u64, schedule: Schedule, part: (u32, u64)) -> Error {
    let (number, before) = part;
    // Behind the end of the object, or behind its last possible part, no other begins.
    let after = schedule.part_size(number, before).ok().filter(|size| *size > 0).map(|size| before + size);
    let nearest = match after {
        Some(after) if schedule.size == Some(after) => {
            format!("the last part begins at {before}, and ends at {after}")
        }
        Some(after) => format!("parts begin at {before} and {after}"),
        None => format!("the last part ends at {before}"),
    };
    let message = format!(
        "`spec.offset` is {offset}, where no part begins: {nearest}, and S3 has the first {persisted_size} bytes"
    );
    let offsets = UploadOffsets { persisted_size, before, after };
    Error::new(ErrorKind::UploadOffsetMismatch, message).with_upload_offsets(offsets)
}
