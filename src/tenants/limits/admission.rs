//! Admission of calls within the limits of the process, of their tenant and of their caller.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    exceeded::Exceeded,
    limiter::{Kind, Limiter},
    permits::{Permit, Permits},
    process::Process,
    rate::Rate,
};
use crate::telemetry::{Direction, Metrics};

/// How many bytes a call that transfers an object takes from the limits before it begins, so that calls beyond a limit
/// wait before their messages are read and before S3 is asked. What a call does not need of them is put back.
const PREPAID: u64 = 64 * 1024;

/// The number of permits that a call can need: for streams and for all calls of its caller and of its tenant, and for
/// the calls of the process.
const PERMITS: usize = 5;

/// A longer `max_wait` means as much as this one.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// What limits have to know about a call's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallKind {
    /// Whether requests or responses are streams.
    pub is_stream: bool,
    /// Where the bytes of objects go, if the call transfers any.
    pub transfers: Option<Direction>,
}

/// What a call has acquired from its limits. Dropping it returns the permits, and the bytes that the call did not
/// transfer.
#[derive(Debug)]
pub struct CallPermit {
    limits: CallersLimits,
    permits: [Option<Permit>; PERMITS],
    direction: Option<Direction>,
    /// Bytes that the caller's and the tenant's limits have handed out, and that the call has not transferred yet.
    prepaid: [AtomicU64; 2],
}

/// The limits of a tenant, and of one of its callers if that has any. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct CallersLimits {
    pub(crate) tenant: Arc<Limiter>,
    pub(crate) caller: Option<Arc<Limiter>>,
}

impl CallersLimits {
    /// The limits, the caller's first: what one caller does must not keep its tenant's other callers waiting.
    fn each(&self) -> [Option<&Limiter>; 2] {
        [self.caller.as_deref(), Some(&*self.tenant)]
    }

    /// The limits that are set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Limiter> {
        self.each().into_iter().flatten()
    }

    /// The permits that a call needs, in the order in which it takes them.
    fn permits<'a>(&'a self, kind: CallKind, process: &'a Process) -> [Option<&'a Arc<Permits>>; PERMITS] {
        let [caller, tenant] = self.each();
        let streams = |limiter: Option<&'a Limiter>| limiter.filter(|_| kind.is_stream)?.streams.as_ref();
        let calls = |limiter: Option<&'a Limiter>| limiter?.in_flight.as_ref();
        [streams(caller), calls(caller), streams(tenant), calls(tenant), process.in_flight.as_ref()]
    }

    /// The limit that the permit at this place of [`Self::permits`] belongs to is exceeded.
    fn lacks(&self, place: usize, process: &Process, retry_after: Duration) -> Exceeded {
        let limiter = match place {
            0 | 1 => self.caller.as_deref(),
            2 | 3 => Some(&*self.tenant),
            _ => None,
        };
        let kind = if place.is_multiple_of(2) { Kind::Streams } else { Kind::InFlight };
        limiter.map_or_else(|| process.exceeded(retry_after), |limiter| limiter.exceeded(kind, retry_after))
    }

    /// Admits a call if it need not wait for any limit.
    pub(crate) fn try_admit(&self, kind: CallKind, process: &Process) -> Option<CallPermit> {
        let mut permit = CallPermit::new(self.clone(), kind);
        for (held, permits) in permit.permits.iter_mut().zip(self.permits(kind, process)) {
            if let Some(permits) = permits {
                *held = Some(permits.try_acquire()?);
            }
        }
        for (limiter, prepaid) in self.each().into_iter().zip(&permit.prepaid) {
            if let Some(rate) = limiter.and_then(|limiter| limiter.bytes(kind.transfers?)) {
                prepaid.store(if rate.try_take(PREPAID) { PREPAID } else { return None }, Relaxed);
            }
        }
        let [caller, tenant] = self.each().map(|limiter| limiter?.requests.as_ref());
        let begins = |rate: Option<&Arc<Rate>>| rate.is_none_or(|rate| rate.try_take(1));
        if !begins(caller) {
            return None;
        }
        if !begins(tenant) {
            if let Some(rate) = caller {
                rate.give_back(1);
            }
            return None;
        }
        Some(permit)
    }

    /// Admits a call, which waits in turn at each limit. Fails after the shortest `max_wait`, or after half of the time
    /// until `deadline`, or at once if the wait would take longer. A call that is dropped leaves the
    /// queue.
    pub(crate) async fn admit(
        &self,
        kind: CallKind,
        process: &Process,
        deadline: Option<Instant>,
        metrics: &Metrics,
    ) -> Result<CallPermit, Exceeded> {
        let max_wait = self.iter().map(Limiter::max_wait).min().unwrap_or_default();
        let now = Instant::now();
        // A call that waits until shortly before its deadline times out soon after it begins. An overloaded server
        // would then work only for calls that time out.
        let useful = deadline.map_or(LONGEST_WAIT, |deadline| deadline.saturating_duration_since(now) / 2);
        let until = now + max_wait.min(LONGEST_WAIT).min(useful);
        let _waiting = metrics.limit_awaited();
        let admitted = self.admit_until(kind, process, until).await;
        admitted.inspect_err(|exceeded| metrics.limit_exceeded(&exceeded.labels()))
    }

    async fn admit_until(
        &self,
        kind: CallKind,
        process: &Process,
        until: Instant,
    ) -> Result<CallPermit, Exceeded> {
        // Rates first: a call must not hold a permit that another one could use while it waits for its time.
        let mut begun = [const { None }; 2];
        for (limiter, begun) in self.iter().zip(&mut begun) {
            if let Some(rate) = &limiter.requests {
                rate.take(1, Some(until)).await.map_err(|wait| limiter.exceeded(Kind::Requests, wait))?;
                *begun = Some(Begun(rate));
            }
        }
        let mut permit = CallPermit::new(self.clone(), kind);
        for (limiter, prepaid) in self.each().into_iter().zip(&permit.prepaid) {
            let Some((limiter, direction)) = limiter.zip(kind.transfers) else { continue };
            if let Some(rate) = limiter.bytes(direction) {
                let taken = rate.take(PREPAID, Some(until)).await;
                taken.map_err(|wait| limiter.exceeded(Kind::Bytes(direction), wait))?;
                prepaid.store(PREPAID, Relaxed);
            }
        }
        for (place, permits) in self.permits(kind, process).into_iter().enumerate() {
            if let Some(permits) = permits {
                let acquired = permits.acquire(until).await;
                let acquired = acquired.map_err(|wait| self.lacks(place, process, wait))?;
                permit.permits[place] = Some(acquired);
            }
        }
        begun.into_iter().flatten().for_each(Begun::keep);
        Ok(permit)
    }
}

