//! Reserves the memory for a call's messages from the tenant's budget.

use std::{
    fmt, mem,
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

/// Messages up to this size, in bytes, need no reservation. Most calls have no larger messages and stay cheap.
pub(super) const SMALL: usize = 16 * 1024;

/// The maximum number of bytes of unfinished messages without a reservation in the whole process.
const UNRESERVED: usize = 16 * 1024 * 1024;

/// The number of bytes that a call reserves for its first frame before it reads anything, if that maximum is reached.
const FIRST: usize = 64 * 1024;

/// The interval between checks of a caller's speed while its unfinished message has a reservation.
const TICK: Duration = Duration::from_millis(100);

/// The number of bytes of unfinished messages without a reservation. Cheap to clone; clones share the count.
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

/// The reservations of a call's messages. Cheap to clone. They are released when the last clone is dropped, or by
/// [`Held::release`].
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
    /// `None` if the call has no tenant; its messages are then small.
    tenant: Option<Tenant>,
    held: Held,
    reserved: usize,
    /// Since when the server has waited for the caller: for the message, or for the end of the call.
    since: Instant,
    /// The timer for the next check of the caller's speed.
    tick: Option<Pin<Box<Sleep>>>,
    /// Whether the caller's speed has been checked since the last call of [`Memory::take_compact`].
    ticked: bool,
    unreserved: Unreserved,
    /// The bytes that this call adds to `unreserved`.
    charged: usize,
    waiting: Option<BoxFuture<'static, Result<Reservation, Error>>>,
}

impl Memory {
    pub(super) fn new(tenant: Option<Tenant>, held: Held, unreserved: Unreserved) -> Self {
        let since = Instant::now();
        Self {
            tenant,
            held,
            reserved: 0,
            since,
            tick: None,
            ticked: false,
            unreserved,
            charged: 0,
            waiting: None,
        }
    }

    /// Waits until a new message may be read.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.unreserved.is_full() { self.poll_reserve(cx, FIRST) } else { Poll::Ready(Ok(())) }
    }

    /// Waits until the server may continue to read a message of `whole` bytes, of which `arrived` have arrived. After
    /// decompression it may need `most` bytes.
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

    /// Counts `arrived` bytes of an unfinished message as far as nothing is reserved for them.
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

    /// Waits until `bytes` are reserved in total.
    ///
    /// The whole message is reserved at once. If messages reserved memory step by step, many incomplete messages could
    /// together use up the budget and then wait for each other.
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), Failure>> {
        let Some(tenant) = &self.tenant else { return Poll::Ready(Ok(())) };
        if bytes <= self.reserved {
            return Poll::Ready(Ok(()));
        }
        // A call never waits while it holds memory that other calls wait for.
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

    /// A message has been read: the wait for the caller starts again.
    pub(super) fn taken(&mut self) {
        self.since = Instant::now();
    }

    /// Waits until other calls need the memory that is reserved for an unfinished message of `whole` bytes, of which
    /// `arrived` have arrived, and the caller is too slow to keep it. Call it only while nothing more arrives.
    pub(super) fn poll_claimed(
        &mut self,
        cx: &mut Context<'_>,
        arrived: usize,
        whole: Option<usize>,
    ) -> Poll<Failure> {
        if self.reserved == 0 {
            return Poll::Pending;
        }
        // If the length is not known, use the reserved size.
        let whole = whole.unwrap_or(self.reserved);
        loop {
            let tick = self.tick.get_or_insert_with(|| Box::pin(sleep(TICK)));
            ready!(tick.as_mut().poll(cx));
            (self.tick, self.ticked) = (None, true);
            if let Some(error) = self.held.too_slow(arrived, whole, self.since.elapsed()) {
                return Poll::Ready(error.into());
            }
        }
    }

    /// If the call waits for memory, or waits longer than usual for its caller, then the unfinished message should use
    /// no more memory than it needs. Returns how many bytes are reserved for it. Other messages are not worth the copy.
    pub(super) fn take_compact(&mut self) -> Option<usize> {
        let compact = mem::take(&mut self.ticked) || self.reserved == 0 || self.waiting.is_some();
        compact.then_some(self.reserved)
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
