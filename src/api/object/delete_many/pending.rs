//! Keys that wait to be sent to S3, and how they are divided into batches.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{api::failure::Failure, pb};

/// The maximum number of keys that S3 accepts in one request.
pub(super) const BATCH: usize = 1000;

/// How long a key waits for more keys. Without this limit, a caller that waits for a response before it sends more keys
/// would wait forever.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// Keys that wait to be sent to S3.
#[derive(Debug, Default)]
pub(super) struct Pending {
    entries: VecDeque<Entry>,
    /// How many keys the call has received.
    count: u64,
}

/// One key and its index in the call, with its failure if it is already known.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) object: pb::ObjectId,
    pub(super) failure: Option<Failure>,
    since: Instant,
}

impl Pending {
    pub(super) fn push(&mut self, object: pb::ObjectId, failure: Option<Failure>, now: Instant) {
        self.entries.push_back(Entry { index: self.count, object, failure, since: now });
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the next batch has as many keys as S3 accepts.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= BATCH
    }

    /// When the next batch is sent even if it is not full; `None` if no key waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.entries.front().map(|entry| entry.since + BATCH_DELAY)
    }

    /// The number of keys in the next batch, and the bytes of their texts.
    pub(super) fn batch_size(&self) -> (usize, u64) {
        let batch = self.entries.iter().take(BATCH);
        let texts = batch.clone().map(|entry| entry.object.key.len() + entry.object.version.len());
        (batch.len(), texts.map(|bytes| bytes as u64).sum())
    }

    /// The next batch of keys, in order.
    pub(super) fn batch(&mut self) -> Vec<Entry> {
        self.entries.drain(..self.entries.len().min(BATCH)).collect()
    }

    /// Drops the keys that wait.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str) -> pb::ObjectId {
        pb::ObjectId { key: key.to_owned(), version: String::new() }
    }

    #[test]
    fn keys_are_sent_in_batches_of_a_thousand_in_order() {
        let mut pending = Pending::default();
        let (early, late) = (Instant::now(), Instant::now() + BATCH_DELAY);
        for n in 0..2500 {
            pending.push(object(&n.to_string()), None, if n < 1500 { early } else { late });
        }
        assert_eq!(pending.batch_size(), (1000, 10 + 2 * 90 + 3 * 900));
        let batches: Vec<_> = std::iter::from_fn(|| {
            let (due, full, batch) = (pending.due(), pending.is_full(), pending.batch());
            batch.first().map(|entry| (entry.index, batch.len(), due, full))
        })
        .collect();
        let (early, late) = (Some(early + BATCH_DELAY), Some(late + BATCH_DELAY));
        assert_eq!(batches, [(0, 1000, early, true), (1000, 1000, early, true), (2000, 500, late, false)]);
        assert!(pending.is_empty() && pending.due().is_none());
    }

    #[test]
    fn indexes_continue_across_batches() {
        let mut pending = Pending::default();
        pending.push(object("a"), None, Instant::now());
        pending.batch();
        pending.push(object("b"), None, Instant::now());
        assert_eq!(pending.batch()[0].index, 1);
    }
}
