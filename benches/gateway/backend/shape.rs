//! The latencies and the rate of S3, for the buckets `shaped` and `shaped-tree`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::requests::Kind;

/// How the shaped buckets respond. The driver passes these arguments on to the backend.
#[derive(Debug, Clone, Args, Serialize)]
pub(crate) struct Shape {
    /// Time until the shaped buckets respond to a request for one object, in milliseconds
    #[arg(long, default_value_t = 30)]
    first_byte_ms: u64,
    /// Time until the shaped buckets respond with a page of a listing, in milliseconds
    #[arg(long, default_value_t = 80)]
    pub(crate) list_page_ms: u64,
    /// Time until the shaped buckets respond to a request that deletes many objects, in milliseconds
    #[arg(long, default_value_t = 250)]
    delete_batch_ms: u64,
    /// Rate of each connection to the shaped buckets, in bytes per second and direction
    #[arg(long, default_value_t = 90 * 1024 * 1024)]
    pub(super) connection_rate: u64,
}

impl Shape {
    /// Whether a bucket has S3's latencies and rate.
    pub(super) fn has(bucket: &str) -> bool {
        matches!(bucket, "shaped" | "shaped-tree")
    }

    /// The time from the end of a request until the first byte of the response.
    pub(super) fn latency(&self, kind: Kind) -> Duration {
        Duration::from_millis(match kind {
            Kind::List => self.list_page_ms,
            Kind::DeleteBatch => self.delete_batch_ms,
            Kind::Other => 0,
            _ => self.first_byte_ms,
        })
    }

    /// The command line that yields these settings.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let figures = [
            ("--first-byte-ms", self.first_byte_ms),
            ("--list-page-ms", self.list_page_ms),
            ("--delete-batch-ms", self.delete_batch_ms),
            ("--connection-rate", self.connection_rate),
        ];
        figures.iter().flat_map(|(name, figure)| [(*name).to_owned(), figure.to_string()]).collect()
    }
}
