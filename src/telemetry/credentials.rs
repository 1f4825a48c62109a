//! Metrics of credential providers.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::Meter};

use super::name;

/// The maximum number of tenants and providers that are exported one by one. The others are exported together, with
/// `*` as their tenant.
const MAX_SERIES: usize = 500;

/// The tenant of the providers that are exported together. No tenant has this name.
const OTHERS: &str = "*";

/// The credentials of one provider.
pub trait WatchedCredentials: fmt::Debug + Send + Sync {
    /// Their current status.
    fn status(&self) -> CredentialsStatus;
}

/// The status of the credentials of one provider.
#[derive(Debug, Clone)]
pub struct CredentialsStatus {
    /// The tenant's name.
    pub tenant: Arc<str>,
    /// The type of the provider.
    pub provider: &'static str,
    /// The time since the provider last returned credentials; `None` if it never did.
    pub age: Option<Duration>,
    /// The time until they expire, zero if they have expired; `None` if there are no credentials, or if their expiry is
    /// unknown.
    pub time_to_expiry: Option<Duration>,
    /// Whether the last request for credentials failed, or S3 keeps rejecting the credentials.
    pub is_failing: bool,
}

/// The credentials that are watched. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Watched(Arc<Mutex<Vec<Weak<dyn WatchedCredentials>>>>);

/// The combined status of the providers of one type that a tenant has.
#[derive(Debug, Clone, Default)]
struct Combined {
    failing: u64,
    /// The greatest age.
    age: Option<Duration>,
    /// The shortest time.
    time_to_expiry: Option<Duration>,
}

impl Combined {
    fn add(&mut self, other: &Self) {
        self.failing += other.failing;
        self.age = self.age.max(other.age);
        self.time_to_expiry = [self.time_to_expiry, other.time_to_expiry].into_iter().flatten().min();
    }
}

impl Watched {
    pub(super) fn add(&self, credentials: &Arc<dyn WatchedCredentials>) {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing else removes credentials that no longer exist.
        if watched.len() == watched.capacity() {
            watched.retain(|credentials| credentials.strong_count() > 0);
        }
        watched.push(Arc::downgrade(credentials));
    }

    /// The status by tenant and provider. If there are too many, those that fail or expire soonest are reported one by
    /// one.
    fn combined(&self) -> BTreeMap<(Arc<str>, &'static str), Combined> {
        let alive: Vec<_> = {
            let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            watched.iter().filter_map(Weak::upgrade).collect()
        };
        let mut combined: BTreeMap<_, Combined> = BTreeMap::new();
        for credentials in alive {
            let CredentialsStatus { tenant, provider, age, time_to_expiry, is_failing } =
                credentials.status();
            let one = Combined { failing: is_failing.into(), age, time_to_expiry };
            combined.entry((tenant, provider)).or_default().add(&one);
        }
        if combined.len() <= MAX_SERIES {
            return combined;
        }
        let mut series: Vec<_> = combined.into_iter().collect();
        series.sort_by_key(|(_, one)| (one.failing == 0, one.time_to_expiry.unwrap_or(Duration::MAX)));
        let others = series.split_off(MAX_SERIES);
        let mut combined: BTreeMap<_, _> = series.into_iter().collect();
        for ((_, provider), one) in others {
            combined.entry((OTHERS.into(), provider)).or_default().add(&one);
        }
        combined
    }
}

/// Exports what `watched` knows.
pub(super) fn export(meter: &Meter, watched: &Watched) {
    let seconds = |name: &'static str, description: &'static str, of: fn(&Combined) -> Option<Duration>| {
        let watched = watched.clone();
        meter
            .f64_observable_gauge(name)
            .with_unit("s")
            .with_description(description)
            .with_callback(move |gauge| {
                for (key, one) in watched.combined() {
                    if let Some(time) = of(&one) {
                        gauge.observe(time.as_secs_f64(), &labels(key));
                    }
                }
            })
            .build();
    };
    seconds(
        name::CREDENTIALS_AGE,
        "Time since the credential provider last returned credentials: the longest of a tenant's providers of this type.",
        |one| one.age,
    );
    seconds(
        name::CREDENTIALS_TIME_TO_EXPIRY,
        "Time until the credentials expire: the shortest of a tenant's providers of this type.",
        |one| one.time_to_expiry,
    );
    let watched = watched.clone();
    meter
        .u64_observable_gauge(name::CREDENTIALS_FAILING)
        .with_description(
            "Credential providers whose last request failed, or whose credentials S3 keeps rejecting.",
        )
        .with_callback(move |gauge| {
            for (key, one) in watched.combined() {
                gauge.observe(one.failing, &labels(key));
            }
        })
        .build();
}

/// The labels of a tenant and a provider.
fn labels((tenant, provider): (Arc<str>, &'static str)) -> [KeyValue; 2] {
    [KeyValue::new(name::TENANT, tenant), KeyValue::new(name::PROVIDER, provider)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[derive(Debug)]
    struct Fixed(CredentialsStatus);

    impl WatchedCredentials for Fixed {
        fn status(&self) -> CredentialsStatus {
            self.0.clone()
        }
    }

    fn watch(metrics: &Metrics, tenant: &str, seconds: u64, is_failing: bool) -> Arc<dyn WatchedCredentials> {
        let credentials: Arc<dyn WatchedCredentials> = Arc::new(Fixed(CredentialsStatus {
            tenant: tenant.into(),
            provider: "imds",
            age: Some(Duration::from_secs(5)),
            time_to_expiry: Some(Duration::from_secs(seconds)),
            is_failing,
        }));
        metrics.watch_credentials(&credentials);
        credentials
    }

    fn value(metrics: &Metrics, name: &str, tenant: &str) -> Option<String> {
        let (text, label) = (metrics.render(), format!("tenant=\"{tenant}\""));
        let line = text.lines().find(|line| line.starts_with(name) && line.contains(&label))?;
        Some(line.rsplit_once(' ').unwrap().1.to_owned())
    }

    #[test]
    fn a_tenants_credentials_that_expire_first_are_exported_until_the_tenant_is_gone() {
        let metrics = Metrics::default();
        let name = "longshore_credentials_time_to_expiry_seconds{";
        let later = watch(&metrics, "acme", 90, true);
        let sooner = watch(&metrics, "acme", 60, false);
        assert_eq!(value(&metrics, name, "acme").as_deref(), Some("60"));
        assert_eq!(value(&metrics, "longshore_credentials_age_seconds{", "acme").as_deref(), Some("5"));
        assert_eq!(value(&metrics, "longshore_credentials_failing{", "acme").as_deref(), Some("1"));
        drop(sooner);
        assert_eq!(value(&metrics, name, "acme").as_deref(), Some("90"));
        drop(later);
        assert_eq!(value(&metrics, name, "acme"), None);
    }

    #[test]
    fn of_very_many_tenants_those_with_problems_are_exported_one_by_one() {
        let metrics = Metrics::default();
        let _many: Vec<_> = (0..MAX_SERIES as u64)
            .map(|index| watch(&metrics, &format!("t{index}"), 1000 + index, false))
            .collect();
        let _failing = watch(&metrics, "failing", 3600, true);
        let _healthy = watch(&metrics, "healthy", 3600, false);
        let name = "longshore_credentials_time_to_expiry_seconds{";
        assert_eq!(value(&metrics, name, "failing").as_deref(), Some("3600"));
        assert_eq!(value(&metrics, name, "healthy"), None);
        assert_eq!(value(&metrics, name, OTHERS).as_deref(), Some("1499"));
    }
}
