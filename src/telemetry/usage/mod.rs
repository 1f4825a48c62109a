//! Exact counters of what each tenant and caller has used since the process started.
//!
//! A call changes only atomic counters of its own tenant and caller, which it finds without a lock. The counters survive
//! a reload of the tenants, and the removal of their tenant.

mod export;
mod lookup;
mod named;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

pub use named::MetricsTenants;

pub(super) use export::UsageCollector;
use lookup::Lookup;

/// The number of gRPC's status codes.
const CODES: usize = 17;

/// The maximum number of callers of a tenant that are counted one by one.
const MAX_CALLERS: usize = 10_000;

/// The caller under which further ones are counted together. No caller has this name.
const OTHERS: &str = "*";

/// The maximum number of tenants that are exported one by one if all are.
const MAX_NAMED: usize = 500;

/// What all tenants have used since the process started. Cheap to clone; clones share the counters.
#[derive(Debug, Clone)]
pub struct Usage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: SystemTime,
    exported: MetricsTenants,
    tenants: Mutex<BTreeMap<Arc<str>, Entry>>,
    /// How many of `tenants` are named. It changes only while they are locked.
    named: AtomicUsize,
}

#[derive(Debug, Clone)]
struct Entry {
    usage: TenantUsage,
    /// Whether the tenant has time series of its own. It does not change, so that no sum ever decreases.
    is_named: bool,
    is_served: bool,
}

/// What one tenant has used. Cheap to clone; clones share the counters.
#[derive(Debug, Clone)]
pub struct TenantUsage(Arc<OfTenant>);

#[derive(Debug)]
struct OfTenant {
    callers: Lookup<CallerUsage>,
    /// What Longshore itself did for the tenant.
    own: CallerUsage,
    calls_in_flight: AtomicU64,
}

/// What one caller of a tenant has used. Cheap to clone; clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct CallerUsage(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    calls: Lookup<Codes>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    s3_requests: [AtomicU64; S3Class::ALL.len()],
    s3_retries: AtomicU64,
}

/// The number of calls of one method by status code.
#[derive(Debug, Clone, Default)]
struct Codes(Arc<[AtomicU64; CODES]>);

/// A class of S3 requests, as in Amazon's price list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Class {
    /// PUT, COPY, POST and LIST requests.
    PutCopyPostList,
    /// GET and all other requests.
    GetAndOthers,
    /// DELETE and CANCEL requests, which are free.
    DeleteAndCancel,
}

/// A call in flight, until dropped.
#[derive(Debug)]
pub struct CallInFlight(TenantUsage);

/// The counters of one caller at one point in time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls by method and the number of their status code.
    pub calls: Vec<(Arc<str>, usize, u64)>,
    /// Object bytes received from callers.
    pub bytes_in: u64,
    /// Object bytes sent to callers.
    pub bytes_out: u64,
    /// S3 requests by class, in the order of [`S3Class::ALL`].
    pub s3_requests: [u64; S3Class::ALL.len()],
    /// S3 requests that repeat a failed one.
    pub s3_retries: u64,
}

/// The counters of one caller, with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The caller's name; empty for what Longshore itself did for the tenant.
    pub caller: Arc<str>,
    /// Whether the tenant is served now.
    pub is_served: bool,
    /// The counters.
    pub totals: Totals,
}

impl S3Class {
    /// All classes.
    pub const ALL: [Self; 3] = [Self::PutCopyPostList, Self::GetAndOthers, Self::DeleteAndCancel];

    fn name(self) -> &'static str {
        match self {
            Self::PutCopyPostList => "put_copy_post_list",
            Self::GetAndOthers => "get_and_others",
            Self::DeleteAndCancel => "delete_and_cancel",
        }
    }
}

impl Usage {
    /// No usage yet. `exported` are the tenants that have metrics of their own.
    pub fn new(exported: MetricsTenants) -> Self {
        let (tenants, named) = (Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(Inner { started: SystemTime::now(), exported, tenants, named }))
    }

    /// When counting began.
    pub fn started(&self) -> SystemTime {
        self.0.started
    }

    /// The counters of the tenant `name`, those of an earlier tenant with this name included.
    pub fn tenant(&self, name: &str) -> TenantUsage {
        let mut tenants = self.lock();
        if let Some(entry) = tenants.get(name) {
            return entry.usage.clone();
        }
        let is_named = match &self.0.exported {
            MetricsTenants::Listed(names) => names.contains(name),
            MetricsTenants::All => self.0.named.load(Relaxed) < MAX_NAMED,
        };
        self.0.named.fetch_add(usize::from(is_named), Relaxed);
        let usage = TenantUsage(Arc::new(OfTenant {
            callers: Lookup::default(),
            own: CallerUsage::default(),
            calls_in_flight: AtomicU64::new(0),
        }));
        tenants.insert(name.into(), Entry { usage: usage.clone(), is_named, is_served: true });
        usage
    }

