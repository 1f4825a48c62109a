//! Limits the rate of log lines from other crates. A peer decides how often a protocol library warns (h2 warns about
//! each unsolicited PING acknowledgement), so without a limit a peer decides how much is logged.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    mem,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use super::LogFormat;

/// The number of lines that one target may log in a burst.
const BURST: u32 = 10;

/// After the burst, one line is logged per period.
const PERIOD: Duration = Duration::from_secs(1);

/// The number of targets with their own limit; all others share one. It is bounded because the `log` crate's targets
/// need not be fixed names.
const MAX_TARGETS: usize = 256;

/// Formats lines with `inner`, but suppresses lines of other crates' targets whose limit is used up. The next line of
/// the target reports how many were suppressed.
#[derive(Debug)]
pub(super) struct Limited<F> {
    inner: F,
    format: LogFormat,
    limits: Mutex<HashMap<String, Limit>>,
}

impl<F> Limited<F> {
    /// `format` is the format that `inner` writes.
    pub(super) fn new(inner: F, format: LogFormat) -> Self {
        Self { inner, format, limits: Mutex::default() }
    }

    /// If a line of `target` is logged, returns how many lines were suppressed before it.
    fn admit(&self, target: &str, now: Instant) -> Option<u64> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(limit) = limits.get_mut(target) {
            return limit.admit(now);
        }
        let target = if limits.len() < MAX_TARGETS { target } else { "" };
        limits.entry(target.to_owned()).or_insert_with(|| Limit::new(now)).admit(now)
    }
}

impl<S, N, F> FormatEvent<S, N> for Limited<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let normalized = event.normalized_metadata();
        let target = normalized.as_ref().unwrap_or_else(|| event.metadata()).target();
        if is_ours(target) {
            return self.inner.format_event(context, line, event);
        }
        match self.admit(target, Instant::now()) {
            None => Ok(()),
            Some(0) => self.inner.format_event(context, line, event),
            Some(suppressed) => {
                let mut formatted = String::new();
                self.inner.format_event(context, Writer::new(&mut formatted), event)?;
                line.write_str(&with_suppressed(formatted, suppressed, self.format))
            }
        }
    }
}

fn is_ours(target: &str) -> bool {
    target.strip_prefix("longshore").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Appends the field `suppressed` to the line.
fn with_suppressed(mut line: String, suppressed: u64, format: LogFormat) -> String {
    let end = match format {
        LogFormat::Text => "\n",
        LogFormat::Json => "}\n",
    };
    line.truncate(line.strip_suffix(end).map_or(line.len(), str::len));
    // Writing to a string cannot fail.
    let _ = match format {
        LogFormat::Text => write!(line, " suppressed={suppressed}{end}"),
        LogFormat::Json => write!(line, ",\"suppressed\":{suppressed}{end}"),
    };
    line
}

/// A token bucket that starts full.
#[derive(Debug)]
struct Limit {
    tokens: u32,
    /// The time up to which tokens have been added.
    since: Instant,
    suppressed: u64,
}

impl Limit {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, since: now, suppressed: 0 }
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        self.refill(now);
        if self.tokens == 0 {
            self.suppressed += 1;
            return None;
        }
        self.tokens -= 1;
        Some(mem::take(&mut self.suppressed))
    }

    fn refill(&mut self, now: Instant) {
        let periods = now.saturating_duration_since(self.since).as_secs() / PERIOD.as_secs();
        let periods = u32::try_from(periods).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(periods).min(BURST);
        if self.tokens == BURST {
            self.since = now;
        } else {
            self.since += PERIOD * periods;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_one_line_per_period_is_logged_with_the_count_of_suppressed_lines() {
        let (limited, start) = (Limited::new((), LogFormat::Json), Instant::now());
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for _ in 0..BURST {
            assert_eq!(limited.admit("h2", at(0)), Some(0));
        }
        for _ in 0..5 {
            assert_eq!(limited.admit("h2", at(900)), None);
        }
        assert_eq!(limited.admit("hyper", at(900)), Some(0), "each target has its own limit");
        assert_eq!(limited.admit("h2", at(1_000)), Some(5));
        assert_eq!(limited.admit("h2", at(1_999)), None);
        assert_eq!(limited.admit("h2", at(2_000)), Some(1));
        for _ in 0..BURST {
            assert_eq!(limited.admit("h2", at(60_000)), Some(0));
        }
        assert_eq!(limited.admit("h2", at(60_000)), None);
    }

    #[test]
    fn targets_beyond_the_maximum_share_a_limit() {
        let (limited, now) = (Limited::new((), LogFormat::Json), Instant::now());
        let admitted = (0..10_000).filter(|n| limited.admit(&format!("t{n}"), now).is_some()).count();
        assert_eq!(admitted, MAX_TARGETS + BURST as usize);
        assert!(limited.limits.lock().unwrap().len() <= MAX_TARGETS + 1);
    }

    #[test]
    fn the_count_of_suppressed_lines_is_a_field_of_the_line() {
        assert_eq!(
            with_suppressed("{\"a\":1}\n".to_owned(), 3, LogFormat::Json),
            "{\"a\":1,\"suppressed\":3}\n"
        );
        assert_eq!(
            with_suppressed("WARN h2: x\n".to_owned(), 3, LogFormat::Text),
            "WARN h2: x suppressed=3\n"
        );
    }
}
