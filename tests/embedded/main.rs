//! The embedded S3 server by itself, judged by others: object_store's conformance suite, a model, a killer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::pedantic,
    reason = "a test that cannot go on panics, its tasks end with it, and it is read more often than run"
)]

mod crash;
mod model;
mod object_store_suite;
mod raw;
mod server;