    /// Records which tenants are served now. Forgets other tenants that have used nothing and have no calls in flight.
    pub fn set_served(&self, served: &BTreeSet<&str>) {
        self.lock().retain(|name, entry| {
            entry.is_served = served.contains(&**name);
            let is_kept =
                entry.is_served || !entry.usage.is_unused() || Arc::strong_count(&entry.usage.0) > 1;
            self.0.named.fetch_sub(usize::from(entry.is_named && !is_kept), Relaxed);
            is_kept
        });
    }

    /// Up to `limit` callers that have used something, by tenant and caller, those of `tenant` only if it is given, and
    /// those after `after` only.
    pub fn rows(&self, tenant: Option<&str>, after: Option<(&str, &str)>, limit: usize) -> Vec<UsageRow> {
        let entries: Vec<_> = {
            let tenants = self.lock();
            let start = tenant.or(after.map(|(tenant, _)| tenant)).map_or(Bound::Unbounded, Bound::Included);
            let all = tenants.range::<str, _>((start, Bound::Unbounded));
            let wanted = all.take_while(|(name, _)| tenant.is_none_or(|tenant| &***name == tenant));
            wanted.map(|(name, entry)| (Arc::clone(name), entry.clone())).collect()
        };
        let mut rows = Vec::new();
        for (name, entry) in entries {
            let after = after.filter(|(tenant, _)| *tenant == &*name).map(|(_, caller)| caller);
            let callers = entry.usage.callers();
            let later = callers.into_iter().filter(|(caller, _)| after.is_none_or(|after| **caller > *after));
            let used = later.map(|(caller, usage)| (caller, usage.totals()));
            let used = used.filter(|(_, totals)| *totals != Totals::default());
            let is_served = entry.is_served;
            rows.extend(used.take(limit - rows.len()).map(|(caller, totals)| UsageRow {
                tenant: Arc::clone(&name),
                caller,
                is_served,
                totals,
            }));
            if rows.len() == limit {
                break;
            }
        }
        rows
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Entry>> {
        self.0.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self::new(MetricsTenants::default())
    }
}

impl TenantUsage {
    /// The counters of a caller.
    pub fn caller(&self, name: &str) -> CallerUsage {
        let callers = &self.0.callers;
        callers.find(name).unwrap_or_else(|| {
            let is_full = callers.len() >= MAX_CALLERS;
            callers.find_or_add(if is_full { OTHERS } else { name })
        })
    }

    /// The counters of what Longshore itself does for the tenant.
    pub fn own(&self) -> &CallerUsage {
        &self.0.own
    }

    /// Counts a call as in flight until the guard is dropped.
    pub fn call_started(&self) -> CallInFlight {
        self.0.calls_in_flight.fetch_add(1, Relaxed);
        CallInFlight(self.clone())
    }

    /// The number of calls in flight.
    pub fn calls_in_flight(&self) -> u64 {
        self.0.calls_in_flight.load(Relaxed)
    }

    /// The callers with their counters, in the order of their names.
    fn callers(&self) -> Vec<(Arc<str>, CallerUsage)> {
        let own = [(Arc::from(""), self.0.own.clone())];
        own.into_iter().chain(self.0.callers.entries()).collect()
    }

    fn is_unused(&self) -> bool {
        self.callers().iter().all(|(_, usage)| usage.totals() == Totals::default())
    }
}

impl Drop for CallInFlight {
    fn drop(&mut self) {
        self.0.0.calls_in_flight.fetch_sub(1, Relaxed);
    }
}

impl CallerUsage {
    /// Counts a call of `method` (`package.Service/Method`) that ended with the status code of this number. Pass only
    /// names of known methods.
    pub fn call_ended(&self, method: &str, code: usize) {
        let calls = &self.0.calls;
        let codes = calls.find(method).unwrap_or_else(|| calls.find_or_add(method));
        if let Some(count) = codes.0.get(code) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Counts object bytes received from the caller.
    pub fn received(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Relaxed);
    }

    /// Counts object bytes sent to the caller.
    pub fn sent(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Relaxed);
    }

    /// Counts a request to S3.
    pub fn s3_request(&self, class: S3Class) {
        self.0.s3_requests[class as usize].fetch_add(1, Relaxed);
    }

    /// Counts a retry of a request to S3.
    pub fn s3_retry(&self) {
        self.0.s3_retries.fetch_add(1, Relaxed);
    }