/// A call that a rate has let begin. Dropping it, because another limit rejects the call or the caller leaves, lets
/// another call begin instead.
struct Begun<'a>(&'a Rate);

impl Begun<'_> {
    /// The call begins.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.give_back(1);
    }
}

impl CallPermit {
    fn new(limits: CallersLimits, kind: CallKind) -> Self {
        Self {
            limits,
            permits: [const { None }; PERMITS],
            direction: kind.transfers,
            prepaid: [const { AtomicU64::new(0) }; 2],
        }
    }

    /// Whether a limit on bytes per second applies to what the call transfers in this direction.
    pub fn paces(&self, direction: Direction) -> bool {
        self.direction == Some(direction)
            && self.limits.iter().any(|limiter| limiter.bytes(direction).is_some())
    }

    /// Waits until the limits allow the call to transfer `bytes` more bytes of an object. Dropping the future leaves the
    /// queue.
    pub async fn transfer(&self, direction: Direction, bytes: u64) {
        if self.direction != Some(direction) {
            return;
        }
        for (limiter, prepaid) in self.limits.each().into_iter().zip(&self.prepaid) {
            let Some(rate) = limiter.and_then(|limiter| limiter.bytes(direction)) else { continue };
            let before = prepaid.load(Relaxed);
            // A call transfers its bytes one after the other.
            let rest = bytes.saturating_sub(before);
            prepaid.store(before.saturating_sub(bytes), Relaxed);
            if rest > 0 && !rate.try_take(rest) {
                // Without a time limit, this does not fail.
                let _ = rate.take(rest, None).await;
            }
        }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let Some(direction) = self.direction else { return };
        for (limiter, prepaid) in self.limits.each().into_iter().zip(&self.prepaid) {
            if let Some(rate) = limiter.and_then(|limiter| limiter.bytes(direction)) {
                match prepaid.load(Relaxed) {
                    0 => {}
                    unused => rate.give_back(unused),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        store::MemorySettings,
        tenants::{
            Resources,
            limits::{CallLimits, exceeded::Holder},
        },
    };

    #[tokio::test(start_paused = true)]
    async fn a_call_that_another_limit_rejects_does_not_count_as_begun() {
        let settings = CallLimits {
            requests_per_second: Some(10),
            max_in_flight: Some(1),
            max_wait: Duration::from_millis(50),
            ..CallLimits::default()
        };
        let resources = Resources::new(MemorySettings::default());
        let tenant = Limiter::new(Holder::Tenant("acme".into()), settings, None, &resources, None);
        let limits = CallersLimits { tenant: Arc::new(tenant), caller: None };
        let (kind, metrics) = (CallKind::default(), Metrics::default());
        let admit = || limits.admit(kind, &resources.process, None, &metrics);
        let in_flight = limits.try_admit(kind, &resources.process).unwrap();
        for _ in 0..20 {
            assert!(admit().await.is_err(), "one call is in flight");
            assert!(admit().now_or_never().is_none(), "the caller leaves");
        }
        drop(in_flight);
        let begun = (0..20).map_while(|_| limits.try_admit(kind, &resources.process)).count();
        assert_eq!(begun, 10);
    }
}
