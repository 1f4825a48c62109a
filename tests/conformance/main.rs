//! What Longshore promises its callers, asked over gRPC of whatever S3 server stands behind it. The modules bear the
//! names of the sections of `docs/SEMANTICS.md`.
//!
//! `cargo test` runs it on the embedded server; `tests/conformance.sh` on real ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a test that cannot go on panics, its tasks end with it, and it is read more often than run"
)]

mod support;

mod conditions;
mod copying;
mod deleting;
mod failures;
mod keys;
mod limits;
mod listing;
mod reading;
mod resuming;
mod uploading;
mod writing;
