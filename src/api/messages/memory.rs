//! The memory of one call's messages, counted in its tenant's budget.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures::future::BoxFuture;

use crate::{
    api::failure::Failure,
    store::{Error, Reservation},
    tenants::Tenant,
};

/// Messages of up to so many bytes are not counted: most calls have no larger ones, and stay cheap.
pub(super) const UNCOUNTED: usize = 16 * 1024;

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
}

/// Reserves memory for the message that is being read.
pub(super) struct Memory {
    /// `None`: the call has no tenant, and its messages are small.
    tenant: Option<Tenant>,
    held: Held,
    reserved: usize,
    waiting: Option<BoxFuture<'static, Result<Reservation, Error>>>,
}

impl Memory {
    pub(super) fn new(tenant: Option<Tenant>, held: Held) -> Self {
        Self { tenant, held, reserved: 0, waiting: None }
    }

    /// Waits until `bytes` are reserved in all.
    ///
    /// The whole message is reserved at once. Messages that grew step by step could together hold the budget with none of
    /// them complete, and would then wait for each other.
    pub(super) fn poll_reserve(&mut self, cx: &mut Context<'_>, bytes: usize) -> Poll<Result<(), Failure>> {
        let Some(tenant) = &self.tenant else { return Poll::Ready(Ok(())) };
        if bytes <= UNCOUNTED.max(self.reserved) {
            return Poll::Ready(Ok(()));
        }
        let more = (bytes - self.reserved) as u64;
        let waiting = self.waiting.get_or_insert_with(|| {
            let tenant = tenant.clone();
            Box::pin(async move { tenant.budget().reserve(more).await })
        });
        let reservation = ready!(Pin::new(waiting).poll(cx));
        self.waiting = None;
        self.held.add(reservation?);
        self.reserved = bytes;
        Poll::Ready(Ok(()))
    }

    /// The last message has been handled.
    pub(super) fn release(&mut self) {
        if self.reserved > 0 {
            self.held.release();
            self.reserved = 0;
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("reserved", &self.reserved).finish_non_exhaustive()
    }
}
