//! What is told of a call once it has ended: one line in the log, and its metrics.

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
    api::CallFacts,
    telemetry::{InFlight, Metrics},
};

/// A call under way. It is told of exactly once: when it ends, or when it is dropped before, which is
/// what happens to it when the caller goes away.
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

    /// The call ended with `code`.
    pub(super) fn end(mut self, code: Code) {
        self.tell(code);
    }

    fn tell(&mut self, code: Code) {
        self.ended = true;
        let (code, elapsed) = (code_name(code), self.started.elapsed());
        self.metrics.call_ended(&self.method, code, elapsed);
        let facts = &self.facts;
        // No parent: the line has all that its span has, and is read by itself.
        tracing::info!(
            target: "longshore::access",
            parent: None,
            method = &*self.method,
            code,
            tenant = facts.tenant(),
            store = facts.store(),
            caller = facts.caller(),
            bytes_in = facts.bytes_in(),
            bytes_out = facts.bytes_out(),
            elapsed_ms = milliseconds(elapsed),
            request_id = &*self.request_id,
            peer = self.peer.map(tracing::field::display),
        );
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Code::Cancelled);
        }
    }
}

/// How many calls are under way, for the log lines of shutdown.
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

/// The status in headers or trailers, if there is one.
pub(super) fn code(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|value| Code::from_bytes(value.as_bytes()))
}

/// Milliseconds with three decimals.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

/// The code's name as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_keep_their_microseconds() {
        assert_eq!(milliseconds(Duration::from_nanos(1_234_567)).to_bits(), 1.235_f64.to_bits());
        assert_eq!(milliseconds(Duration::from_hours(2)).to_bits(), 7_200_000_f64.to_bits());
    }
}
