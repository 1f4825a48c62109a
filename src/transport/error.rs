//! Errors of requests that got no complete response.

use std::{error::Error as StdError, fmt, sync::Arc};

/// Why an HTTP client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The system's CA certificates cannot be read.
    #[error("cannot read the system's CA certificates: {0}")]
    CaCertificates(#[source] std::io::Error),
    /// The user agent is not a valid header value.
    #[error("client_options.user_agent is not a valid header value")]
    UserAgent(#[source] http::header::InvalidHeaderValue),
}

/// Why no complete response arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// No connection could be opened (DNS, TCP or TLS), or not in time. Nothing was sent.
    Connect,
    /// This process may open no more connections at the moment. Nothing was sent.
    Exhausted,
    /// A time limit from the options expired.
    Timeout,
    /// The connection broke; the server may have received the request.
    Lost,
    /// The response has more headers than the connection accepts. Connections that are opened from now on accept more.
    TooManyHeaders,
    /// The response is not valid HTTP, or too large.
    Protocol,
}

impl TransportErrorKind {
    /// The error for what this client found itself.
    pub(super) fn because(self, found: impl Into<String>) -> TransportError {
        TransportError { kind: self, cause: Cause::Found(found.into()) }
    }

    /// The error for a failure of a lower layer.
    pub(super) fn caused_by(self, error: impl Into<Box<dyn StdError + Send + Sync>>) -> TransportError {
        TransportError { kind: self, cause: Cause::Error(error.into().into()) }
    }
}

/// The error of a request that got no complete response. Its text is that of the innermost cause, which is the most
/// specific: "connection refused" rather than "client error".
#[derive(Debug, Clone)]
pub struct TransportError {
    kind: TransportErrorKind,
    cause: Cause,
}

#[derive(Debug, Clone)]
enum Cause {
    Found(String),
    Error(Arc<dyn StdError + Send + Sync>),
}

impl TransportError {
    /// Why no complete response arrived.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::Found(found) => f.write_str(found),
            Cause::Error(error) => {
                let mut cause: &dyn StdError = &**error;
                while let Some(source) = cause.source() {
                    cause = source;
                }
                fmt::Display::fmt(cause, f)
            }
        }
    }
}

impl StdError for TransportError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.cause {
            Cause::Found(_) => None,
            Cause::Error(error) => Some(&**error),
        }
    }
}
