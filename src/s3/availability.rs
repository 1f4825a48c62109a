//! Whether S3 answers at all, as the circuit of a store sees it.

use std::error::Error as _;

use crate::transport::{Awaited, CircuitChange, TransportError, TransportErrorKind};

use super::{Error, ErrorKind, client::Client, failed_attempt::FailedAttempt, request::Request};

/// The largest payload for which a response is expected soon, in bytes.
const SMALL_PAYLOAD: u64 = 64 * 1024;

const OPENED: &str = "S3 has answered no request for a while: new calls to the store fail at once";

impl Client {
    /// Admits a call that is about to make requests. Fails at once if S3 has not answered for a while; the error says
    /// when to try again.
    pub(crate) fn admit(&self) -> Result<(), Error> {
        self.circuit().admit().map_err(|wait| {
            self.metrics().s3_call_refused();
            if self.circuit().has_opened_unnoticed() {
                tracing::warn!(bucket = self.settings().bucket, error = "no response in time", "{OPENED}");
            }
            let message = "S3 has answered no request for a while, so calls to this store fail at once";
            Error::new(ErrorKind::BackendUnavailable, message)
                .with_retry_after(Some(wait))
                .with_circuit_open()
        })
    }

    /// Begins to wait for the response to an attempt.
    pub(super) fn awaiting(&self, request: &Request) -> Awaited<'_> {
        let is_small = request.payload.len() <= SMALL_PAYLOAD && !request.slow_on_server;
        self.circuit().awaiting(is_small)
    }

    /// Records what an attempt says about S3, and logs it if that changes something.
    pub(super) fn record(&self, awaited: Awaited<'_>, failure: Option<&FailedAttempt>) {
        let change = match failure.map(|failure| &failure.error) {
            None => awaited.answered(),
            Some(error) if is_outage(error) => awaited.failed(),
            Some(error) if error.service().is_some() && !is_undecided(error.kind()) => awaited.answered(),
            Some(_) => return awaited.undecided(),
        };
        let bucket = &self.settings().bucket;
        match (change, failure) {
            (Some(CircuitChange::Opened), Some(failure)) => tracing::warn!(
                bucket,
                error = %failure.error,
                "{OPENED}"
            ),
            (Some(CircuitChange::Closed), _) => tracing::info!(bucket, "S3 answers again"),
            _ => {}
        }
    }
}

fn is_outage(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::ConnectionFailed => !is_own_lack(error),
        ErrorKind::ConnectionLost | ErrorKind::BackendUnavailable => true,
        // With a response, it is S3 that has waited for the request.
        ErrorKind::BackendTimeout => error.service().is_none(),
        _ => false,
    }
}

/// Whether this process could open no connection.
fn is_own_lack(error: &Error) -> bool {
    let transport = error.source().and_then(|source| source.downcast_ref::<TransportError>());
    transport.is_some_and(|error| error.kind() == TransportErrorKind::Exhausted)
}

/// Throttling is no outage, but does not show that S3 does its work either.
fn is_undecided(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Throttled | ErrorKind::BackendTimeout | ErrorKind::BackendProtocol)
}
