//! Calls that wait for memory, in lines: one for each kind of call and each tenant's share.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    ledger::Short,
    queue::{Ask, Kind, Place},
};

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reservation: u64,
    pub(super) share: Option<usize>,
    pub(super) asks: Vec<Ask>,
    pub(super) since: Instant,
    /// What was missing when it was last tried.
    pub(super) short: Short,
    pub(super) granted: oneshot::Sender<usize>,
    /// How many calls of its share wait.
    pub(super) waiting: Arc<AtomicUsize>,
}

/// All that wait. Within a line, calls are served in the order in which they came, so only the first of each line is ever tried.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    all: BTreeMap<Place, Waiter>,
    lines: HashMap<(Kind, Option<usize>), BTreeSet<Place>>,
    /// The first of each line, except those in `blocked`.
    first: BTreeSet<Place>,
    /// The first of lines whose share had no memory for it, until that share changes.
    blocked: HashMap<usize, Vec<Place>>,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Waiter> {
        self.all.get(&place)
    }

    /// Adds a call. Its place comes after all others of its kind.
    pub(super) fn add(&mut self, place: Place, waiter: Waiter) {
        waiter.waiting.fetch_add(1, Ordering::Relaxed);
        let line = self.lines.entry((place.0, waiter.share)).or_default();
        if line.is_empty() {
            self.first.insert(place);
        }
        line.insert(place);
        self.all.insert(place, waiter);
    }

    /// Removes a call; the next of its line may be tried.
    pub(super) fn remove(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.all.remove(&place)?;
        waiter.waiting.fetch_sub(1, Ordering::Relaxed);
        let key = (place.0, waiter.share);
        let Some(line) = self.lines.get_mut(&key) else { return Some(waiter) };
        let was_first = line.first() == Some(&place);
        line.remove(&place);
        if was_first {
            self.first.remove(&place);
            self.first.extend(line.first());
        }
        if line.is_empty() {
            self.lines.remove(&key);
        }
        Some(waiter)
    }

    /// The first call of a line of this kind, in the order of coming, whose number is `from` at least.
    pub(super) fn next(&self, kind: Kind, from: u64) -> Option<Place> {
        self.first.range((kind, from)..=(kind, u64::MAX)).next().copied()
    }

    /// The call of this kind that came last.
    pub(super) fn newest(&self, kind: Kind) -> Option<(Place, &Waiter)> {
        let newest = self.all.range((kind, 0)..=(kind, u64::MAX)).next_back();
        newest.map(|(place, waiter)| (*place, waiter))
    }

    /// The first of each line, and its kind.
    pub(super) fn oldest(&self) -> impl Iterator<Item = (Kind, &Waiter)> {
        let first = self.lines.values().filter_map(BTreeSet::first);
        first.filter_map(|place| self.all.get(place).map(|waiter| (place.0, waiter)))
    }

    /// Notes what a call was tried for in vain.
    pub(super) fn lacks(&mut self, place: Place, short: Short) {
        let Some(waiter) = self.all.get_mut(&place) else { return };
        waiter.short = short;
        if short == Short::Share
            && let Some(share) = waiter.share
            && self.first.remove(&place)
        {
            self.blocked.entry(share).or_default().push(place);
        }
    }

    /// Something of a share has changed: whoever lacked it may be tried again.
    pub(super) fn changed(&mut self, share: Option<usize>) {
        let blocked = share.and_then(|share| self.blocked.remove(&share)).unwrap_or_default();
        // Some have left meanwhile.
        self.first.extend(blocked.into_iter().filter(|place| self.all.contains_key(place)));
    }
}
