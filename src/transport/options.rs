//! The settings of a store's HTTP client and of its retries.

use std::time::Duration;

use tokio::time::Instant;

/// Stands in for a time beyond the clock's range. It is longer than any call.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

/// The instant after `period`.
pub(super) fn after(period: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(period).unwrap_or(now + NEVER)
}

/// A store's `client_options`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientOptions {
    /// Whether `http://` endpoints are allowed. Default: false, since signatures and payloads would be sent in
    /// plaintext.
    pub allow_http: bool,
    /// How long opening a connection may take, including TLS. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long a whole request may take, including its body. Default: none, since a limit would end healthy large
    /// transfers.
    pub timeout: Option<Duration>,
    /// How long S3 may make no progress while Longshore waits for it. Time spent waiting for a slow caller does not
    /// count. The limit is twenty times as long where S3 has to assemble parts or copy an object before it responds.
    /// Default: 30 s.
    pub read_timeout: Duration,
    /// How long an idle connection is kept. Default: 90 s.
    pub pool_idle_timeout: Duration,
    /// How many idle connections to one host each thread keeps. Default: no limit.
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
    /// How many times a request is retried. Default: 10.
    pub max_retries: u32,
    /// How long after the start of the first attempt a retry may still begin. Default: 180 s.
    pub retry_timeout: Duration,
    /// How long to wait between attempts.
    pub backoff: Backoff,
}

/// Exponential backoff with full jitter: before retry `n` (counted from 0), a random wait of up to
/// `min(max_backoff, init_backoff × baseⁿ)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The maximum of the first wait. Default: 100 ms.
    pub init_backoff: Duration,
    /// The maximum of every wait. Default: 15 s.
    pub max_backoff: Duration,
    /// The factor by which the maximum grows after each attempt, at least 1. Default: 2.
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
