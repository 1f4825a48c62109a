//! OpenTelemetry counters and histograms, which Prometheus scrapes at `/metrics`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{KeyValue, metrics::UpDownCounter};
use opentelemetry_sdk::{Resource, metrics::SdkMeterProvider};
use prometheus::{Registry, TextEncoder};

use super::{
    audit::AuditLog,
    credentials::WatchedCredentials,
    instruments::Instruments,
    limits::{LimitLabels, WatchedLimit},
    name,
    usage::{Usage, UsageCollector},
};

/// The direction of transferred object bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From callers to S3.
    Upload,
    /// From S3 to callers.
    Download,
}

impl Direction {
    /// The label's value.
    fn name(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// The instruments of one server. Cheap to clone. Separate instances share nothing, so servers in one process do not
/// count each other's calls.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Instruments>);

/// Counts a call as in flight until dropped.
#[derive(Debug)]
pub struct InFlight {
    counter: UpDownCounter<i64>,
    method: [KeyValue; 1],
}

/// Counts a call as waiting for memory or for a limit until dropped.
#[derive(Debug)]
pub struct Waiting(UpDownCounter<i64>);

/// Counts a connection as open until dropped.
#[derive(Debug)]
pub struct OpenConnection(UpDownCounter<i64>);

/// Counts a store as built until dropped.
#[derive(Debug)]
pub struct CountedStore(UpDownCounter<i64>);

impl Metrics {
    /// Counts a call of `method` (`package.Service/Method`) as in flight. `method` becomes a label, without a copy:
    /// pass only known names, and one fixed name for everything else.
    pub fn call_started(&self, method: &Arc<str>) -> InFlight {
        let method = [KeyValue::new(name::METHOD, Arc::clone(method))];
        self.0.calls_in_flight.add(1, &method);
        InFlight { counter: self.0.calls_in_flight.clone(), method }
    }

    /// Records that a call ended with gRPC status `code` (its name, such as `NOT_FOUND`) after `elapsed`.
    pub fn call_ended(&self, method: &Arc<str>, code: &'static str, elapsed: Duration) {
        let labels = [
            KeyValue::new(name::SYSTEM, "grpc"),
            KeyValue::new(name::METHOD, Arc::clone(method)),
            KeyValue::new(name::STATUS, code),
        ];
        self.0.call_duration.record(elapsed.as_secs_f64(), &labels);
    }

    /// Counts transferred object bytes.
    pub fn bytes(&self, direction: Direction, count: u64) {
        self.0.object_bytes.add(count, &[KeyValue::new(name::DIRECTION, direction.name())]);
    }

    /// Counts an attempt of an S3 `operation` (such as `GetObject`) by `outcome`: an HTTP status, `error` if no
    /// response came, `overtaken` if it was cancelled because a parallel attempt was answered first.
    pub fn s3_attempt(&self, operation: &'static str, outcome: &str) {
        let labels =
            [KeyValue::new(name::OPERATION, operation), KeyValue::new(name::OUTCOME, outcome.to_owned())];
        self.0.s3_attempts.add(1, &labels);
    }

    /// Counts a retry of an S3 `operation`.
    pub fn s3_retry(&self, operation: &'static str) {
        self.0.s3_retries.add(1, &[KeyValue::new(name::OPERATION, operation)]);
    }

    /// Counts entries of a listing that were left out.
    pub fn entries_skipped(&self, operation: &'static str, entries: u64) {
        self.0.entries_skipped.add(entries, &[KeyValue::new(name::OPERATION, operation)]);
    }

    /// Counts a call that failed at once, because its S3 server has not answered for a while.
    pub fn s3_call_refused(&self) {
        self.0.s3_calls_refused.add(1, &[]);
    }

    /// Counts a hedged S3 `operation`: a second request, sent because the response to the first has not begun.
    pub fn s3_hedge(&self, operation: &'static str) {
        self.0.s3_hedges.add(1, &[KeyValue::new(name::OPERATION, operation)]);
    }

    /// Counts orphaned uploads that were aborted.
    pub fn orphans_aborted(&self, count: u64) {
        self.0.orphans_aborted.add(count, &[]);
    }

    /// Records the size of the memory budget in bytes.
    pub fn memory_budget(&self, bytes: u64) {
        self.0.memory_budget.record(bytes, &[]);
        // So that it is exported before the first call reserves anything.
        self.0.memory_reserved.add(0, &[]);
    }

    /// Records that the reserved bytes of the memory budget changed from `before` to `after`.
    pub fn memory_reserved(&self, before: u64, after: u64) {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        if before != after {
            self.0.memory_reserved.add(signed(after) - signed(before), &[]);
        }
    }

    /// Counts a call that ended for lack of memory, or to free its memory.
    pub fn memory_ended(&self, reason: &'static str) {
        self.0.memory_ended.add(1, &[KeyValue::new(name::REASON, reason)]);
    }

    /// Counts a call as waiting for memory of the budget.
    pub fn memory_awaited(&self) -> Waiting {
        self.0.memory_waiting.add(1, &[]);
        Waiting(self.0.memory_waiting.clone())
    }

    /// Exports the value of this limit, and how much of it is in use, while the limit exists.
    pub fn watch_limit(&self, labels: LimitLabels, limit: &Arc<dyn WatchedLimit>) {
        self.0.limits.watched.add(labels, limit);
    }

    /// Counts a call as waiting for a limit.
    pub fn limit_awaited(&self) -> Waiting {
        self.0.limits.waiting.add(1, &[]);
        Waiting(self.0.limits.waiting.clone())
    }

    /// Counts a call that failed because it was beyond a limit.
    pub fn limit_exceeded(&self, labels: &LimitLabels) {
        self.0.limits.exceeded.add(1, &labels.key_values());
    }

    /// Exports `bytes` as the number of request bytes that no call has read yet.
    pub fn unread_bytes(&self, bytes: Arc<AtomicU64>) {
        self.0
            .meter
            .u64_observable_gauge(name::MEMORY_UNREAD)
            .with_description("Request bytes that have arrived but that no call has read yet.")
            .with_callback(move |gauge| gauge.observe(bytes.load(Ordering::Relaxed), &[]))
            .build();
    }

    /// Exports `bytes` as the number of buffered response bytes.
    pub fn unsent_bytes(&self, bytes: Arc<AtomicU64>) {
        self.0
            .meter
            .u64_observable_gauge(name::MEMORY_UNSENT)
            .with_description("Response bytes that are buffered until their callers read them.")
            .with_callback(move |gauge| gauge.observe(bytes.load(Ordering::Relaxed), &[]))
            .build();
    }

    /// Exports the state of the audit log.
    pub fn watch_audit(&self, audit: &AuditLog) {
        let meter = &self.0.meter;
        let log = audit.clone();
        meter
            .u64_observable_counter(name::AUDIT_LINES)
            .with_description("Lines of the audit log that have been written.")
            .with_callback(move |counter| counter.observe(log.lines_written(), &[]))
            .build();
        let log = audit.clone();
        meter
            .u64_observable_gauge(name::AUDIT_IN_USE)
            .with_description("Bytes of the audit log's buffer in use: lines to be written, and room for those of calls in flight.")
            .with_callback(move |gauge| gauge.observe(log.bytes_in_use(), &[]))
            .build();
        let log = audit.clone();
        meter
            .u64_observable_gauge(name::AUDIT_WAITING)
            .with_description("Calls that wait for room in the audit log.")
            .with_callback(move |gauge| gauge.observe(log.calls_waiting(), &[]))
            .build();
    }

    /// Counts a caller's connection as open.
    pub fn connection_opened(&self) -> OpenConnection {
        self.0.connections.add(1, &[]);
        OpenConnection(self.0.connections.clone())
    }

    /// Counts a caller's connection that the server ended, by `reason`.
    pub fn connection_ended(&self, reason: &'static str) {
        self.0.connections_ended.add(1, &[KeyValue::new(name::REASON, reason)]);
    }

    /// Records how many tenants are served, how many were rejected because their settings are invalid, and how many of
    /// those served have old settings because the new ones are invalid.
    pub fn tenants(&self, loaded: usize, rejected: usize, stale: usize) {
        for (state, count) in [("loaded", loaded), ("rejected", rejected), ("stale", stale)] {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.0.tenants.record(count, &[KeyValue::new(name::STATE, state)]);
        }
    }

    /// Counts a store as built.
    pub fn store_built(&self) -> CountedStore {
        self.0.stores_built.add(1, &[]);
        CountedStore(self.0.stores_built.clone())
    }

    /// Counts a reload of the tenants by `outcome`: `ok`, `partial` if the settings of some tenants were invalid, or
    /// `failed` if nothing was changed.
    pub fn reloaded(&self, outcome: &'static str) {
        self.0.reloads.add(1, &[KeyValue::new(name::OUTCOME, outcome)]);
    }

    /// Counts a reload of the TLS files by `outcome`: `ok`, or `failed` if a file could not be used.
    pub fn tls_reloaded(&self, outcome: &'static str) {
        self.0.tls.reloads.add(1, &[KeyValue::new(name::OUTCOME, outcome)]);
    }

    /// Records when the server's certificate expires, in seconds since the Unix epoch.
    pub fn tls_certificate_expiry(&self, seconds: u64) {
        self.0.tls.certificate_expiry.record(seconds, &[]);
    }

    /// Records when a newer revocation list is due, in seconds since the Unix epoch.
    pub fn tls_revocation_list_expiry(&self, seconds: u64) {
        self.0.tls.revocation_list_expiry.record(seconds, &[]);
    }

    /// Counts a request to a credential provider of `tenant` by `outcome`: `ok`, `error` or `timeout`.
    pub fn credentials_requested(&self, tenant: &Arc<str>, provider: &'static str, outcome: &'static str) {
        let labels = [
            KeyValue::new(name::TENANT, Arc::clone(tenant)),
            KeyValue::new(name::PROVIDER, provider),
            KeyValue::new(name::OUTCOME, outcome),
        ];
        self.0.credentials_requests.add(1, &labels);
    }

    /// Exports the status of these credentials while they exist.
    pub fn watch_credentials(&self, credentials: &Arc<dyn WatchedCredentials>) {
        self.0.watched_credentials.add(credentials);
    }

    /// Exports the tenants' usage. `code_name` returns the name of a status code by its number.
    pub fn export_usage(&self, usage: &Usage, code_name: fn(usize) -> &'static str) {
        let collector = UsageCollector::new(usage.clone(), code_name);
        if let Err(error) = self.0.registry.register(Box::new(collector)) {
            tracing::error!(%error, "cannot export the tenants' usage");
        }
    }

    /// All metrics in Prometheus's text format (version 0.0.4).
    pub fn render(&self) -> String {
        TextEncoder::new().encode_to_string(&self.0.registry.gather()).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot encode the metrics as text");
            String::new()
        })
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let resource = Resource::builder()
            .with_service_name("longshore")
            .with_attribute(KeyValue::new("service.version", crate::VERSION))
            .build();
        let mut provider = SdkMeterProvider::builder().with_resource(resource);
        // A new registry has no conflicting names. Should this fail all the same, serving without metrics is better
        // than not serving.
        match opentelemetry_prometheus::exporter().with_registry(registry.clone()).build() {
            Ok(exporter) => provider = provider.with_reader(exporter),
            Err(error) => tracing::error!(%error, "cannot export the metrics to Prometheus"),
        }
        let provider = provider.build();
        Self(Arc::new(Instruments::new(registry, provider)))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

impl Drop for CountedStore {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counter.add(-1, &self.method);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<'a>(text: &'a str, start: &str, label: &str) -> &'a str {
        text.lines()
            .find(|line| line.starts_with(start) && line.contains(label))
            .unwrap_or_else(|| panic!("no line {start} with {label} in\n{text}"))
    }

