//! How much of an object goes into one message.

use std::{mem, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use tokio::{task::yield_now, time::Instant};

use crate::store::{Error, ObjectReader};

/// A caller that is fast gets about so much in a message, in bytes: each costs it something, and some languages much.
const LARGE: usize = 256 * 1024;

/// Bytes after which a caller is known for fast. Fewer fit into sockets and windows without anybody having read them.
const PROVEN: usize = 2 * 1024 * 1024;

/// The least that a fast caller takes, in bytes a second.
const FAST: usize = 64 * 1024 * 1024;

/// Reads an object for a caller. One that is slow gets each piece by itself, since what is in a message waits in memory.
#[derive(Debug)]
pub(super) struct Gather {
    reader: ObjectReader,
    pace: Pace,
    /// What came after bytes that had to be given first.
    failed: Option<Error>,
}

/// Notices whether a caller takes bytes as fast as they come.
#[derive(Debug, Default)]
struct Pace {
    /// When bytes were given last, and how many.
    given: Option<(Instant, usize)>,
    /// How many were taken fast, up to [`PROVEN`].
    taken: usize,
}

impl Gather {
    pub(super) fn new(reader: ObjectReader) -> Self {
        Self { reader, pace: Pace::default(), failed: None }
    }

    /// The bytes of the next message, in the pieces in which they came; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<(Bytes, Vec<Bytes>), Error>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let fast = self.pace.is_fast(Instant::now());
        let first = match self.reader.next().await? {
            Ok(first) => first,
            Err(error) => return Some(Err(error)),
        };
        let (mut len, mut more) = (first.len(), Vec::new());
        while fast && len < LARGE {
            // The connection has its turn, to bring what S3 has sent already. Nothing else is waited for.
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
        self.pace.given = Some((Instant::now(), len));
        Some(Ok((first, more)))
    }
}

impl Pace {
    /// The caller wants more at `now`.
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
    fn a_caller_is_fast_after_a_while_and_slow_at_once() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut take = |len: usize, after: Duration| {
            pace.given = Some((now, len));
            now += after;
            pace.is_fast(now)
        };
        let soon = Duration::from_micros(100);
        assert!((0..31).all(|_| !take(PROVEN / 32, soon)));
        assert!(take(PROVEN / 32, soon));
        assert!(!take(PROVEN / 32, Duration::from_millis(10)));
        assert!(!take(PROVEN / 32, soon));
    }
}
