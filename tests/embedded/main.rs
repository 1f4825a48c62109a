//! Tests of the embedded S3 server alone: object_store's integration suite, comparisons with models, and kills.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a failing test panics, its tasks end with its runtime, and readability matters more than speed"
)]

mod crash;
mod model;
mod object_store_suite;
mod raw;
mod server;
mod versions;
