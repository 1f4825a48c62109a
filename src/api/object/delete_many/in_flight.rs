//! The batches of a call that have been sent to S3.

use std::collections::VecDeque;

use super::pending::{Entry, Pending};
use crate::store::{BatchRoom, DeleteBatches, DeletedBatch, ObjectId, S3Store};

/// The batches that have been sent to S3 and whose results have not been returned yet, in order.
#[derive(Debug)]
pub(super) struct InFlight {
    batches: DeleteBatches,
    /// The keys of each batch.
    entries: VecDeque<Vec<Entry>>,
}

impl InFlight {
    pub(super) fn new(store: &S3Store) -> Self {
        Self { batches: store.delete_batches(), entries: VecDeque::new() }
    }

    /// Whether there may be room for another batch. Memory is checked by [`Self::send`], which knows the size.
    pub(super) fn has_room(&mut self) -> bool {
        self.batches.has_room()
    }

    /// Takes the next batch from `pending` if there is room for it.
    pub(super) fn take(&mut self, pending: &mut Pending) -> Option<Batch> {
        let (keys, text) = pending.batch_size();
        let room = self.batches.room(keys, text)?;
        Some(Batch { room, entries: pending.batch() })
    }

    /// Sends a batch.
    pub(super) fn send(&mut self, Batch { room, entries }: Batch) {
        self.batches.send(room, valid(&entries).map(object_id).collect());
        self.entries.push_back(entries);
    }

    /// Waits for the results of the oldest batch in flight. `None` if no batch is in flight. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(Vec<Entry>, DeletedBatch)> {
        let deleted = self.batches.next().await?;
        Some((self.entries.pop_front()?, deleted))
    }
}

/// A batch that has room, but has not been sent yet.
#[derive(Debug)]
pub(super) struct Batch {
    room: BatchRoom,
    entries: Vec<Entry>,
}

impl Batch {
    /// The key and the version of each object that S3 has to delete.
    pub(super) fn objects(&self) -> Vec<(&str, &str)> {
        valid(&self.entries).map(|entry| (&*entry.object.key, &*entry.object.version)).collect()
    }
}

/// What S3 has to delete: what has not already failed.
fn valid(entries: &[Entry]) -> impl Iterator<Item = &Entry> {
    entries.iter().filter(|entry| entry.failure.is_none())
}

fn object_id(entry: &Entry) -> ObjectId {
    let version = Some(entry.object.version.clone()).filter(|version| !version.is_empty());
    ObjectId { key: entry.object.key.clone(), version }
}
