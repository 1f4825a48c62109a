//! Exports usage to Prometheus. Not through OpenTelemetry: its instruments have a limit of 2,000 time series, and none of
//! its series can disappear with its tenant.

use std::collections::BTreeMap;

use prometheus::{
    IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::{OTHERS, S3Class, Totals, Usage};

/// Reads the counters at each scrape.
pub(in crate::telemetry) struct UsageCollector {
    usage: Usage,
    /// The name of a status code by its number.
    code_name: fn(usize) -> &'static str,
    /// Declares the metrics; never changed.
    empty: Option<Families>,
}

struct Families {
    calls: IntCounterVec,
    bytes: IntCounterVec,
    s3_requests: IntCounterVec,
    s3_retries: IntCounterVec,
}

impl UsageCollector {
    pub(in crate::telemetry) fn new(usage: Usage, code_name: fn(usize) -> &'static str) -> Self {
        Self { usage, code_name, empty: Families::new().ok() }
    }

    /// The sums of the tenants that have series of their own and are served, and of all others.
    fn sums(&self) -> BTreeMap<String, Totals> {
        let entries: Vec<_> =
            self.usage.lock().iter().map(|(name, entry)| (name.to_string(), entry.clone())).collect();
        let mut sums = BTreeMap::new();
        for (name, entry) in entries {
            let name = match (entry.is_named, entry.is_served) {
                (true, true) => name,
                // If it counted among the others, their sum would jump.
                (true, false) => continue,
                (false, _) => OTHERS.to_owned(),
            };
            let sum: &mut Totals = sums.entry(name).or_default();
            for (_, usage) in entry.usage.callers() {
                sum.add(usage.totals());
            }
        }
        sums
    }
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.calls.extend(other.calls);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        for (sum, more) in self.s3_requests.iter_mut().zip(other.s3_requests) {
            *sum += more;
        }
        self.s3_retries += other.s3_retries;
    }
}

impl Families {
    fn new() -> Result<Self, prometheus::Error> {
        let counter =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        Ok(Self {
            calls: counter(
                "longshore_tenant_calls_total",
                "Calls that have ended, by tenant, method and status code.",
                &["tenant", "rpc_method", "rpc_response_status_code"],
            )?,
            bytes: counter(
                "longshore_tenant_object_bytes_total",
                "Object bytes transferred, by tenant and direction.",
                &["tenant", "direction"],
            )?,
            s3_requests: counter(
                "longshore_tenant_s3_requests_total",
                "Requests sent to S3, by tenant and class of Amazon's price list.",
                &["tenant", "class"],
            )?,
            s3_retries: counter(
                "longshore_tenant_s3_retries_total",
                "Requests to S3 that repeat a failed one, by tenant.",
                &["tenant"],
            )?,
        })
    }

    fn all(&self) -> [&IntCounterVec; 4] {
        [&self.calls, &self.bytes, &self.s3_requests, &self.s3_retries]
    }

    fn add(&self, tenant: &str, totals: &Totals, code_name: fn(usize) -> &'static str) {
        for (method, code, count) in &totals.calls {
            self.calls.with_label_values(&[tenant, method, code_name(*code)]).inc_by(*count);
        }
        for (direction, count) in [("upload", totals.bytes_in), ("download", totals.bytes_out)] {
            self.bytes.with_label_values(&[tenant, direction]).inc_by(count);
        }
        for (class, count) in S3Class::ALL.into_iter().zip(totals.s3_requests) {
            self.s3_requests.with_label_values(&[tenant, class.name()]).inc_by(count);
        }
        self.s3_retries.with_label_values(&[tenant]).inc_by(totals.s3_retries);
    }
}

impl Collector for UsageCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.empty.iter().flat_map(Families::all).flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(families) = Families::new() else { return Vec::new() };
        for (tenant, totals) in self.sums() {
            families.add(&tenant, &totals, self.code_name);
        }
        families.all().into_iter().flat_map(Collector::collect).filter(has_series).collect()
    }
}

fn has_series(family: &MetricFamily) -> bool {
    !family.get_metric().is_empty()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{super::MetricsTenants, *};
    use crate::telemetry::Metrics;

    fn value(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.render();
        let line = text.lines().find(|line| line.starts_with(series))?;
        Some(line.rsplit_once(' ').unwrap().1.to_owned())
    }

    fn exported(tenants: MetricsTenants) -> (Usage, Metrics) {
        let (usage, metrics) = (Usage::new(tenants), Metrics::default());
        metrics.export_usage(&usage, |code| if code == 0 { "OK" } else { "OTHER" });
        (usage, metrics)
    }

    #[test]
    fn listed_tenants_have_series_of_their_own_and_the_others_are_summed() {
        let listed = MetricsTenants::Listed(BTreeSet::from(["acme".to_owned()]));
        let (usage, metrics) = exported(listed);
        for (tenant, bytes) in [("acme", 1), ("b", 2), ("c", 3)] {
            let caller = usage.tenant(tenant).caller("x");
            caller.sent(bytes);
            caller.call_ended("longshore.v1.ObjectService/Get", 0);
            caller.s3_request(S3Class::PutCopyPostList);
            caller.s3_retry();
        }
        let bytes = |tenant| {
            format!("longshore_tenant_object_bytes_total{{direction=\"download\",tenant=\"{tenant}\"}}")
        };
        assert_eq!(value(&metrics, &bytes("acme")).as_deref(), Some("1"));
        assert_eq!(value(&metrics, &bytes("*")).as_deref(), Some("5"));
        assert_eq!(value(&metrics, &bytes("b")), None);
        let calls = "longshore_tenant_calls_total{rpc_method=\"longshore.v1.ObjectService/Get\",\
                     rpc_response_status_code=\"OK\",tenant=\"*\"}";
        assert_eq!(value(&metrics, calls).as_deref(), Some("2"));
        let class = "longshore_tenant_s3_requests_total{class=\"put_copy_post_list\",tenant=\"acme\"}";
        assert_eq!(value(&metrics, class).as_deref(), Some("1"));
        assert_eq!(value(&metrics, "longshore_tenant_s3_retries_total{tenant=\"*\"}").as_deref(), Some("2"));
    }

    #[test]
    fn the_series_of_a_removed_tenant_disappear_and_the_sum_of_the_others_never_decreases() {
        let (usage, metrics) = exported(MetricsTenants::Listed(BTreeSet::from(["acme".to_owned()])));
        for tenant in ["acme", "b"] {
            usage.tenant(tenant).caller("x").received(2);
        }
        usage.set_served(&BTreeSet::new());
        assert!(!metrics.render().contains("tenant=\"acme\""));
        let others = "longshore_tenant_object_bytes_total{direction=\"upload\",tenant=\"*\"}";
        assert_eq!(value(&metrics, others).as_deref(), Some("2"));
    }

    #[test]
    fn an_asterisk_exports_a_limited_number_of_tenants() {
        let (usage, metrics) = exported(MetricsTenants::All);
        for number in 0..=super::super::MAX_NAMED {
            usage.tenant(&format!("t{number}")).caller("x").received(1);
        }
        let series = "longshore_tenant_object_bytes_total{direction=\"upload\"";
        let text = metrics.render();
        let lines: Vec<_> = text.lines().filter(|line| line.starts_with(series)).collect();
        assert_eq!(lines.len(), super::super::MAX_NAMED + 1);
        assert!(lines.iter().any(|line| line.contains("tenant=\"*\"}") && line.ends_with(" 1")));
    }
}
