//! The memory that each reservation holds, and the calls that wait for memory.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use super::{
    TenantBudget,
    ask::{Ask, Kind, Place},
    ledger::{Charge, Class, Ledger, Short},
    waiters::{Waiter, Waiters},
};

/// How long other calls wait before a slow upload is ended.
const PATIENCE: Duration = Duration::from_millis(50);
/// Minimum time between ending one slow upload and the next, so that the memory of the first can be granted in between.
const BETWEEN_VICTIMS: Duration = Duration::from_millis(100);

/// How long a call may have waited and still be granted [`Class::Fresh`] memory.
const FRESH: Duration = Duration::from_secs(3);

/// The order in which the kinds are served after this number of grants. Messages always go first, and then usually the
/// uploads proven to be fast. In three of every eight grants, other kinds go before those uploads, so that they do not
/// starve.
fn order(grants: u64) -> [Kind; 6] {
    use Kind::{Demoted, Message, New, Proven, Slow, Small};
    match grants % 8 {
        3 => [Message, Small, New, Proven, Demoted, Slow],
        5 => [Message, Demoted, Proven, Small, New, Slow],
        7 => [Message, Slow, Proven, Small, New, Demoted],
        _ => [Message, Proven, Small, New, Demoted, Slow],
    }
}

/// All reservations and the calls that wait. It is locked only briefly.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) ledger: Ledger,
    charges: HashMap<u64, Charge>,
    waiters: Waiters,
    next: u64,
    /// Number of grants to waiting uploads.
    grants: u64,
    last_victim: Option<Instant>,
    /// Whether a waiting call lacks memory of the process, and not only of its tenant's share.
    pub(super) process_is_short: bool,
}