    /// The counters now.
    pub fn totals(&self) -> Totals {
        let mut calls = Vec::new();
        for (method, codes) in self.0.calls.entries() {
            for (code, count) in codes.0.iter().enumerate() {
                let count = count.load(Relaxed);
                if count > 0 {
                    calls.push((Arc::clone(&method), code, count));
                }
            }
        }
        Totals {
            calls,
            bytes_in: self.0.bytes_in.load(Relaxed),
            bytes_out: self.0.bytes_out.load(Relaxed),
            s3_requests: S3Class::ALL.map(|class| self.0.s3_requests[class as usize].load(Relaxed)),
            s3_retries: self.0.s3_retries.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn names(rows: &[UsageRow]) -> Vec<(&str, &str)> {
        rows.iter().map(|row| (&*row.tenant, &*row.caller)).collect()
    }

    #[test]
    fn concurrent_calls_are_counted_exactly() {
        let usage = Usage::default();
        let acme = usage.tenant("acme");
        thread::scope(|scope| {
            for number in 0..4_usize {
                let acme = acme.clone();
                scope.spawn(move || {
                    for call in 0..1_000_usize {
                        let caller = acme.caller(&format!("caller{}", call % 3));
                        caller.call_ended(&format!("longshore.v1.S/M{}", call % 5), number);
                        caller.sent(7);
                        caller.s3_request(S3Class::GetAndOthers);
                    }
                });
            }
        });
        let rows = usage.rows(None, None, 10);
        assert_eq!(names(&rows), [("acme", "caller0"), ("acme", "caller1"), ("acme", "caller2")]);
        let sum = |of: &dyn Fn(&Totals) -> u64| rows.iter().map(|row| of(&row.totals)).sum::<u64>();
        assert_eq!(sum(&|totals| totals.calls.iter().map(|(_, _, count)| count).sum()), 4_000);
        assert_eq!(sum(&|totals| totals.bytes_out), 28_000);
        assert_eq!(sum(&|totals| totals.s3_requests[1]), 4_000);
        assert_eq!(rows[0].totals.calls.len(), 20);
    }

    #[test]
    fn counters_survive_the_removal_of_their_tenant_unless_nothing_was_counted() {
        let usage = Usage::default();
        usage.tenant("acme").caller("a").sent(1);
        drop(usage.tenant("idle"));
        let held = usage.tenant("held");
        usage.set_served(&BTreeSet::from(["other"]));
        held.caller("late").sent(2);
        let rows = usage.rows(None, None, 10);
        assert_eq!(names(&rows), [("acme", "a"), ("held", "late")]);
        assert!(rows.iter().all(|row| !row.is_served));
        assert_eq!(usage.lock().len(), 2, "`idle` is forgotten");
        usage.tenant("acme").caller("a").sent(2);
        usage.set_served(&BTreeSet::from(["acme"]));
        let again = &usage.rows(Some("acme"), None, 10)[0];
        assert_eq!((again.totals.bytes_out, again.is_served), (3, true));
    }

    #[test]
    fn a_forgotten_tenant_makes_room_for_another_named_one() {
        let usage = Usage::new(MetricsTenants::All);
        for number in 0..=MAX_NAMED {
            usage.tenant(&format!("t{number:03}")).caller("a");
        }
        let is_named = |name: &str| usage.lock()[name].is_named;
        assert_eq!((is_named("t000"), is_named("t499"), is_named("t500")), (true, true, false));
        usage.tenant("t000").caller("a").sent(1);
        usage.set_served(&BTreeSet::new());
        assert_eq!(usage.lock().len(), 1, "all others are forgotten");
        for number in 1..=MAX_NAMED {
            usage.tenant(&format!("t{number:03}"));
        }
        assert_eq!((is_named("t000"), is_named("t499"), is_named("t500")), (true, true, false));
    }

    #[test]
    fn rows_are_listed_in_pages_that_may_begin_within_a_tenant() {
        let usage = Usage::default();
        for (tenant, caller) in [("b", "x"), ("a", "y"), ("a", "x"), ("c", "z")] {
            usage.tenant(tenant).caller(caller).received(1);
        }
        usage.tenant("a").own().s3_request(S3Class::PutCopyPostList);
        usage.tenant("unused").caller("x");
        let page = |tenant, after, limit| names_of(&usage.rows(tenant, after, limit));
        assert_eq!(page(None, None, 2), ["a/", "a/x"]);
        assert_eq!(page(None, Some(("a", "x")), 2), ["a/y", "b/x"]);
        assert_eq!(page(None, Some(("b", "x")), 9), ["c/z"]);
        assert_eq!(page(None, Some(("aa", "")), 1), ["b/x"], "the tenant of the token may be gone");
        assert_eq!(page(Some("a"), None, 9), ["a/", "a/x", "a/y"]);
        assert_eq!(page(Some("a"), Some(("a", "x")), 9), ["a/y"]);
        assert!(page(Some("d"), None, 9).is_empty());
    }

    fn names_of(rows: &[UsageRow]) -> Vec<String> {
        rows.iter().map(|row| format!("{}/{}", row.tenant, row.caller)).collect()
    }

    #[test]
    fn calls_are_in_flight_until_their_guard_is_dropped() {
        let acme = Usage::default().tenant("acme");
        let (one, two) = (acme.call_started(), acme.call_started());
        assert_eq!(acme.calls_in_flight(), 2);
        drop((one, two));
        assert_eq!(acme.calls_in_flight(), 0);
    }
}
