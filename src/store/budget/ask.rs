//! What a waiting call asks for, and its place among the others.

use super::ledger::Class;

/// The kinds of calls that wait, in the order in which they are usually served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// A message or a page of a listing.
    Message,
    /// The next part of an upload that filled its last part quickly.
    Proven,
    /// A small upload.
    Small,
    /// The first part of an upload.
    New,
    /// The first part of an upload on a connection whose latest uploads were slow or rejected.
    Demoted,
    /// An upload whose caller is slow.
    Slow,
}

/// What a call asks for: that its reservation hold `bytes` of `class`, including what it already holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) class: Class,
    pub(super) bytes: u64,
}

/// The place of a waiting call in the queue.
pub(super) type Place = (Kind, u64);
