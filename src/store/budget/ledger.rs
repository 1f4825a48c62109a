//! How many bytes each kind of memory has, in the process and in each tenant's share, and what still fits.

/// Why bytes are held. What S3 takes from the process passes by itself; what callers fill or read may be held for long, and is
/// capped so that all of it together never stops the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A whole part that S3 is taking, or that a caller with a record of speed fills.
    Moving,
    /// A whole part that fills for a caller whose speed is unknown.
    Trial,
    /// The same for an upload that has just begun: those that have waited for long, and are slow as a rule, do not use up its memory.
    Fresh,
    /// A whole part that fills for a slow caller, which has waited for its turn.
    Turn,
    /// About what a slow caller has sent.
    Slow,
    /// Messages that are not complete, and pages of listings.
    Message,
    /// What a read fetches before its caller takes it.
    Ahead,
}

const CLASSES: usize = 7;

impl Class {
    /// The most bytes of this class, of `limit` in all.
    fn cap(self, limit: u64) -> u64 {
        match self {
            Self::Moving => limit,
            Self::Slow => limit / 8 * 3,
            Self::Message | Self::Ahead => limit / 4,
            Self::Trial | Self::Fresh | Self::Turn => limit / 8,
        }
    }

    /// Whether the class may exceed its cap while half of all memory stays free.
    fn stretches(self) -> bool {
        matches!(self, Self::Trial | Self::Message)
    }

    /// Whether bytes of `other` may take what this class could have.
    pub(super) fn is_capped_with(self, other: Self) -> bool {
        self == other || self.is_whole() && other.is_whole()
    }

    /// Whether it is a whole part: it needs no more memory before S3 takes it.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Moving | Self::Trial | Self::Fresh | Self::Turn)
    }
}

/// Bytes in use, of a limit.
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

    /// How many of `bytes` are charged if a reservation that has `held` becomes one of `class`.
    ///
    /// A whole part gets what is free if no other whole part exists, so that one part always goes on, whatever the limit. And it
    /// may lack a little, so that two parts fill half of the limit each although some bytes are in use.
    fn fit(&self, held: Charge, class: Class, bytes: u64) -> Result<u64, Short> {
        let without = |class: Class| self.of(class) - if held.class == class { held.bytes } else { 0 };
        let free = self.limit - (self.total() - held.bytes);
        let stretch = class.stretches() && free >= bytes.saturating_add(self.limit / 2);
        // However small the limit, one part of each class may fill, and two of callers whose speed is unknown.
        let few = class.is_whole() && without(class) <= if class == Class::Trial { bytes } else { 0 };
        if without(class).saturating_add(bytes) > class.cap(self.limit) && !stretch && !few {
            return Err(Short::Class);
        }
        if free >= bytes {
            return Ok(bytes);
        }
        // Larger budgets have room for more than two parts anyway.
        let lack = if self.limit <= SMALL_LIMIT { (bytes / 4).min(SLACK) } else { 0 };
        let whole = [Class::Moving, Class::Trial, Class::Fresh, Class::Turn];
        let no_part = whole.into_iter().all(|class| without(class) == 0);
        if class.is_whole() && (no_part || free + lack >= bytes) { Ok(free) } else { Err(Short::Free) }
    }
}

/// Limits up to which parts may be charged less than they have.
const SMALL_LIMIT: u64 = 64 * 1024 * 1024;

/// How many bytes of a part may be uncharged where almost enough is free.
const SLACK: u64 = 2 * 1024 * 1024;

/// What a reservation holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub(super) share: Option<usize>,
    pub(super) class: Class,
    pub(super) bytes: u64,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// The tenant's share is used up.
    Share,
    /// The process has as much of this class as it may.
    Class,
    /// The process has no memory.
    Free,
}

/// The process and its tenants' shares.
#[derive(Debug)]
pub(super) struct Ledger {
    process: Level,
    shares: Vec<Level>,
}

impl Ledger {
    pub(super) fn new(limit: u64) -> Self {
        Self { process: Level::new(limit), shares: Vec::new() }
    }

    /// Adds a share; gives its number.
    pub(super) fn add_share(&mut self, limit: u64) -> usize {
        self.shares.push(Level::new(limit));
        self.shares.len() - 1
    }

    /// All bytes in use.
    pub(super) fn total(&self) -> u64 {
        self.process.total()
    }

    /// The charge that `held` may become: `bytes` of `class`, or all that one reservation can have.
    pub(super) fn fit(&self, held: Charge, class: Class, bytes: u64) -> Result<Charge, Short> {
        let mut charged = bytes;
        for level in self.levels(held.share) {
            charged = match class {
                Class::Message => charged.min(class.cap(level.limit)),
                class if class.is_whole() => charged.min(level.limit),
                _ => charged,
            };
        }
        if let Some(share) = held.share.and_then(|share| self.shares.get(share)) {
            charged = share.fit(held, class, charged).map_err(|_| Short::Share)?;
        }
        charged = self.process.fit(held, class, charged)?;
        Ok(Charge { class, bytes: charged, ..held })
    }

    /// Whether at most one of `parts` of all memory is in use with `bytes` more.
    pub(super) fn uses_at_most(&self, share: Option<usize>, parts: u64, bytes: u64) -> bool {
        self.levels(share).all(|level| level.total().saturating_add(bytes) <= level.limit / parts)
    }

    /// Replaces one charge by another of the same share.
    pub(super) fn replace(&mut self, old: Charge, new: Charge) {
        let share = old.share.and_then(|share| self.shares.get_mut(share));
        for level in share.into_iter().chain([&mut self.process]) {
            level.used[old.class as usize] -= old.bytes;
            level.used[new.class as usize] += new.bytes;
        }
    }

    fn levels(&self, share: Option<usize>) -> impl Iterator<Item = &Level> {
        share.and_then(|share| self.shares.get(share)).into_iter().chain([&self.process])
    }
}
