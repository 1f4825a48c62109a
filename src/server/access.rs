//! The access log. When a call ends, it is logged in one line, and its metrics are recorded.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::{
    api::{CallFacts, CallFailure, Severity, status},
    pb::code_name,
    telemetry::{AuditOutcome, InFlight, Metrics},
};

/// Logs the line of a call. A macro, because tracing fixes the level of an event at compile time.
macro_rules! line {
    ($level:ident, $record:ident, $code:ident, $elapsed:ident, $failure:ident) => {{
        let facts = &$record.facts;
        // No parent: the line has all the fields of its span.
        tracing::event!(
            target: "longshore::access",
            parent: None,
            tracing::Level::$level,
            method = &*$record.method,
            code = code_name($code),
            reason = $failure.map(|failure| failure.reason).or_else(|| status::reason_of_code($code)),
            s3_code = $failure.map(|failure| &*failure.s3_code).filter(|code| !code.is_empty()),
            error = $failure.map(|failure| &*failure.error),
            tenant = facts.tenant(),
            store = facts.store(),
            key = facts.key(),
            caller = facts.caller(),
            bytes_in = facts.bytes_in(),
            bytes_out = facts.bytes_out(),
            elapsed_ms = milliseconds($elapsed),
            request_id = &*$record.request_id,
            peer = $record.peer.map(tracing::field::display),
        )
    }};
}

/// An in-flight call. It is logged exactly once: when it ends, or when it is dropped before that because the caller
/// went away.
#[derive(Debug)]
pub(super) struct Record {
    method: Arc<str>,
    request_id: Arc<str>,
    peer: Option<SocketAddr>,
    facts: Arc<CallFacts>,
    started: Instant,
    metrics: Metrics,
    ended: bool,
    _in_flight: InFlight,
    _running: Running,
}

impl Record {
    pub(super) fn begin(
        method: Arc<str>,
        request_id: Arc<str>,
        peer: Option<SocketAddr>,
        facts: Arc<CallFacts>,
        metrics: &Metrics,
        running: &RunningCalls,
    ) -> Self {
        Self {
            _in_flight: metrics.call_started(&method),
            _running: running.enter(),
            method,
            request_id,
            peer,
            facts,
            started: Instant::now(),
            metrics: metrics.clone(),
            ended: false,
        }
    }

    /// Records that the call ended with `code`.
    pub(super) fn end(mut self, code: Code) {
        self.tell(code);
    }

    fn tell(&mut self, code: Code) {
        self.ended = true;
        let elapsed = self.started.elapsed();
        self.metrics.call_ended(&self.method, code_name(code), elapsed);
        self.facts.count_end(&self.method, code);
        let failure = self.facts.failure().filter(|_| code != Code::Ok);
        self.audit(code, failure, elapsed);
        match severity(code, failure) {
            Severity::Info => line!(INFO, self, code, elapsed, failure),
            Severity::Warning => line!(WARN, self, code, elapsed, failure),
            Severity::Error => line!(ERROR, self, code, elapsed, failure),
        }
    }
}

impl Record {
    /// Writes the last line of the call to the audit log, if it was admitted there.
    fn audit(&self, code: Code, failure: Option<&CallFailure>, elapsed: Duration) {
        let Some(audit) = self.facts.audit() else { return };
        audit.end(&AuditOutcome {
            code: code_name(code),
            reason: failure.map(|failure| failure.reason).or_else(|| status::reason_of_code(code)),
            bytes_in: self.facts.bytes_in(),
            bytes_out: self.facts.bytes_out(),
            elapsed,
        });
    }
}

/// Failures of S3 and of the settings concern the operator; failures of callers do not.
fn severity(code: Code, failure: Option<&CallFailure>) -> Severity {
    match failure {
        Some(failure) => failure.severity,
        None if code == Code::Internal => Severity::Error,
        None => Severity::Info,
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Code::Cancelled);
        }
    }
}

/// The number of in-flight calls, for the log lines of the shutdown.
#[derive(Debug, Clone, Default)]
pub(super) struct RunningCalls(Arc<AtomicUsize>);

impl RunningCalls {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn enter(&self) -> Running {
        self.0.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }
}

#[derive(Debug)]
struct Running(RunningCalls);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The status code in headers or trailers, if there is one.
pub(super) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// Milliseconds with three decimals.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::tests::Lines;

    /// The log line of a call that ends with `code`: its fields, as text.
    fn line(code: Code, facts: CallFacts) -> std::collections::BTreeMap<&'static str, String> {
        let (lines, _guard) = Lines::capture();
        let (metrics, running) = (Metrics::default(), RunningCalls::default());
        Record::begin("m".into(), "r1".into(), None, Arc::new(facts), &metrics, &running).end(code);
        let mut lines = lines.0.lock().unwrap().clone();
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    }

    fn failed(severity: Severity) -> CallFacts {
        let facts = CallFacts::default();
        facts.set_store("default");
        facts.set_key("a\u{1b}b");
        let failure = CallFailure::new("ACCESS_DENIED", severity, "arn:aws:iam::1:user/x may not");
        facts.fail(CallFailure { s3_code: "AccessDenied".to_owned(), ..failure });
        facts
    }

    #[test]
    fn a_failed_call_is_logged_with_its_reason_at_the_level_of_its_severity() {
        for (severity, level) in
            [(Severity::Info, "INFO"), (Severity::Warning, "WARN"), (Severity::Error, "ERROR")]
        {
            let line = line(Code::PermissionDenied, failed(severity));
            for (name, value) in [
                ("level", level),
                ("code", "PERMISSION_DENIED"),
                ("reason", "ACCESS_DENIED"),
                ("s3_code", "AccessDenied"),
                ("store", "default"),
                ("key", "a\\\\u{1b}b"),
                ("error", "arn:aws:iam::1:user/x may not"),
            ] {
                assert_eq!(line[name], value, "{name}");
            }
        }
    }

    #[test]
    fn a_successful_call_has_no_reason_and_one_that_a_layer_ended_has_the_reason_of_its_code() {
        let ok = line(Code::Ok, CallFacts::default());
        assert!(ok["level"] == "INFO" && !ok.contains_key("reason") && !ok.contains_key("error"), "{ok:?}");
        for (code, reason) in [
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Code::Cancelled, "CANCELLED"),
            (Code::Unavailable, "SHUTTING_DOWN"),
        ] {
            let line = line(code, CallFacts::default());
            assert_eq!((line["level"].as_str(), line["reason"].as_str()), ("INFO", reason));
        }
        assert_eq!(line(Code::Internal, CallFacts::default())["level"], "ERROR");
    }

    #[test]
    fn long_names_in_the_log_line_are_truncated() {
        let (facts, long) = (CallFacts::default(), "x".repeat(3_000_000));
        facts.set_tenant(&long);
        facts.set_store(&long);
        facts.set_key(&long);
        facts.fail(CallFailure::new("INVALID_FIELD", Severity::Info, &long));
        let line = line(Code::InvalidArgument, facts);
        let size: usize = line.values().map(String::len).sum();
        assert!(size < 2_048, "{size}");
    }

    #[test]
    fn milliseconds_are_rounded_to_microseconds() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567)).to_bits(), 1.235_f64.to_bits());
        assert_eq!(milliseconds(Duration::from_hours(2)).to_bits(), 7_200_000_f64.to_bits());
    }
}
