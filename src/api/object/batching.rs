//! Decides how many bytes of an object go into one message.

use std::{mem, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{task::yield_now, time::Instant};

use crate::store::{Error, ObjectReader};

/// The approximate size of a message to a fast caller, in bytes. Every message costs the caller some work, and in some
/// languages a lot.
const LARGE: usize = 256 * 1024;

/// The number of bytes that a caller must take quickly before it counts as fast. Smaller amounts fit into sockets and
/// windows before the caller has read anything.
const PROVEN: usize = 2 * 1024 * 1024;

/// The minimum speed of a fast caller, in bytes per second.
const FAST: usize = 64 * 1024 * 1024;

/// Reads an object for a caller. A slow caller gets each piece in a message of its own, because the data of a message
/// waits in memory.
#[derive(Debug)]
pub(super) struct MessageBatcher {
    reader: ObjectReader,
    speed: CallerSpeed,
    /// An error that occurred after bytes that must be returned first.
    failed: Option<Error>,
}

/// Measures whether a caller takes bytes as fast as they arrive.
#[derive(Debug, Default)]
struct CallerSpeed {
    /// When bytes were last returned, and how many.
    given: Option<(Instant, usize)>,
    /// How many bytes were taken quickly in succession, up to [`PROVEN`].
    taken: usize,
}

impl MessageBatcher {
    pub(super) fn new(reader: ObjectReader) -> Self {
        Self { reader, speed: CallerSpeed::default(), failed: None }
    }

    /// The bytes of the next message, in the pieces in which they arrived. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<(Bytes, Vec<Bytes>), Error>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let fast = self.speed.is_fast(Instant::now());
        let first = match self.reader.next().await? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let (mut len, mut more) = (first.len(), Vec::new());
        while fast && len < LARGE {
            // Let the connection task run, so that it can deliver what S3 has already sent. Do not wait for more than
            // that.
            yield_now().await;
            match self.reader.next().now_or_never() {
                Some(Some(Ok(piece))) => {
                    len += piece.len();
                    more.push(piece);
                }
                Some(Some(Err(error))) => {
                    self.failed = Some(error);
                    break;
                }
                Some(None) | None => break,
            }
        }
        self.speed.given = Some((Instant::now(), len));
        Some(Ok((first, more)))
    }
}

impl CallerSpeed {
    /// Whether the caller, which asks for more bytes at `now`, counts as fast.
    fn is_fast(&mut self, now: Instant) -> bool {
        if let Some((given, len)) = mem::take(&mut self.given) {
            let patience = Duration::from_micros((len * 1_000_000 / FAST) as u64);
            let fast = now.duration_since(given) <= patience;
            self.taken = if fast { (self.taken + len).min(PROVEN) } else { 0 };
        }
        self.taken == PROVEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_becomes_fast_gradually_and_slow_immediately() {
        let (mut speed, mut now) = (CallerSpeed::default(), Instant::now());
        let mut take = |len: usize, after: Duration| {
            speed.given = Some((now, len));
            now += after;
            speed.is_fast(now)
        };
        let soon = Duration::from_micros(100);
        assert!((0..31).all(|_| !take(PROVEN / 32, soon)));
        assert!(take(PROVEN / 32, soon));
        assert!(!take(PROVEN / 32, Duration::from_millis(10)));
        assert!(!take(PROVEN / 32, soon));
    }
}
