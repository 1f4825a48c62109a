//! Metrics of the limits on calls: their values, and how much of them is in use.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Meter, UpDownCounter},
};

use super::name;

/// The tenant of series that are the sum over tenants. No tenant has this name.
const ALL: &str = "*";

/// A limit in force.
pub trait WatchedLimit: fmt::Debug + Send + Sync {
    /// Its value.
    fn value(&self) -> u64;

    /// How much of it is in use.
    fn used(&self) -> u64;
}

/// Which limit it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitLabels {
    /// The key of the limit.
    pub limit: &'static str,
    /// What it applies to: `process`, `tenant` or `caller`.
    pub holder: &'static str,
    /// The tenant; empty for the process.
    pub tenant: Arc<str>,
}

impl LimitLabels {
    pub(super) fn key_values(&self) -> [KeyValue; 3] {
        key_values((self.limit, self.holder, tenant_label(&self.tenant)))
    }
}

/// The values of the labels of a series.
type Series = (&'static str, &'static str, &'static str);

fn key_values((limit, holder, tenant): Series) -> [KeyValue; 3] {
    [
        KeyValue::new(name::LIMIT, limit),
        KeyValue::new(name::HOLDER, holder),
        KeyValue::new(name::TENANT, tenant),
    ]
}

/// The value of the label `tenant`. Each value is a series of its own, so there is one for all tenants.
fn tenant_label(tenant: &str) -> &'static str {
    if tenant.is_empty() { "" } else { ALL }
}

/// The instruments.
#[derive(Debug)]
pub(super) struct LimitMetrics {
    pub(super) watched: Watched,
    pub(super) exceeded: Counter<u64>,
    pub(super) waiting: UpDownCounter<i64>,
}

impl LimitMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let watched = Watched::default();
        export(meter, &watched);
        Self {
            watched,
            exceeded: meter
                .u64_counter(name::LIMITS_EXCEEDED)
                .with_description("Calls that failed because they were beyond a limit.")
                .build(),
            waiting: meter
                .i64_up_down_counter(name::LIMITS_WAITING)
                .with_description("Calls that wait for a limit before they begin.")
                .build(),
        }
    }
}

/// The limits that are watched. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    labels: LimitLabels,
    limit: Weak<dyn WatchedLimit>,
}

impl Watched {
    pub(super) fn add(&self, labels: LimitLabels, limit: &Arc<dyn WatchedLimit>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing else removes limits that no longer exist.
        if watched.len() == watched.capacity() {
            watched.retain(|entry| entry.limit.strong_count() > 0);
        }
        watched.push(Entry { labels, limit: Arc::downgrade(limit) });
    }

    /// The sums of all values, and how much of them is in use.
    fn sums(&self) -> BTreeMap<Series, (u64, u64)> {
        let alive: Vec<_> = {
            let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let series = |labels: &LimitLabels| (labels.limit, labels.holder, tenant_label(&labels.tenant));
            watched.iter().filter_map(|entry| Some((series(&entry.labels), entry.limit.upgrade()?))).collect()
        };
        let mut sums = BTreeMap::new();
        for (series, limit) in alive {
            let (value, used) = sums.entry(series).or_insert((0_u64, 0_u64));
            *value = value.saturating_add(limit.value());
            *used = used.saturating_add(limit.used());
        }
        sums
    }
}

/// Exports what `watched` knows.
fn export(meter: &Meter, watched: &Watched) {
    let gauge = |name: &'static str, description: &'static str, of: fn(&(u64, u64)) -> u64| {
        let watched = watched.clone();
        meter
            .u64_observable_gauge(name)
            .with_description(description)
            .with_callback(move |gauge| {
                for (series, sums) in watched.sums() {
                    gauge.observe(of(&sums), &key_values(series));
                }
            })
            .build();
    };
    gauge(
        name::LIMITS_VALUE,
        "Limits in force in this process, by limit and holder; the sum over all holders.",
        |(value, _)| *value,
    );
    gauge(
        name::LIMITS_USED,
        "How much of these limits is in use; for a rate, in the last whole second.",
        |(_, used)| *used,
    );
}
