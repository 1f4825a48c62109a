//! Tests of the wire protocol on a scripted server: the exact bytes sent to S3, and the handling of unusual
//! responses. Also tests with bits that flip in transit, to S3 and to callers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "tests panic on failure, their tasks end with them, and readability matters more than speed"
)]

mod buckets;
mod caller;
mod credential_server;
mod proxy;
mod scripted;

mod beginning;
mod caller_damage;
mod certificates;
mod checksums;
mod circuit;
mod connections;
mod credential_service;
mod credentials;
mod damage;
mod delete_batches;
mod deleting;
mod gathering;
mod hedging;
mod idle_stores;
mod imitators;
mod life;
mod listing;
mod many_callers;
mod opening;
mod orphans;
mod profiles;
mod ranges;
mod reading;
mod reading_ahead;
mod renaming;
mod requests;
mod retrying;
mod signing;
mod tags;
mod usage;
mod versions;
mod walking;
mod writing;
