//! The settings of a store's HTTP client and of its retries.

use std::time::Duration;

use tokio::time::Instant;

use super::{CertificatesFile, RootCertificates};
use crate::settings::{
    Count, Factor, Flag, Notes, Number, Optional, Period, Scalar, Section, Text, Timeout, UNSUPPORTED,
    settings,
};

/// Stands in for a time beyond the clock's range. It is longer than any call.
const NEVER: Duration = Duration::from_hours(24 * 365 * 30);

/// The instant after `period`.
pub(super) fn after(period: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(period).unwrap_or(now + NEVER)
}

settings! {
    /// A store's `client_options`.
    pub struct ClientOptions(ClientLayer), variables "AWS_" {
        /// Whether an `http://` endpoint is allowed. Over it, signatures and payloads are sent in plaintext.
        allow_http: bool as Flag = false,
        /// How long opening a connection may take, including TLS. Each store opens at most 128 connections at a time.
        /// Further requests wait up to `read_timeout` for their turn or for an idle connection, and then fail as if no
        /// connection could be opened.
        connect_timeout: Duration as Timeout = Duration::from_secs(5),
        /// How long a whole request may take, including its body. There is no limit by default, since one would end
        /// healthy large transfers.
        timeout: Option<Duration> as Optional<Timeout> = None => "no limit",
        /// How long S3 may make no progress while Longshore waits for it. Time spent waiting for a slow caller does not
        /// count. While S3 assembles parts or copies an object, the limit is twenty times as long.
        read_timeout: Duration as Timeout = Duration::from_secs(30),
        /// How long an idle connection is kept.
        pool_idle_timeout: Duration as Period = Duration::from_secs(90),
        /// How many idle connections each worker thread keeps to a host (there is one thread per core).
        pool_max_idle_per_host: Option<usize> as Optional<Count<0, 1_000_000>> = None => "no limit",
        /// CA certificates that are trusted in addition to those of the system, for S3 and for STS. Read with the tenants
        /// file, and again when the file changes.
        root_certificates ["root_certificate"]: Option<RootCertificates> as Optional<CertificatesFile> = None,
        /// Whether the CA certificates of the system are not trusted, so that only `root_certificates` are.
        disable_system_certificates: bool as Flag = false,
        /// The `User-Agent` header, in ASCII.
        user_agent: String as HeaderText = format!("longshore/{}", crate::VERSION) => "longshore/VERSION",
    }
    besides {
        /// Whether connections to this machine, and to link-local addresses such as that of instance metadata, are
        /// refused, even if a host name resolves to them.
        refuse_local: bool = false,
    }
    reject {
        "allow_invalid_certificates" => UNSUPPORTED,
        "http1_only" => UNSUPPORTED,
        "http2_only" => UNSUPPORTED,
        "http2_keep_alive_interval" => UNSUPPORTED,
        "http2_keep_alive_timeout" => UNSUPPORTED,
        "http2_keep_alive_while_idle" => UNSUPPORTED,
        "http2_max_frame_size" => UNSUPPORTED,
        "proxy_url" => UNSUPPORTED,
        "proxy_ca_certificate" => UNSUPPORTED,
        "proxy_excludes" => UNSUPPORTED,
        "randomize_addresses" => UNSUPPORTED,
        "default_content_type" => UNSUPPORTED,
        "content_type_by_suffix" => UNSUPPORTED,
        "default_headers" => UNSUPPORTED,
    }
}

settings! {
    /// A store's `retry_config`.
    pub struct RetryPolicy(RetryLayer) {
        /// How many times a request is retried.
        max_retries: u32 as Number<0, 1_000> = 10,
        /// No retry begins later than this after the first attempt began.
        retry_timeout: Duration as Period = Duration::from_mins(3),
        /// How long to wait between attempts.
        backoff: Backoff as Backoff = Backoff::default(),
        /// When calls fail at once because S3 does not answer.
        circuit_breaker: CircuitBreaker as CircuitBreaker = CircuitBreaker::default(),
    }
}

settings! {
    /// When calls fail at once because S3 does not answer. An answer is any response but a server error (5xx).
    pub struct CircuitBreaker(CircuitBreakerLayer) {
        /// How many attempts in a row must have failed, at least for as long as `open_time`; 0: calls never fail for
        /// this reason.
        failures: u32 as Number<0, 10_000> = 20,
        /// How long new calls then fail at once, before one of them tests S3.
        open_time: Duration as Period = Duration::from_secs(5),
    }
}

settings! {
    /// Exponential backoff with full jitter: before retry `n` (counted from 0), a random wait of up to
    /// `min(max_backoff, init_backoff × baseⁿ)`.
    pub struct Backoff(BackoffLayer) {
        /// The upper bound of the first wait; not longer than `max_backoff`.
        init_backoff: Duration as Period = Duration::from_millis(100),
        /// The upper bound of every wait.
        max_backoff: Duration as Period = Duration::from_secs(15),
        /// The factor by which the bound grows after each retry.
        base: f64 as Factor = 2.0,
    }
}

impl RetryLayer {
    /// Records a problem if `init_backoff` is longer than `max_backoff`.
    pub(crate) fn check(&self, notes: &Notes) {
        let Some(backoff) = self.backoff.get() else { return };
        let BackoffLayer { init_backoff, max_backoff, .. } = backoff;
        let settings = RetryPolicy::resolved(self).backoff;
        let place_id = init_backoff.place_id().max(max_backoff.place_id());
        if let Some(place_id) = place_id.filter(|_| settings.init_backoff > settings.max_backoff) {
            let [init, max] = [settings.init_backoff, settings.max_backoff]
                .map(|time| Period::show(&time).unwrap_or_default());
            notes.problem(
                place_id,
                format!("init_backoff ({init}) must not be longer than max_backoff ({max})"),
            );
        }
    }
}

/// A string that is valid as the value of an HTTP header.
pub(crate) struct HeaderText;

impl Scalar for HeaderText {
    type Value = String;

    fn expected() -> String {
        Text::expected()
    }

    fn from_text(text: &str) -> Result<String, String> {
        let text = Text::from_text(text)?;
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(
                "must consist of printable ASCII characters, because it is sent in an HTTP header".to_owned()
            );
        }
        Ok(text)
    }

    fn show(value: &String) -> Option<String> {
        Text::show(value)
    }
}
