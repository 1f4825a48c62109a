//! Sends requests and receives their responses, over a pool of kept connections.

use std::{error::Error as StdError, fmt, time::Duration};

use http::{
    HeaderValue, Method, Request, Response,
    header::{CONTENT_LENGTH, USER_AGENT},
};
use tokio::time::Instant;

use super::{
    ClientOptions, Payload, ResponseBody,
    body::Sent,
    connector::Connector,
    options::after,
    pool::{self, Connection, Host, MAX_OPENING, Pool, Sending},
};

/// Why no complete response arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportErrorKind {
    /// No connection could be opened (DNS, TCP or TLS), or not in time. Nothing was sent.
    Connect,
    /// A time limit from the options expired.
    Timeout,
    /// The connection broke; the server may have received the request.
    Lost,
    /// The response is not valid HTTP, or too large.
    Protocol,
}

impl TransportErrorKind {
    pub(super) fn because(self, detail: impl Into<String>) -> TransportError {
        TransportError { kind: self, detail: detail.into() }
    }

    pub(super) fn because_of(self, error: &(dyn StdError + 'static)) -> TransportError {
        self.because(innermost(error))
    }
}

/// The error of a request that got no complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportError {
    kind: TransportErrorKind,
    detail: String,
}

impl TransportError {
    /// Why no complete response arrived.
    pub fn kind(&self) -> TransportErrorKind {
        self.kind
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl StdError for TransportError {}

/// A pool of HTTP/1.1 connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pool: Pool,
    user_agent: HeaderValue,
    read_timeout: Duration,
    timeout: Option<Duration>,
}

impl HttpClient {
    /// A client that has no connections yet. Fails if the system's CA certificates cannot be read, or if the user
    /// agent is not a valid header value; the text says which.
    pub fn new(options: &ClientOptions) -> Result<Self, String> {
        let connector = Connector::new(options.connect_timeout)
            .map_err(|error| format!("cannot read the system's CA certificates: {error}"))?;
        let user_agent = HeaderValue::from_str(&options.user_agent)
            .map_err(|_| "client_options.user_agent is not a valid header value".to_owned())?;
        let pool = Pool::new(connector, options);
        Ok(Self { pool, user_agent, read_timeout: options.read_timeout, timeout: options.timeout })
    }

    /// Sends `head` with `payload`, and returns the response as soon as its head has arrived. The server may take
    /// `timeout_factor` times the read timeout for that. Dropping the future or the response body cancels the request
    /// and closes its connection.
    pub async fn send(
        &self,
        head: http::request::Parts,
        payload: &Payload,
        timeout_factor: u32,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let body = payload.body();
        let sent = body.sent();
        let mut request = Request::from_parts(head, body);
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        // hyper omits it from requests without a body, and S3 rejects a PutObject without it (RFC 9110, 8.6).
        if payload.is_empty() && matches!(*request.method(), Method::PUT | Method::POST) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let deadline = self.timeout.map(after);
        let host = pool::take_host(&mut request)?;
        let patience_to_connect = after(self.read_timeout);
        let (response, connection) = loop {
            let mut connection = self.connection(&host, patience_to_connect, deadline).await?;
            // Boxed, so that the futures around it stay small.
            let sending = Box::pin(connection.send(request));
            let read_timeout = self.read_timeout.saturating_mul(timeout_factor);
            match watched(sending, &sent, read_timeout, deadline).await? {
                Sending::Answered(response) => break (response, self.pool.lease(connection, sent)),
                Sending::Unsent(unsent) => request = unsent,
            }
        };
        Ok(response.map(|incoming| ResponseBody::new(incoming, connection, self.read_timeout, deadline)))
    }

    /// A connection for a request. While many are being opened, this may take longer than the connector's time limit.
    async fn connection(
        &self,
        host: &Host,
        patience: Instant,
        deadline: Option<Instant>,
    ) -> Result<Connection, TransportError> {
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        tokio::time::timeout_at(until, self.pool.connection(host)).await.unwrap_or_else(|_| {
            let limit = if until == patience { "read_timeout" } else { "timeout" };
            let detail =
                format!("none within client_options.{limit}; a store opens at most {MAX_OPENING} at a time");
            Err(TransportErrorKind::Connect.because(detail))
        })
    }
}

/// Waits for the head of the response. Fails at `deadline`, or if the server accepts no more of the request body for
/// `read_timeout`.
async fn watched(
    mut sending: impl Future<Output = Result<Sending, TransportError>> + Unpin,
    sent: &Sent,
    read_timeout: Duration,
    deadline: Option<Instant>,
) -> Result<Sending, TransportError> {
    let mut seen = 0;
    loop {
        let patience = after(read_timeout);
        let until = deadline.map_or(patience, |deadline| deadline.min(patience));
        match tokio::time::timeout_at(until, &mut sending).await {
            Ok(answer) => return answer,
            Err(_) if deadline.is_some_and(|deadline| deadline <= Instant::now()) => {
                return Err(TransportErrorKind::Timeout.because("no response within client_options.timeout"));
            }
            Err(_) if sent.frames() == seen => {
                return Err(
                    TransportErrorKind::Timeout.because("no response within client_options.read_timeout")
                );
            }
            Err(_) => seen = sent.frames(),
        }
    }
}

/// The innermost cause, which is the most specific: "connection refused" rather than "client error".
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
