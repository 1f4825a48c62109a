//! The metrics of the TLS files.

use opentelemetry::metrics::{Counter, Gauge, Meter};

use super::name;

/// The instruments for the TLS files.
#[derive(Debug)]
pub(super) struct TlsInstruments {
    pub(super) reloads: Counter<u64>,
    pub(super) certificate_expiry: Gauge<u64>,
    pub(super) revocation_list_expiry: Gauge<u64>,
}

impl TlsInstruments {
    pub(super) fn new(meter: &Meter) -> Self {
        Self {
            reloads: meter
                .u64_counter(name::TLS_RELOADS)
                .with_description("Reloads of the TLS files, by outcome: ok, failed.")
                .build(),
            certificate_expiry: meter
                .u64_gauge(name::TLS_CERTIFICATE_EXPIRY)
                .with_description(
                    "When the first certificate in the chain of the gRPC listener expires, in seconds since the epoch.",
                )
                .build(),
            revocation_list_expiry: meter
                .u64_gauge(name::TLS_REVOCATION_LIST_EXPIRY)
                .with_description(
                    "When the first of the revocation lists is to be replaced, in seconds since the epoch.",
                )
                .build(),
        }
    }
}
