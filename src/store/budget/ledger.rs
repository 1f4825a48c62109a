//! Counts the bytes of each class of memory, in the process and in each tenant's share, and decides what still fits.

use slab::Slab;

/// Why bytes are held. Memory of parts being uploaded to S3 is freed whatever the caller does. Memory that callers fill
/// or read may be held for a long time, unless they are known to be fast, so each class of it is capped, to leave
/// memory for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A whole part that is being uploaded to S3, or that a caller known to be fast is filling.
    Moving,
    /// A whole part that a caller of unknown speed fills.
    Trial,
    /// The same for an upload that has just started. Uploads that have waited for a long time, which are usually slow,
    /// cannot use up this memory.
    Fresh,
    /// A whole part that a slow caller fills, after it has waited for its turn.
    Turn,
    /// What a slow caller has sent, and a little more.
    Slow,
    /// Incomplete messages, and pages of listings.
    Message,
    /// What a read or a walk fetches before its caller takes it.
    Ahead,
}

const CLASSES: usize = 7;

impl Class {
    /// Maximum number of bytes of this class if there are `limit` bytes in total.
    fn cap(self, limit: u64) -> u64 {
        match self {
            Self::Moving => limit,
            Self::Slow => limit / 8 * 3,
            Self::Message | Self::Ahead => limit / 4,
            Self::Trial | Self::Fresh | Self::Turn => limit / 8,
        }
    }

    /// How many of `limit` bytes must stay free for the class to exceed its cap; `None` if it never may.
    fn free_to_exceed_cap(self, limit: u64) -> Option<u64> {
        match self {
            Self::Trial => Some(limit / 2),
            // Messages must leave more free, because their calls use other memory as well.
            Self::Message => Some(limit / 8 * 5),
            _ => None,
        }
    }

    /// Whether bytes of `other` may use memory that this class could have.
    pub(super) fn competes_with(self, other: Self) -> bool {
        self == other || self.is_whole() && other.is_whole()
    }

    /// Whether it is for a whole part, which needs no more memory before it is uploaded.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Moving | Self::Trial | Self::Fresh | Self::Turn)
    }
}

/// A limit, and the bytes of each class that are in use.
#[derive(Debug)]
struct Level {
    limit: u64,
    used: [u64; CLASSES],
}

impl Level {
    fn new(limit: u64) -> Self {
        Self { limit, used: [0; CLASSES] }
    }

    fn total(&self) -> u64 {
        self.used.iter().sum()
    }

    fn of(&self, class: Class) -> u64 {
        self.used[class as usize]
    }

    /// Returns how many of `bytes` are charged if a reservation that holds `held` changes to `class`.
    ///
    /// If no other whole part exists, a whole part gets whatever is free, so that one part always proceeds, with any
    /// limit. A whole part may also lack a little, so that two parts of half the limit each fit although some bytes
    /// are in use.
    fn fit(&self, held: Charge, class: Class, bytes: u64) -> Result<u64, Short> {
        let without = |class: Class| self.of(class) - if held.class == class { held.bytes } else { 0 };
        let free = self.limit.saturating_sub(self.total() - held.bytes);
        let spare = class.free_to_exceed_cap(self.limit);
        let may_exceed = spare.is_some_and(|spare| free >= bytes.saturating_add(spare));
        // Whatever the limit, one part of each class may be filling at a time, and two whose callers' speed is unknown.
        let few = class.is_whole() && without(class) <= if class == Class::Trial { bytes } else { 0 };
        if without(class).saturating_add(bytes) > class.cap(self.limit) && !may_exceed && !few {
            return Err(Short::Class);
        }
        // A reservation that does not grow always fits, as far as free memory is concerned.
        if free >= bytes || bytes <= held.bytes {
            return Ok(bytes);
        }
        // Larger budgets have room for more than two parts anyway.
        let lack = if self.limit <= SMALL_LIMIT { (bytes / 4).min(SLACK) } else { 0 };
        let whole = [Class::Moving, Class::Trial, Class::Fresh, Class::Turn];
        let no_part = whole.into_iter().all(|class| without(class) == 0);
        if class.is_whole() && (no_part || free + lack >= bytes) { Ok(free) } else { Err(Short::Free) }
    }
}

