//! How fast a body passes over its connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

use crate::rate_limit::RateLimit;

/// The number of bytes to take at a time from a body with a shared rate. At 90 MiB/s, they take 2.8 ms.
const PIECE: usize = 256 * 1024;

/// Shorter waits are skipped, because timers have a resolution of a millisecond. The next bytes make up for them.
const SHORTEST: Duration = Duration::from_millis(1);

/// The time by which a body may be late, because of timers and busy cores, and still catch up.
const GRACE: Duration = Duration::from_millis(50);

/// One direction of a connection. It holds the time at which all bytes so far will have passed.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Mutex<Instant>>);

impl Lane {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }
}

/// The pace of one body.
#[derive(Debug)]
pub(super) enum Pace {
    /// Each body has its own rate or none.
    Alone(RateLimit),
    /// All bodies in one direction of a connection share a rate.
    Shared(Share),
}

impl Pace {
    pub(super) fn shared(lane: &Lane, rate: u64) -> Self {
        Self::Shared(Share { lane: lane.clone(), rate, begun: false, booked: false, sleep: None })
    }

    /// The number of bytes to send at a time.
    pub(super) fn piece(&self) -> usize {
        match self {
            Self::Alone(limit) => limit.piece(),
            Self::Shared(_) => PIECE,
        }
    }

    /// Waits until the next `bytes` may be sent.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        match self {
            Self::Alone(limit) => limit.poll_due(cx),
            Self::Shared(share) => share.poll_passed(cx, bytes),
        }
    }

    /// Records that the bytes for which there was room were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        match self {
            Self::Alone(limit) => limit.took(bytes),
            Self::Shared(share) => share.booked = false,
        }
    }

    /// Waits after bytes were received.
    pub(super) async fn received(&mut self, bytes: usize) {
        match self {
            Self::Alone(limit) => {
                limit.took(bytes);
                limit.due().await;
            }
            Self::Shared(share) => {
                std::future::poll_fn(|cx| share.poll_passed(cx, bytes)).await;
                share.booked = false;
            }
        }
    }
}

/// A body's share of a lane. Bytes have passed when the time that they take at the lane's rate is over.
#[derive(Debug)]
pub(super) struct Share {
    lane: Lane,
    rate: u64,
    begun: bool,
    booked: bool,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Share {
    fn poll_passed(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        if !self.booked {
            self.book(bytes);
            self.booked = true;
        }
        self.sleep.as_mut().map_or(Poll::Ready(()), |sleep| sleep.as_mut().poll(cx))
    }

    /// Occupies the lane. Within a body, delays do not add up. A new body gets no credit for the time before it.
    fn book(&mut self, bytes: usize) {
        let now = Instant::now();
        let mut free = self.lane.0.lock().unwrap_or_else(PoisonError::into_inner);
        let late = now.saturating_duration_since(*free);
        let from = if self.begun && late < GRACE { *free } else { now.max(*free) };
        *free = from + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        self.begun = true;
        if free.saturating_duration_since(now) < SHORTEST {
            self.sleep = None;
            return;
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(*free),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(*free))),
        }
    }
}
