//! The memory of one call's messages, counted in its tenant's budget.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::time::{Instant, Sleep, sleep};

use crate::{
    api::failure::Failure,
    store::{Error, Reservation},
    tenants::Tenant,
};

/// Messages of up to so many bytes need no reservation: most calls have no larger ones, and stay cheap.
pub(super) const SMALL: usize = 16 * 1024;

/// How many bytes of unfinished messages may be without a reservation in the whole process.
const UNRESERVED: usize = 32 * 1024 * 1024;

/// What a call reserves before it reads anything, where that many are: its first frame.
const FIRST: usize = 64 * 1024;

/// How often a caller is judged whose unfinished message has a reservation.
const TICK: Duration = Duration::from_millis(100);

/// Bytes of unfinished messages without a reservation. Cheap to clone; clones share the count.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreserved(Arc<AtomicUsize>);

impl Unreserved {
    #[cfg(test)]
    pub(super) fn full() -> Self {
        Self(Arc::new(AtomicUsize::new(UNRESERVED)))
    }

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= UNRESERVED
    }
}

/// Reservations of a call's messages. Cheap to clone; they are released with the last clone, or by [`Held::release`].
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Vec<Reservation>>>);

impl Held {
    fn add(&self, reservation: Reservation) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(reservation);
    }

    fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn too_slow(&self, arrived: usize, whole: usize, waited: Duration) -> Option<Error> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.first().and_then(|memory| memory.too_slow(arrived as u64, whole as u64, waited))
    }
}

/// Reserves memory for the message that is being read.
pub(super) struct Memory {
    /// `None`: the call has no tenant, and its messages are small.
    tenant: Option<Tenant>,
    held: Held,
    reserved: usize,
    /// Since when its caller has been waited for: for the message, or for what ends the call.
    since: Instant,
    /// When its caller is judged next.
    tick: Option<Pin<Box<Sleep>>>,
    unreserved: Unreserved,
    /// What this call adds to `unreserved`.
    charged: usize,
    waiting: Option<BoxFuture<'static, Result<Reservation, Error>>>,
}

impl Memory {
    pub(super) fn new(tenant: Option<Tenant>, held: Held, unreserved: Unreserved) -> Self {
        let since = Instant::now();
        Self { tenant, held, reserved: 0, since, tick: None, unreserved, charged: 0, waiting: None }
    }

    /// Waits until a new message may be read.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.unreserved.is_full() { self.poll_reserve(cx, FIRST) } else { Poll::Ready(Ok(())) }
    }

    /// Waits until a message of `whole` bytes, of which `arrived` have arrived, may be read on. It may need `most` bytes once
    /// it is unpacked.
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        arrived: usize,
        whole: usize,
        most: usize,
    ) -> Poll<Result<(), Failure>> {
        if whole <= SMALL || (arrived <= SMALL && !self.unreserved.is_full()) {
            return Poll::Ready(Ok(()));
        }
        self.poll_reserve(cx, most)
    }

    /// Counts `arrived` bytes of an unfinished message for which nothing is reserved.
    pub(super) fn charge(&mut self, arrived: usize) {
        let charge = arrived.saturating_sub(self.reserved);
        if charge == self.charged {
            return;
        }
        if charge >= self.charged {
            self.unreserved.0.fetch_add(charge - self.charged, Ordering::Relaxed);
        } else {
            self.unreserved.0.fetch_sub(self.charged - charge, Ordering::Relaxed);
        }
        self.charged = charge;
    }

    /// Waits until `bytes` are reserved in all.
    ///
    /// The whole message is reserved at once. Messages that grew step by step could together hold the budget with none of
    /// them complete, and would then wait for each other.
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), Failure>> {
        let Some(tenant) = &self.tenant else { return Poll::Ready(Ok(())) };
        if bytes <= self.reserved {
            return Poll::Ready(Ok(()));
        }
        // No call waits while it holds what others wait for.
        if self.reserved > 0 {
            self.held.release();
            self.reserved = 0;
        }
        let waiting = self.waiting.get_or_insert_with(|| {
            let tenant = tenant.clone();
            Box::pin(async move { tenant.budget().reserve(bytes as u64).await })
        });
        let reservation = ready!(Pin::new(waiting).poll(cx));
        self.waiting = None;
        self.held.add(reservation?);
        (self.reserved, self.since, self.tick) = (bytes, Instant::now(), None);
        Poll::Ready(Ok(()))
    }

    /// A message has been read: from now on its caller is waited for anew.
    pub(super) fn taken(&mut self) {
        self.since = Instant::now();
    }

    /// Waits until others need what is reserved for an unfinished message of `whole` bytes, of which `arrived` have arrived, and
    /// its caller is too slow to keep it. Call it only while nothing more arrives.
    pub(super) fn poll_claimed(
        &mut self,
        cx: &mut Context<'_>,
        arrived: usize,
        whole: Option<usize>,
    ) -> Poll<Failure> {
        if self.reserved == 0 {
            return Poll::Pending;
        }
        // Where the length is not known, as much as was reserved.
        let whole = whole.unwrap_or(self.reserved);
        loop {
            let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(TICK)));
            ready!(tick.as_mut().poll(cx));
            self.tick = None;
            if let Some(error) = self.held.too_slow(arrived, whole, self.since.elapsed()) {
                return Poll::Ready(error.into());
            }
        }
    }

    /// The last message has been handled.
    pub(super) fn release(&mut self) {
        if self.reserved > 0 {
            self.held.release();
            self.reserved = 0;
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.charge(0);
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("reserved", &self.reserved).finish_non_exhaustive()
    }
}
