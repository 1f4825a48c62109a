//! Sends requests and receives their responses, over a pool of persistent connections.

use std::time::Duration;

use http::{
    HeaderValue, Method, Request, Response,
    header::{CONTENT_LENGTH, HOST, USER_AGENT},
};
use tokio::time::Instant;

use super::{
    ClientOptions, Lookups, Payload, ResponseBody,
    connector::Connector,
    error::{ClientError, TransportError, TransportErrorKind},
    options::after,
    payload::Sent,
    pool::{self, Connection, ConnectionCounts, Host, MAX_OPENING, Pool, Sending},
};

/// A pool of HTTP/1.1 connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pool: Pool,
    lookups: Lookups,
    user_agent: HeaderValue,
    read_timeout: Duration,
    timeout: Option<Duration>,
}

impl HttpClient {
    /// A client that has no connections yet, and shares `lookups` with the others of its tenant.
    pub fn new(options: &ClientOptions, lookups: Lookups) -> Result<Self, ClientError> {
        let connector = Connector::new(options, lookups.clone()).map_err(ClientError::CaCertificates)?;
        let user_agent = HeaderValue::from_str(&options.user_agent).map_err(ClientError::UserAgent)?;
        let pool = Pool::new(connector, options);
        Ok(Self { pool, lookups, user_agent, read_timeout: options.read_timeout, timeout: options.timeout })
    }

    /// The tenant's lookups of host names.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The connections that are open now.
    pub fn connections(&self) -> ConnectionCounts {
        self.pool.counts()
    }

    /// Closes the connections that carry no request, on all threads.
    pub fn close_idle(&self) {
        self.pool.close_idle();
    }

    /// Sends `head` with `payload`, and returns the response as soon as its head has arrived. The server may go without
    /// progress for up to `timeout_factor` times the read timeout. Dropping the future or the response body cancels the
    /// request and closes its connection.
    pub async fn send(
        &self,
        head: http::request::Parts,
        payload: &Payload,
        timeout_factor: u32,
    ) -> Result<Response<ResponseBody>, TransportError> {
        self.send_counted(head, payload, timeout_factor, || ()).await
    }

    /// Like [`HttpClient::send`]. Calls `count` if the request has reached a connection, when the head of the response
    /// has arrived or the request has failed or been cancelled.
    pub async fn send_counted(
        &self,
        head: http::request::Parts,
        payload: &Payload,
        timeout_factor: u32,
        count: impl FnOnce() + Send,
    ) -> Result<Response<ResponseBody>, TransportError> {
        let body = payload.body();
        let sent = body.sent();
        let mut request = Request::from_parts(head, body);
        request.headers_mut().insert(USER_AGENT, self.user_agent.clone());
        // hyper omits Content-Length from requests without a body, and S3 rejects a PutObject without it (RFC 9110,
        // 8.6).
        if payload.is_empty() && matches!(*request.method(), Method::PUT | Method::POST) {
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let deadline = self.timeout.map(after);
        let host = pool::take_host(&mut request)?;
        // hyper's connections send the headers as they are, and RFC 9112, 3.2, requires this one. S3's signs its own.
        if let Some(value) = host.header() {
            request.headers_mut().entry(HOST).or_insert(value);
        }
        let patience_to_connect = after(self.read_timeout);
        // A server that works for long may begin its response early, and then pause between the bytes of it.
        let read_timeout = self.read_timeout.saturating_mul(timeout_factor);
        let mut counting = Counting { count: Some(count), is_sent: false };
        let (response, connection) = loop {
            let mut connection = self.connection(&host, patience_to_connect, deadline).await?;
            counting.is_sent = true;
            // Boxed, so that the futures around it stay small.
            let sending = Box::pin(connection.send(request));
            match watched(sending, &sent, read_timeout, deadline).await {
                Ok(Sending::Answered(response)) => break (response, self.pool.lease(connection, sent)),
                Ok(Sending::Unsent(unsent)) => {
                    request = unsent;
                    counting.is_sent = false;
                }
                Err(error) => {
                    counting.is_sent = error.kind() != TransportErrorKind::Connect;
                    if error.kind() == TransportErrorKind::TooManyHeaders {
                        self.pool.accept_many_headers();
                    }
                    return Err(error);
                }
            }
        };
        Ok(response.map(|incoming| ResponseBody::new(incoming, connection, read_timeout, deadline)))
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

/// Counts a request when dropped, if it has been sent.
struct Counting<F: FnOnce()> {
    count: Option<F>,
    is_sent: bool,
}

impl<F: FnOnce()> Drop for Counting<F> {
    fn drop(&mut self) {
        if self.is_sent
            && let Some(count) = self.count.take()
        {
            count();
        }
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
