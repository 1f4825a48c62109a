//! What a store may set about its HTTP client and its retries.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than any call: what a length of time beyond the clock's end comes to.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

/// The instant after `period`.
pub(super) fn after(period: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(period).unwrap_or(now + NEVER)
}

/// A store's `client_options`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// Whether `http://` endpoints are allowed. Default: false, since credentials' signatures and
    /// payloads would travel in the open.
    pub allow_http: bool,
    /// How long opening a connection may take, TLS included. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long a whole request may take, body included. Default: none, since it ends healthy large
    /// transfers.
    pub timeout: Option<Duration>,
    /// How long S3 may make no progress while Longshore waits for it; a caller that reads slowly is
    /// not counted. Twenty times as long where S3 has to put parts together or to copy an object before it answers.
    /// Default: 30 s.
    pub read_timeout: Duration,
    /// How long an idle connection is kept. Default: 90 s.
    pub pool_idle_timeout: Duration,
    /// How many idle connections each thread keeps to one host. Default: no limit.
    pub pool_max_idle_per_host: usize,
    /// The `User-Agent` header. Default: `longshore/VERSION`.
    pub user_agent: String,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            allow_http: false,
            connect_timeout: Duration::from_secs(5),
            timeout: None,
            read_timeout: Duration::from_secs(30),
            pool_idle_timeout: Duration::from_secs(90),
            pool_max_idle_per_host: usize::MAX,
            user_agent: format!("longshore/{}", crate::VERSION),
        }
    }
}

/// A store's `retry_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// How many times a request is tried again after its first attempt. Default: 10.
    pub max_retries: u32,
    /// No retry begins later than this after the first attempt began. Default: 180 s.
    pub retry_timeout: Duration,
    /// How long to wait between attempts.
    pub backoff: Backoff,
}

/// Exponential backoff with full jitter: before retry `n` (from 0) a random time up to
/// `min(max_backoff, init_backoff × baseⁿ)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The bound of the first wait. Default: 100 ms.
    pub init_backoff: Duration,
    /// The bound of every wait. Default: 15 s.
    pub max_backoff: Duration,
    /// What the bound is multiplied by after each attempt, at least 1. Default: 2.
    pub base: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: 10, retry_timeout: Duration::from_mins(3), backoff: Backoff::default() }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(15), base: 2.0 }
    }
}
