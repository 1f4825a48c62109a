//! Resumes an upload: writes parts from any part boundary onwards.

use std::pin::pin;

use bytes::Bytes;
use futures::{FutureExt as _, future};
use tokio::sync::watch;

use super::{
    Error, ErrorKind, Field, PersistedBytes, Reservation, ResumableUpload, S3Store, UploadOffsets,
    transfer::{
        filling::Filling,
        parts::{Parts, Target},
        schedule::Schedule,
    },
};
use crate::s3::Part;

/// Writes consecutive parts of a resumable upload. Dropping it cancels the parts in flight; parts that S3 has stored
/// stay.
#[derive(Debug)]
pub struct UploadWriter {
    store: S3Store,
    upload: ResumableUpload,
    target: Target,
    schedule: Schedule,
    filling: Filling,
    /// The number of the part being filled, and the offset at which it begins.
    next: (u32, u64),
    parts: Parts,
    /// Memory for bytes that wait outside of parts.
    held: Option<Reservation>,
}

impl S3Store {
    /// Resumes an upload at `offset`, where one of its parts must begin. `offset` may be inside a part only if S3 has
    /// stored exactly the bytes before it. That part is then the last one, and no bytes can follow it.
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
        // Polled once, so that the target is known before the first part is sent.
        let _ = target.clone().now_or_never();
        Ok(UploadWriter {
            store: self.clone(),
            upload: upload.clone(),
            target,
            schedule,
            next: (number, offset),
            filling: Filling::new(self.inner.budget.clone(), self.record.clone(), upload.checksum_algorithm),
            parts: Parts::default(),
            held: None,
        })
    }
}

impl UploadWriter {
    /// Number of bytes that complete the part being filled.
    pub(crate) fn room(&self) -> Result<u64, Error> {
        Ok(self.part_size()?.saturating_sub(self.filling.len()))
    }

    /// Adds the next bytes. Waits while the maximum number of parts is in flight. After an error the writer cannot be
    /// used again.
    pub async fn write(&mut self, data: Bytes) -> Result<(), Error> {
        self.parts.record_finished()?;
        self.check_end(data.len() as u64)?;
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

    /// Checks that `held` bytes that the caller has sent, but that must not be written yet, can follow those written. Bytes beyond
    /// what the part being filled may hold count against the tenant's memory, without waiting for it.
    pub fn hold(&mut self, held: u64) -> Result<(), Error> {
        if held == 0 {
            self.held = None;
            return Ok(());
        }
        self.check_end(held)?;
        let uncounted = self.part_size()?;
        if held <= uncounted {
            self.held = None;
            return Ok(());
        }
        let memory = self.held.get_or_insert_with(|| self.store.inner.budget.reservation());
        let more = (held - uncounted).saturating_sub(memory.bytes());
        if more == 0 || memory.extend(more) {
            return Ok(());
        }
        self.store.inner.budget.count_ended("wait");
        let message =
            "no memory is free for a chunk of several parts: send smaller chunks, or call again later";
        Err(Error::new(ErrorKind::MemoryExhausted, message))
    }

    /// Fails if the object is known to end before `more` bytes after those written.
    fn check_end(&self, more: u64) -> Result<(), Error> {
        let end = self.next.1 + self.filling.len() + more;
        match self.schedule.size.filter(|size| end > *size) {
            None => Ok(()),
            Some(size) => {
                let message = format!("the object has {size} bytes, but this chunk ends at byte {end}");
                Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::Chunk))
            }
        }
    }

    /// Reports to `listener` up to which offset in the object S3 has stored the written bytes without a gap, whenever
    /// that changes. Only bytes written from now on count.
    pub fn report_to(&mut self, listener: watch::Sender<u64>) {
        let (number, start) = self.next;
        self.parts.report_to(listener, number, start);
    }

    /// Waits until a part fails, or the caller is too slow for the memory that it holds. Poll it only while waiting
    /// for the caller. It does not return while the upload is healthy. Cancel safe.
    pub async fn failed(&mut self) -> Error {
        // A caller that receives progress may be waiting for S3: its idle time does not count while parts are in flight.
        while self.parts.is_reporting() && self.parts.in_flight() > 0 {
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

    /// Waits until a part fails, while the server keeps the caller waiting because of a limit. Memory that other calls
    /// wait for is given back meanwhile. Cancel safe.
    pub async fn held_back(&mut self) -> Error {
        while self.parts.is_reporting() && self.parts.in_flight() > 0 {
            if let Some(Err(error)) = self.parts.one_done().await {
                return error;
            }
        }
        tokio::select! {
            biased;
            error = self.parts.failed() => error,
            never = self.filling.hold_back() => match never {},
        }
    }

    /// Where the bytes end that have been written so far.
    pub fn end_offset(&self) -> u64 {
        self.next.1 + self.filling.len()
    }

    /// Ends the object here: the remaining bytes become its last part. Fails if the object is known to end elsewhere, so
    /// that no part of another writer is replaced by a shorter one.
    pub async fn end(&mut self) -> Result<(), Error> {
        let (left, end) = (self.filling.len(), self.next.1 + self.filling.len());
        if let Some(size) = self.schedule.size.filter(|size| *size != end) {
            let message = format!("the object has {size} bytes, but `end` came after {end}");
            return Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::End));
        }
        if self.schedule.size.is_none() {
            self.expect_nothing_beyond(left).await?;
        }
        if left > 0 { self.send(left).await } else { Ok(()) }
    }

    /// Fails if S3 has bytes beyond the `left` bytes that are to become the last part.
    async fn expect_nothing_beyond(&self, left: u64) -> Result<(), Error> {
        let upload = self.store.known_to_s3(&self.upload)?;
        let number = self.next.0;
        let found = self.store.client().list_parts_from(&upload, number).await?;
        let beyond =
            |(part, size): &&(Part, u64)| part.number > number || (part.number == number && *size > left);
        match found.iter().find(beyond) {
            None => Ok(()),
            Some((part, _)) => {
                let end = self.next.1 + left;
                let message = format!(
                    "`end` came after {end} bytes, but S3 has more of the object: part {}",
                    part.number
                );
                Err(Error::new(ErrorKind::SizeMismatch, message).with_field(Field::End))
            }
        }
    }

    /// Adds bytes to the part that is being filled. Records parts that finish while the bytes wait for memory.
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

    /// Waits until S3 has stored all whole parts, then returns the bytes of the object that S3 has stored, from all
    /// writers. Bytes beyond the last whole part are dropped.
    pub async fn settle(self) -> Result<PersistedBytes, Error> {
        let Self { store, upload, filling, held, mut parts, .. } = self;
        // Listing the parts may wait for memory, and must not wait for the memory that this call holds.
        drop((filling, held));
        parts.all_done().await?;
        Ok(store.persisted(&upload).await?.bytes)
    }

    /// The size of the part being filled; 0 if no more bytes are expected.
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
    // No part begins after the end of the object, or after its last possible part.
    let after = schedule.part_size(number, before).ok().filter(|size| *size > 0).map(|size| before + size);
    let nearest = match after {
        Some(after) if schedule.size == Some(after) => {
            format!("the last part begins at {before}, and ends at {after}")
        }
        Some(after) => format!("parts begin at {before} and {after}"),
        None => format!("the last part ends at {before}"),
    };
    let message =
        format!("no part begins at offset {offset}: {nearest}, and S3 has the first {persisted_size} bytes");
    let offsets = UploadOffsets { persisted_size, before, after };
    Error::new(ErrorKind::UploadOffsetMismatch, message).with_upload_offsets(offsets)
}
