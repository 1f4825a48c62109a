//! What goes over the wire to S3, byte for byte, and what is made of odd answers: on a scripted server. And what is made of
//! bits that change on the wire, to S3 and to callers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a test that cannot go on panics, its tasks end with it, and it is read more often than run"
)]

mod caller;
mod proxy;
mod scripted;

mod beginning;
mod caller_damage;
mod checksums;
mod connections;
mod damage;
mod deleting;
mod gathering;
mod hedging;
mod imitators;
mod life;
mod listing;
mod many_callers;
mod opening;
mod orphans;
mod reading;
mod reading_ahead;
mod renaming;
mod requests;
mod retrying;
mod writing;