    #[test]
    fn a_call_is_in_flight_until_its_guard_is_dropped_and_then_has_a_duration() {
        let metrics = Metrics::default();
        let get = Arc::from("longshore.v1.ObjectService/Get");
        let guard = metrics.call_started(&get);
        let method = r#"rpc_method="longshore.v1.ObjectService/Get""#;
        assert!(line(&metrics.render(), "longshore_calls_in_flight{", method).ends_with(" 1"));

        drop(guard);
        metrics.call_ended(&get, "NOT_FOUND", Duration::from_millis(30));
        let text = metrics.render();
        assert!(line(&text, "longshore_calls_in_flight{", method).ends_with(" 0"));
        let count = line(&text, "rpc_server_call_duration_seconds_count{", method);
        assert!(count.contains(r#"rpc_system_name="grpc""#), "{count}");
        assert!(count.contains(r#"rpc_response_status_code="NOT_FOUND""#), "{count}");
        assert!(line(&text, "rpc_server_call_duration_seconds_bucket{", r#"le="0.05""#).ends_with(" 1"));
        assert!(line(&text, "rpc_server_call_duration_seconds_bucket{", r#"le="0.025""#).ends_with(" 0"));
    }

    #[test]
    fn attempts_retries_hedges_and_bytes_are_counted() {
        let metrics = Metrics::default();
        metrics.s3_attempt("GetObject", "503");
        metrics.s3_retry("GetObject");
        metrics.s3_hedge("GetObject");
        metrics.s3_attempt("GetObject", "200");
        metrics.bytes(Direction::Download, 1024);
        metrics.bytes(Direction::Download, 1);
        let text = metrics.render();
        assert!(line(&text, "longshore_s3_attempts_total{", r#"outcome="503""#).ends_with(" 1"));
        assert!(line(&text, "longshore_s3_retries_total{", r#"operation="GetObject""#).ends_with(" 1"));
        assert!(line(&text, "longshore_s3_hedges_total{", r#"operation="GetObject""#).ends_with(" 1"));
        assert!(line(&text, "longshore_object_bytes_total{", r#"direction="download""#).ends_with(" 1025"));
    }

    #[test]
    fn tenants_are_counted_by_state() {
        let metrics = Metrics::default();
        metrics.tenants(12, 0, 2);
        let text = metrics.render();
        assert!(line(&text, "longshore_tenants{", r#"state="stale""#).ends_with(" 2"));
        assert!(line(&text, "longshore_tenants{", r#"state="loaded""#).ends_with(" 12"));
        assert!(line(&text, "longshore_tenants{", r#"state="rejected""#).ends_with(" 0"));
    }

    #[test]
    fn dropped_log_lines_are_counted_from_the_start() {
        assert!(line(&Metrics::default().render(), "longshore_log_lines_dropped_total", "").ends_with(" 0"));
    }

    #[test]
    fn separate_instances_share_nothing() {
        let (one, other) = (Metrics::default(), Metrics::default());
        one.bytes(Direction::Upload, 1);
        assert!(!other.render().contains("longshore_object_bytes"));
    }
}
