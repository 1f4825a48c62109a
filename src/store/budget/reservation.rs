//! Reservations: the memory that calls hold.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit},
    time::{Instant, sleep, timeout},
};

use super::{
    Ask, TenantBudget,
    ask::{Kind, Place},
    ledger::Class,
};
use crate::{
    store::{Error, ErrorKind, transfer::fill_rate::Measure},
    telemetry::Waiting,
};

/// Memory that a call holds. Dropping it gives the memory back.
#[derive(Debug)]
pub struct Reservation {
    budget: TenantBudget,
    id: u64,
}

/// What an upload with a slow caller was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Granted {
    /// Memory for the whole part.
    Whole,
    /// Memory for some bytes of the part.
    Some,
}

impl Reservation {
    /// Opens a reservation of no bytes.
    pub(super) fn open(budget: TenantBudget) -> Self {
        let id = budget.shared.lock().open(budget.share());
        Self { budget, id }
    }

    /// Adds `bytes`, and waits until they are free. Fails like [`TenantBudget::reserve`], and then holds what it held
    /// before. Cancel safe.
    pub async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let bytes = self.bytes().saturating_add(bytes);
        self.acquire(Kind::Message, &[Ask { class: Class::Message, bytes }]).await.map(drop)
    }

    /// Adds `bytes` if they are free. A reservation that already holds memory goes before waiting calls, so that its
    /// call ends soon. Returns whether the bytes were added.
    pub(in crate::store) fn extend(&self, bytes: u64) -> bool {
        self.extend_in(Class::Message, bytes)
    }

    /// The same for memory that was reserved ahead.
    pub(in crate::store) fn extend_ahead(&self, bytes: u64) -> bool {
        self.extend_in(Class::Ahead, bytes)
    }

    fn extend_in(&self, class: Class, bytes: u64) -> bool {
        self.budget.shared.change(|queue| {
            let held = queue.charge(self.id).bytes;
            let ask = Ask { class, bytes: held.saturating_add(bytes) };
            (held > 0 || queue.is_empty()) && queue.try_set(self.id, ask).is_ok()
        })
    }

    /// Changes the reservation to `bytes` that no caller has asked for yet, if it holds at least as many now, or if
    /// they are free and no call is waiting. Returns whether it did.
    pub(in crate::store) fn hold_ahead(&self, bytes: u64) -> bool {
        self.budget.shared.change(|queue| {
            if bytes <= queue.charge(self.id).bytes {
                queue.set(self.id, Class::Ahead, bytes);
                return true;
            }
            queue.is_empty() && queue.try_set(self.id, Ask { class: Class::Ahead, bytes }).is_ok()
        })
    }

    /// Gives back all but `bytes`.
    pub(in crate::store) fn shrink(&self, bytes: u64) {
        self.budget.shared.change(|queue| {
            let charge = queue.charge(self.id);
            queue.set(self.id, charge.class, bytes.min(charge.bytes));
        });
    }

    /// Waits for the permits of the tenant and of the process for a page that exceeds the budget.
    pub(in crate::store) async fn large_page(&self) -> Result<[OwnedSemaphorePermit; 2], Error> {
        let [own, all] = [&self.budget.large_pages, &self.budget.shared.large_pages].map(Arc::clone);
        let both = async { Ok::<_, AcquireError>([own.acquire_owned().await?, all.acquire_owned().await?]) };
        let turn = timeout(self.budget.settings().wait, both).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| self.exhausted())
    }

    /// Counts and returns the error for memory that did not become free in time.
    pub(in crate::store) fn exhausted(&self) -> Error {
        self.budget.count_ended("wait");
        let wait = self.budget.settings().wait;
        let message = format!("no memory became free within {wait:?}: call again later");
        Error::new(ErrorKind::MemoryExhausted, message)
    }

    /// Number of bytes that it is charged.
    pub fn bytes(&self) -> u64 {
        self.budget.shared.lock().charge(self.id).bytes
    }

    /// Returns the error that ends a call if its caller fills this memory too slowly while other calls need it: of
    /// `whole` bytes, `arrived` have arrived in the time `waited`. Returns it for one reservation at a time, so that
    /// the memory of one call is granted before the next call ends.
    pub fn too_slow(&self, arrived: u64, whole: u64, waited: Duration) -> Option<Error> {
        let too_slow = Measure { waited, bytes: arrived }.is_too_slow(whole, self.budget.settings().wait);
        if !self.budget.is_contended()
            || !too_slow
            || !self.budget.shared.lock().choose_victim(self.id, Instant::now())
        {
            return None;
        }
        self.budget.count_ended("too_slow");
        let message = "the caller sends too slowly while other calls wait for memory: call again later";
        Some(Error::new(ErrorKind::MemoryExhausted, message))
    }

    /// Waits for memory for the first part of an upload, or for the whole upload if it is smaller than a part. If the
    /// latest uploads on its connection were `slow`, it is served later.
    pub(in crate::store) async fn first_part(&mut self, bytes: u64, slow: bool) -> Result<(), Error> {
        const SMALL: u64 = 256 * 1024;
        let asks = [Ask { class: Class::Trial, bytes }, Ask { class: Class::Fresh, bytes }];
        let (kind, asks) = match slow {
            true => (Kind::Demoted, &asks[..1]),
            false if bytes <= SMALL => (Kind::Small, &asks[..]),
            false => (Kind::New, &asks[..]),
        };
        self.acquire(kind, asks).await.map(drop)
    }

    /// Waits for memory for the next part of an upload that filled its last part quickly.
    pub(in crate::store) async fn next_part(&mut self, bytes: u64) -> Result<(), Error> {
        self.acquire(Kind::Proven, &[Ask { class: Class::Moving, bytes }]).await.map(drop)
    }

    /// Waits for memory for `some` bytes of a slow caller's part, or for the `whole` part.
    pub(in crate::store) async fn part_of_slow_caller(
        &mut self,
        some: u64,
        whole: u64,
    ) -> Result<Granted, Error> {
        let asks = [Ask { class: Class::Slow, bytes: some }, Ask { class: Class::Turn, bytes: whole }];
        let granted = self.acquire(Kind::Slow, &asks).await?;
        Ok(if granted == 0 && some < whole { Granted::Some } else { Granted::Whole })
    }

    /// Takes memory for a whole part without waiting, if half of all memory stays free. Returns whether it did.
    pub(in crate::store) fn whole_if_roomy(&self, bytes: u64) -> bool {
        self.if_free(2, Ask { class: Class::Trial, bytes })
    }

    /// Takes memory for the beginning of a part without waiting, if nearly all memory stays free: calls that hold
    /// memory while they wait for more must not hold much. Returns whether it did.
    pub(in crate::store) fn beginning(&self, bytes: u64) -> bool {
        self.if_free(8, Ask { class: Class::Slow, bytes })
    }

    /// Keeps only `bytes` of a part that fills slowly, if that fits into the memory for slow callers. Returns whether
    /// it did.
    pub(in crate::store) fn give_back_to(&self, bytes: u64) -> bool {
        self.budget.shared.change(|queue| {
            let ask = Ask { class: Class::Slow, bytes: bytes.min(queue.charge(self.id).bytes) };
            queue.try_set(self.id, ask).is_ok()
        })
    }

    /// Records that the part is full and has `bytes`, and that it is uploaded next.
    pub(in crate::store) fn moving(&self, bytes: u64) {
        self.budget.shared.change(|queue| {
            let charged = queue.charge(self.id).bytes;
            queue.set(self.id, Class::Moving, bytes.min(charged));
        });
    }

    /// Takes `ask` without waiting, if it fits and no call waits. Returns whether it did.
    pub(super) fn set_at_once(&self, ask: Ask) -> bool {
        self.budget.shared.change(|queue| queue.is_empty() && queue.try_set(self.id, ask).is_ok())
    }

    /// Takes `ask` without waiting, if it fits, no call waits, and at most `1/divisor` of all memory is then in use.
    /// Returns whether it did.
    fn if_free(&self, divisor: u64, ask: Ask) -> bool {
        self.budget.shared.change(|queue| {
            let more = ask.bytes.saturating_sub(queue.charge(self.id).bytes);
            let free = queue.is_empty() && queue.ledger.uses_at_most(self.budget.share(), divisor, more);
            free && queue.try_set(self.id, ask).is_ok()
        })
    }

    /// Waits for one of `asks`, and returns the index of the one that was granted.
    async fn acquire(&mut self, kind: Kind, asks: &[Ask]) -> Result<usize, Error> {
        for (number, ask) in asks.iter().enumerate() {
            if self.set_at_once(*ask) {
                return Ok(number);
            }
        }
        let shared = &self.budget.shared;
        let (place, mut granted) =
            shared.change(|queue| queue.enqueue(kind, self.id, asks.to_vec(), &self.budget));
        if let Ok(number) = granted.try_recv() {
            return Ok(number);
        }
        let queued = Queued { budget: &self.budget, place, _waiting: shared.metrics.memory_awaited() };
        let reclaim = async {
            loop {
                for ask in asks {
                    self.budget.reclaim_for(*ask);
                }
                sleep(self.budget.between_searches()).await;
            }
        };
        let wait = shared.settings.wait;
        let served = async {
            tokio::select! {
                biased;
                number = &mut granted => number.ok(),
                () = reclaim => None,
            }
        };
        if let Ok(Some(number)) = timeout(wait, served).await {
            return Ok(number);
        }
        drop(queued);
        // The grant may have arrived at the last moment.
        granted.try_recv().map_err(|_| self.exhausted())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.shared.change(|queue| queue.close(self.id));
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct Queued<'a> {
    budget: &'a TenantBudget,
    place: Place,
    _waiting: Waiting,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.budget.shared.change(|queue| queue.leave(self.place));
    }
}
