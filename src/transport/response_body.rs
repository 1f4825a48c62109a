//! The bodies of responses, which cannot stall forever.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{TransportError, TransportErrorKind, options::after, pool::Leased};

/// The body of a response, read frame by frame on demand. Dropping it before its end closes the connection.
#[derive(Debug)]
pub struct ResponseBody {
    incoming: Incoming,
    connection: Leased,
    read_timeout: Duration,
    deadline: Option<Instant>,
}

impl ResponseBody {
    pub(super) fn new(
        incoming: Incoming,
        connection: Leased,
        read_timeout: Duration,
        deadline: Option<Instant>,
    ) -> Self {
        Self { incoming, connection, read_timeout, deadline }
    }

    /// The number of bytes left, if the server has announced the length.
    pub fn length(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next bytes; `None` at the end. The read timeout runs only while this future is awaited, so a slow reader is
    /// never mistaken for a stalled server.
    pub async fn next(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            let patience = after(self.read_timeout);
            let until = self.deadline.map_or(patience, |deadline| deadline.min(patience));
            let frame = match tokio::time::timeout_at(until, self.incoming.frame()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => {
                    self.connection.give_back();
                    return None;
                }
                Err(_) => {
                    let limit = if until == patience {
                        "no more of the response arrived within client_options.read_timeout"
                    } else {
                        "the response did not end within client_options.timeout"
                    };
                    return Some(Err(TransportErrorKind::Timeout.because(limit)));
                }
            };
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) if !data.is_empty() => return Some(Ok(data)),
                Ok(_) => {}
                Err(error) => return Some(Err(TransportErrorKind::Lost.caused_by(error))),
            }
        }
    }

    /// Reads the whole body. Fails if it is longer than `limit` bytes.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, TransportError> {
        let mut all = Bytes::new();
        while let Some(more) = self.next().await.transpose()? {
            if all.len() + more.len() > limit {
                return Err(TransportErrorKind::Protocol.because("the response is too large"));
            }
            // Copies only if there are several pieces.
            all = if all.is_empty() { more } else { joined(all, &more) };
        }
        Ok(all)
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        // A reader that knows the length stops at the last byte, and never sees the end.
        if self.incoming.is_end_stream() {
            self.connection.give_back();
        }
    }
}

fn joined(all: Bytes, more: &[u8]) -> Bytes {
    let mut all = BytesMut::from(all);
    all.extend_from_slice(more);
    all.freeze()
}