/// Largest limit, in bytes, at which a part may be charged less than it holds although there are other parts.
const SMALL_LIMIT: u64 = 64 * 1024 * 1024;

/// Maximum number of bytes of a part that are not charged if almost enough memory is free.
const SLACK: u64 = 2 * 1024 * 1024;

/// What a reservation holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub(super) share: usize,
    pub(super) class: Class,
    pub(super) bytes: u64,
}

/// What a reservation lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// The tenant's share is used up, or what a class may use of it.
    Share,
    /// The process has reached the cap of the class.
    Class,
    /// The process has no free memory.
    Free,
}

/// The memory of the process and of its tenants' shares.
#[derive(Debug)]
pub(super) struct Ledger {
    process: Level,
    shares: Slab<Level>,
}

impl Ledger {
    pub(super) fn new(limit: u64) -> Self {
        Self { process: Level::new(limit), shares: Slab::new() }
    }

    /// Adds a share and returns its number.
    pub(super) fn add_share(&mut self, limit: u64) -> usize {
        self.shares.insert(Level::new(limit))
    }

    /// Changes the limit of a share. If more is in use, nothing but one whole part is granted until enough of it is
    /// free again.
    pub(super) fn limit_share(&mut self, share: usize, limit: u64) {
        if let Some(level) = self.shares.get_mut(share) {
            level.limit = limit;
        }
    }

    /// Removes a share. No reservation may hold memory of it.
    pub(super) fn remove_share(&mut self, share: usize) {
        let removed = self.shares.try_remove(share);
        debug_assert!(removed.is_none_or(|level| level.total() == 0));
    }

    /// Number of shares.
    #[cfg(test)]
    pub(super) fn shares(&self) -> usize {
        self.shares.len()
    }

    /// The bytes of a share that are in use, and its limit.
    pub(super) fn share(&self, share: usize) -> (u64, u64) {
        self.shares.get(share).map_or((0, 0), |level| (level.total(), level.limit.min(self.process.limit)))
    }

    /// All bytes in use.
    pub(super) fn total(&self) -> u64 {
        self.process.total()
    }

    /// Returns the charge that `held` may change to: `bytes` of `class`, or the most that one reservation can have.
    pub(super) fn fit(&self, held: Charge, class: Class, bytes: u64) -> Result<Charge, Short> {
        let mut charged = bytes;
        for level in self.levels(held.share) {
            charged = match class {
                Class::Message => charged.min(class.cap(level.limit)),
                class if class.is_whole() => charged.min(level.limit),
                _ => charged,
            };
        }
        if let Some(share) = self.shares.get(held.share) {
            charged = share.fit(held, class, charged).map_err(|_| Short::Share)?;
        }
        charged = self.process.fit(held, class, charged)?;
        Ok(Charge { class, bytes: charged, ..held })
    }

    /// Whether at most `1/divisor` of all memory is in use after adding `bytes`.
    pub(super) fn uses_at_most(&self, share: usize, divisor: u64, bytes: u64) -> bool {
        self.levels(share).all(|level| level.total().saturating_add(bytes) <= level.limit / divisor)
    }

    /// Replaces one charge by another of the same share.
    pub(super) fn replace(&mut self, old: Charge, new: Charge) {
        let share = self.shares.get_mut(old.share);
        for level in share.into_iter().chain([&mut self.process]) {
            level.used[old.class as usize] -= old.bytes;
            level.used[new.class as usize] += new.bytes;
        }
    }

    fn levels(&self, share: usize) -> impl Iterator<Item = &Level> {
        self.shares.get(share).into_iter().chain([&self.process])
    }
}
