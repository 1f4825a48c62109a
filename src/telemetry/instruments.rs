//! The declarations of the OpenTelemetry instruments.

use opentelemetry::metrics::{
    Counter, Gauge, Histogram, Meter, MeterProvider, ObservableCounter, UpDownCounter,
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;

use super::{
    credentials::{self, Watched},
    limits::LimitMetrics,
    logs, name,
    tls::TlsInstruments,
};

/// The boundaries that the conventions recommend, in seconds, with finer ones for small objects that are served in less
/// than 5 ms and coarser ones for large transfers.
const CALL_DURATION_BOUNDARIES: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
];

#[derive(Debug)]
pub(super) struct Instruments {
    pub(super) registry: Registry,
    /// The instruments stop recording when it is dropped.
    _provider: SdkMeterProvider,
    pub(super) call_duration: Histogram<f64>,
    pub(super) calls_in_flight: UpDownCounter<i64>,
    pub(super) s3_attempts: Counter<u64>,
    pub(super) s3_retries: Counter<u64>,
    pub(super) s3_hedges: Counter<u64>,
    pub(super) s3_calls_refused: Counter<u64>,
    pub(super) entries_skipped: Counter<u64>,
    pub(super) object_bytes: Counter<u64>,
    pub(super) orphans_aborted: Counter<u64>,
    pub(super) memory_budget: Gauge<u64>,
    pub(super) memory_reserved: UpDownCounter<i64>,
    pub(super) memory_waiting: UpDownCounter<i64>,
    pub(super) connections: UpDownCounter<i64>,
    pub(super) connections_ended: Counter<u64>,
    pub(super) meter: Meter,
    pub(super) tenants: Gauge<u64>,
    pub(super) stores_built: UpDownCounter<i64>,
    pub(super) reloads: Counter<u64>,
    pub(super) tls: TlsInstruments,
    /// Read from the log, which the whole process shares.
    _log_lines_dropped: ObservableCounter<u64>,
    pub(super) memory_ended: Counter<u64>,
    pub(super) credentials_requests: Counter<u64>,
    pub(super) watched_credentials: Watched,
    pub(super) limits: LimitMetrics,
}

impl Instruments {
    pub(super) fn new(registry: Registry, provider: SdkMeterProvider) -> Self {
        let meter: Meter = provider.meter("longshore");
        let watched_credentials = Watched::default();
        credentials::export(&meter, &watched_credentials);
        Self {
            credentials_requests: meter
                .u64_counter(name::CREDENTIALS_REQUESTS)
                .with_description("Requests to credential providers, by outcome: ok, error, timeout.")
                .build(),
            watched_credentials,
            limits: LimitMetrics::new(&meter),
            tls: TlsInstruments::new(&meter),
            call_duration: meter
                .f64_histogram(name::CALL_DURATION)
                .with_unit("s")
                .with_description("Duration of calls, up to the end of the response.")
                .with_boundaries(CALL_DURATION_BOUNDARIES.to_vec())
                .build(),
            calls_in_flight: meter
                .i64_up_down_counter(name::CALLS_IN_FLIGHT)
                .with_description("Calls in flight.")
                .build(),
            s3_attempts: meter
                .u64_counter(name::S3_ATTEMPTS)
                .with_description("Attempts of requests to S3.")
                .build(),
            s3_retries: meter
                .u64_counter(name::S3_RETRIES)
                .with_description("Retries of requests to S3.")
                .build(),
            entries_skipped: meter
                .u64_counter(name::ENTRIES_SKIPPED)
                .with_description("Entries of S3 listings that were left out because they are invalid.")
                .build(),
            s3_calls_refused: meter
                .u64_counter("longshore.s3.calls_refused")
                .with_description("Calls that failed at once, because S3 has not answered for a while")
                .build(),
            s3_hedges: meter
                .u64_counter(name::S3_HEDGES)
                .with_description(
                    "Second requests for a read, sent to S3 because the first response had not begun.",
                )
                .build(),
            // No unit: the Prometheus exporter would append it to the name a second time.
            object_bytes: meter
                .u64_counter(name::OBJECT_BYTES)
                .with_description("Object bytes transferred, by direction.")
                .build(),
            orphans_aborted: meter
                .u64_counter(name::ORPHANS_ABORTED)
                .with_description(
                    "Multipart uploads that were aborted because they were older than `orphan_age`.",
                )
                .build(),
            memory_budget: meter
                .u64_gauge(name::MEMORY_BUDGET)
                .with_description("Size of the memory budget in bytes.")
                .build(),
            memory_reserved: meter
                .i64_up_down_counter(name::MEMORY_RESERVED)
                .with_description("Reserved bytes of the memory budget.")
                .build(),
            memory_waiting: meter
                .i64_up_down_counter(name::MEMORY_WAITING)
                .with_description("Calls that wait for memory.")
                .build(),
            memory_ended: meter
                .u64_counter(name::MEMORY_ENDED)
                .with_description(
                    "Calls ended for lack of memory or to free it: wait, too_slow, upload_idle, read_idle.",
                )
                .build(),
            connections: meter
                .i64_up_down_counter(name::CONNECTIONS)
                .with_description("Open connections of callers.")
                .build(),
            connections_ended: meter
                .u64_counter(name::CONNECTIONS_ENDED)
                .with_description("Connections of callers that the server ended, by reason.")
                .build(),
            tenants: meter
                .u64_gauge(name::TENANTS)
                .with_description("Tenants in the settings: loaded ones are served, stale ones among them with old settings, rejected ones not.")
                .build(),
            stores_built: stores_built(&meter),
            reloads: meter
                .u64_counter(name::RELOADS)
                .with_description("Reloads of the tenants, by outcome: ok, partial, failed.")
                .build(),
            _log_lines_dropped: meter
                .u64_observable_counter(name::LOG_LINES_DROPPED)
                .with_description(
                    "Log lines that were dropped because standard error did not accept them in time.",
                )
                .with_callback(|dropped| dropped.observe(logs::dropped(), &[]))
                .build(),
            meter,
            registry,
            _provider: provider,
        }
    }
}

fn stores_built(meter: &Meter) -> UpDownCounter<i64> {
    meter
        .i64_up_down_counter(name::STORES_BUILT)
        .with_description("Stores that are built: they were called recently.")
        .build()
}
