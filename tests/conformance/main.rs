//! Tests what Longshore promises its callers, over gRPC, with any S3 server behind it. The modules are named after the
//! sections of `docs/SEMANTICS.md`.
//!
//! `cargo test` runs the suite on the embedded server, `tests/conformance.sh` on real ones.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "tests panic on failure, their tasks end with them, and readability matters more than speed"
)]

mod support;

mod buckets;
mod conditions;
mod copying;
mod deleting;
mod failures;
mod keys;
mod limits;
mod listing;
mod prefixes;
mod reading;
mod resuming;
mod signing;
mod tagging;
mod uploading;
mod versions;
mod writing;