impl Queue {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            ledger: Ledger::new(limit),
            charges: HashMap::new(),
            waiters: Waiters::default(),
            next: 0,
            grants: 0,
            last_victim: None,
            process_is_short: false,
        }
    }

    /// Opens a reservation of no bytes.
    pub(super) fn open(&mut self, share: usize) -> u64 {
        let reservation = self.number();
        self.charges.insert(reservation, Charge { share, class: Class::Slow, bytes: 0 });
        reservation
    }

    /// Returns a number that was not used before.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Closes a reservation and frees its memory.
    pub(super) fn close(&mut self, reservation: u64) {
        if let Some(charge) = self.charges.remove(&reservation) {
            self.ledger.replace(charge, Charge { bytes: 0, ..charge });
            self.waiters.unblock(charge.share);
        }
    }

    /// What a reservation holds.
    pub(super) fn charge(&self, reservation: u64) -> Charge {
        let nothing = Charge { share: usize::MAX, class: Class::Slow, bytes: 0 };
        self.charges.get(&reservation).copied().unwrap_or(nothing)
    }

    /// Changes the limit of a share.
    pub(super) fn limit_share(&mut self, share: usize, limit: u64) {
        self.ledger.limit_share(share, limit);
        self.waiters.unblock(share);
    }

    /// Sets what a reservation holds, whether or not that fits.
    pub(super) fn set(&mut self, reservation: u64, class: Class, bytes: u64) {
        if let Some(charge) = self.charges.get_mut(&reservation) {
            let new = Charge { class, bytes, ..*charge };
            self.ledger.replace(*charge, new);
            *charge = new;
            self.waiters.unblock(new.share);
        }
    }

    /// Grants `ask` to a reservation if it fits.
    pub(super) fn try_set(&mut self, reservation: u64, ask: Ask) -> Result<(), Short> {
        let fitting = self.ledger.fit(self.charge(reservation), ask.class, ask.bytes)?;
        self.set(reservation, fitting.class, fitting.bytes);
        Ok(())
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// Number of calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Adds a call that waits for one of `asks`. The receiver gets the index of the one that is granted.
    pub(super) fn enqueue(
        &mut self,
        kind: Kind,
        reservation: u64,
        asks: Vec<Ask>,
        budget: &TenantBudget,
    ) -> (Place, oneshot::Receiver<usize>) {
        let place = (kind, self.number());
        let (granted, receiver) = oneshot::channel();
        let (since, short, waiting) = (Instant::now(), Short::Free, Arc::clone(&budget.waiting));
        let (tenant, share) = (budget.tenant, budget.share());
        self.waiters.add(place, Waiter { reservation, tenant, share, asks, since, short, granted, waiting });
        (place, receiver)
    }

    /// Removes a call from the queue. Returns whether it was still in it.
    pub(super) fn leave(&mut self, place: Place) -> bool {
        self.waiters.leave(place).is_some()
    }

    /// Grants free memory to waiting calls. If the process has no free memory for a call, all calls behind it wait, so
    /// that small calls do not starve a large one. A call over a class's cap blocks only its kind, and a call over its
    /// tenant's share only that tenant's calls of its kind.
    pub(super) fn pump(&mut self) {
        while self.pump_in_order(order(self.grants)) {}
    }

    /// Grants free memory in this order. Returns whether an upload was served, after which the order may differ.
    fn pump_in_order(&mut self, order: [Kind; 6]) -> bool {
        self.process_is_short = false;
        for kind in order {
            let (mut from, mut fresh_only) = (0, false);
            while let Some((turn, place)) = self.waiters.next(kind, from) {
                from = turn + 1;
                let served = if kind == Kind::New {
                    let served = self.serve_new(place, fresh_only);
                    // From here on, grant only `Fresh` memory: smaller parts could otherwise keep taking the `Trial`
                    // memory that this upload waits for.
                    fresh_only |= served == Err(Short::Class);
                    served
                } else {
                    self.serve(place, |_| true)
                };
                match served {
                    Ok(()) if kind == Kind::Message => {}
                    Ok(()) => return true,
                    Err(Short::Free) => return false,
                    Err(Short::Class) if kind != Kind::New => break,
                    Err(Short::Share | Short::Class) => {}
                }
            }
        }
        false
    }

    /// Serves the first upload in a line of new uploads, or else the newest one, if that is fresh.
    fn serve_new(&mut self, first: Place, fresh_only: bool) -> Result<(), Short> {
        let is_fresh = |class: Class| class == Class::Fresh;
        let served = self.serve(first, |class| !fresh_only || is_fresh(class));
        match (served, self.waiters.newest_in_line_of(first)) {
            (Err(Short::Share | Short::Class), Some(newest)) if newest != first => {
                match self.serve(newest, is_fresh) {
                    Err(Short::Share | Short::Class) => served,
                    other => other,
                }
            }
            _ => served,
        }
    }

    /// Grants a call what it waits for, if that fits and its class is allowed.
    fn serve(&mut self, place: Place, allowed: impl Fn(Class) -> bool) -> Result<(), Short> {
        let Some(waiter) = self.waiters.get(place) else { return Ok(()) };
        let (reservation, mut asks) = (waiter.reservation, waiter.asks.clone());
        let is_fresh = waiter.since.elapsed() < FRESH;
        asks.retain(|ask| allowed(ask.class) && (is_fresh || ask.class != Class::Fresh));
        match self.grant(reservation, &asks) {
            Ok(ask) => {
                self.granted(place, ask);
                Ok(())
            }
            Err(short) => {
                self.process_is_short |= short != Short::Share;
                self.waiters.lacks(place, short);
                Err(short)
            }
        }
    }

    fn granted(&mut self, place: Place, ask: usize) {
        self.grants += u64::from(place.0 != Kind::Message);
        if let Some(waiter) = self.waiters.serve(place) {
            // A call that has left in the meantime drops its reservation.
            let _ = waiter.granted.send(ask);
        }
    }

    /// Grants the first of `asks` that fits.
    fn grant(&mut self, reservation: u64, asks: &[Ask]) -> Result<usize, Short> {
        let mut short = Short::Class;
        for (number, ask) in asks.iter().enumerate() {
            match self.try_set(reservation, *ask) {
                Ok(()) => return Ok(number),
                Err(lacking) => short = lacking,
            }
        }
        Err(short)
    }

    /// Returns whether this upload has to end, because other calls urgently need the memory of its slow part. Returns
    /// `true` at most once per [`BETWEEN_VICTIMS`].
    pub(super) fn choose_victim(&mut self, reservation: u64, now: Instant) -> bool {
        let Charge { share, class, .. } = self.charge(reservation);
        let recent = |then: Instant| now.duration_since(then) < BETWEEN_VICTIMS;
        if self.last_victim.is_some_and(recent) {
            return false;
        }
        let urgent = self.waiters.first_of_each_line().any(|(kind, waiter)| {
            let helped = match waiter.short {
                Short::Share => waiter.share == share,
                Short::Class => waiter.asks.iter().any(|ask| ask.class.competes_with(class)),
                Short::Free => true,
            };
            kind != Kind::Slow && helped && now.duration_since(waiter.since) >= PATIENCE
        });
        if urgent {
            self.last_victim = Some(now);
        }
        urgent
    }
}
