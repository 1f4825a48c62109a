//! Counters and histograms by OpenTelemetry, read by Prometheus at `/metrics`.

use std::time::Duration;

/// Which way bytes of objects went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From callers to S3.
    Upload,
    /// From S3 to callers.
    Download,
}

/// Every instrument of the process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {}

/// Counts a call as in flight until dropped.
#[derive(Debug)]
pub struct InFlight {}

impl Metrics {
    /// A call of `method` (`/service/method`) begins.
    pub fn call_started(&self, _method: &str) -> InFlight {
        todo!()
    }
    /// A call ended with gRPC status `code` (its name) after `elapsed`.
    pub fn call_ended(&self, _method: &str, _code: &str, _elapsed: Duration) {}
    /// Payload bytes passed on.
    pub fn bytes(&self, _direction: Direction, _count: u64) {}
    /// An attempt of an S3 `operation` (such as `GetObject`) ended with `outcome`: an HTTP status or what broke.
    pub fn s3_attempt(&self, _operation: &'static str, _outcome: &str) {}
    /// An S3 `operation` is tried again.
    pub fn s3_retry(&self, _operation: &'static str) {}
    /// All of it in Prometheus's text format.
    pub fn render(&self) -> String {
        todo!()
    }
}
