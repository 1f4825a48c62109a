//! Getting one request to a server and its answer back: connections, timeouts, attempts, backoff.
//!
//! Knows no S3: the room above hands it what to send and how to judge what came back.

mod options;

pub use options::{Backoff, ClientOptions, RetryPolicy};
