//! The batches of a call that have been sent to S3.

use std::collections::VecDeque;

use super::pending::{Entry, Pending};
use crate::store::{DeleteBatches, DeletedBatch, ObjectId, S3Store};

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

    /// Sends the next batch if there is room for it. Returns whether it did.
    pub(super) fn send(&mut self, pending: &mut Pending) -> bool {
        let (keys, text) = pending.batch_size();
        let Some(room) = self.batches.room(keys, text) else { return false };
        let entries = pending.batch();
        self.batches.send(room, valid(&entries));
        self.entries.push_back(entries);
        true
    }

    /// Waits for the results of the oldest batch in flight. `None` if there is none. Cancel safe.
    pub(super) async fn next(&mut self) -> Option<(Vec<Entry>, DeletedBatch)> {
        let deleted = self.batches.next().await?;
        Some((self.entries.pop_front()?, deleted))
    }
}

/// The objects that S3 has to delete: those that have not already failed.
fn valid(entries: &[Entry]) -> Vec<ObjectId> {
    let valid = entries.iter().filter(|entry| entry.failure.is_none()).map(|entry| ObjectId {
        key: entry.object.key.clone(),
        version: Some(entry.object.version.clone()).filter(|version| !version.is_empty()),
    });
    valid.collect()
}
