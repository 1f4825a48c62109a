//! Calls that wait for memory, with one line for each kind of call and each tenant.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{sync::oneshot, time::Instant};

use super::{
    ask::{Ask, Kind, Place},
    ledger::Short,
};

/// A call that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) reservation: u64,
    pub(super) tenant: u64,
    pub(super) share: usize,
    pub(super) asks: Vec<Ask>,
    pub(super) since: Instant,
    /// What it lacked when it was last tried.
    pub(super) short: Short,
    pub(super) granted: oneshot::Sender<usize>,
    /// Number of calls of its tenant that wait.
    pub(super) waiting: Arc<AtomicUsize>,
}

/// All waiting calls. The lines of a kind take turns, so that a tenant with many calls does not starve one with few.
/// Within a line, calls are served in the order in which they arrived. Only the first call of each line is tried; in a
/// line of new uploads, the newest is tried as well.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    all: HashMap<Place, Waiter>,
    lines: HashMap<LineKey, Line>,
    /// The lines of each kind in the order of their turns, except blocked lines ([`Line::blocked`]).
    turns: BTreeMap<(Kind, u64), LineKey>,
    /// By share, the lines to unblock when that share changes. May contain lines that are gone or no longer blocked.
    /// Lines of [`Kind::New`] are never blocked.
    blocked: HashMap<usize, Vec<LineKey>>,
    last_turn: u64,
}

/// The kind and the tenant of all calls in a line.
type LineKey = (Kind, u64);

#[derive(Debug)]
struct Line {
    /// The numbers of its calls.
    calls: BTreeSet<u64>,
    turn: u64,
    /// Whether the line is skipped until its tenant's share changes, because its first call lacked memory of that
    /// share.
    blocked: bool,
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
        let key = (place.0, waiter.tenant);
        if !self.lines.contains_key(&key) {
            let turn = self.take_turn(key);
            self.lines.insert(key, Line { calls: BTreeSet::new(), turn, blocked: false });
        }
        if let Some(line) = self.lines.get_mut(&key) {
            line.calls.insert(place.1);
        }
        self.all.insert(place, waiter);
    }

    /// Removes a call that was served. Its line then comes after the other lines of its kind.
    pub(super) fn serve(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.leave(place)?;
        let key = (place.0, waiter.tenant);
        let turn = self.lines.get(&key).filter(|line| !line.blocked).map(|line| line.turn);
        if let Some(turn) = turn {
            self.turns.remove(&(key.0, turn));
            let turn = self.take_turn(key);
            self.lines.entry(key).and_modify(|line| line.turn = turn);
        }
        Some(waiter)
    }

    /// Removes a call. The next call of its line may then be tried.
    pub(super) fn leave(&mut self, place: Place) -> Option<Waiter> {
        let waiter = self.all.remove(&place)?;
        waiter.waiting.fetch_sub(1, Ordering::Relaxed);
        let key = (place.0, waiter.tenant);
        let Some(line) = self.lines.get_mut(&key) else { return Some(waiter) };
        let was_first = line.calls.first() == Some(&place.1);
        line.calls.remove(&place.1);
        let turn = (key.0, line.turn);
        if line.calls.is_empty() {
            self.lines.remove(&key);
            self.turns.remove(&turn);
        } else if was_first && line.blocked {
            line.blocked = false;
            self.turns.insert(turn, key);
        }
        Some(waiter)
    }

    /// The first line of this kind whose turn is `from` or later: its turn, and the place of its first call.
    pub(super) fn next(&self, kind: Kind, from: u64) -> Option<(u64, Place)> {
        let ((_, turn), key) = self.turns.range((kind, from)..=(kind, u64::MAX)).next()?;
        let first = self.lines.get(key)?.calls.first()?;
        Some((*turn, (kind, *first)))
    }

    /// The newest call in the line of the call at `place`.
    pub(super) fn newest_in_line_of(&self, place: Place) -> Option<Place> {
        let line = self.lines.get(&(place.0, self.get(place)?.tenant))?;
        line.calls.last().map(|last| (place.0, *last))
    }

    /// The first call of each line, and its kind.
    pub(super) fn first_of_each_line(&self) -> impl Iterator<Item = (Kind, &Waiter)> {
        self.lines.iter().filter_map(|((kind, _), line)| {
            let first = *line.calls.first()?;
            self.all.get(&(*kind, first)).map(|waiter| (*kind, waiter))
        })
    }

    /// Records what a call lacked when it was tried.
    pub(super) fn lacks(&mut self, place: Place, short: Short) {
        let Some(waiter) = self.all.get_mut(&place) else { return };
        waiter.short = short;
        let key = (place.0, waiter.tenant);
        // A line of new uploads is not blocked: the newest one may get memory that the first one does not.
        if short == Short::Share
            && place.0 != Kind::New
            && let Some(line) = self.lines.get_mut(&key)
            && line.calls.first() == Some(&place.1)
            && !line.blocked
        {
            line.blocked = true;
            self.turns.remove(&(key.0, line.turn));
            self.blocked.entry(waiter.share).or_default().push(key);
        }
    }

    /// Unblocks the lines that wait for a share, because its memory has changed.
    pub(super) fn unblock(&mut self, share: usize) {
        for key in self.blocked.remove(&share).unwrap_or_default() {
            // Some lines have gone in the meantime, or are no longer blocked.
            if let Some(line) = self.lines.get_mut(&key).filter(|line| line.blocked) {
                line.blocked = false;
                self.turns.insert((key.0, line.turn), key);
            }
        }
    }

    fn take_turn(&mut self, key: LineKey) -> u64 {
        self.last_turn += 1;
        self.turns.insert((key.0, self.last_turn), key);
        self.last_turn
    }
}
