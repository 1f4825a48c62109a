//! The limits of one tenant or caller, and how much of them is in use.

use std::{sync::Arc, time::Duration};

use bytesize::ByteSize;

use super::{
    CallLimits, LimitScope,
    bucket::Pace,
    exceeded::{Exceeded, Holder},
    permits::Permits,
    rate::Rate,
};
use crate::{
    telemetry::{Direction, Metrics, WatchedLimit},
    tenants::Resources,
};

/// A message to a caller, with the bytes that arrive together with its last ones, has at most this many bytes.
const LARGEST_SENT: u64 = 512 * 1024;

/// The limits of a tenant or a caller. A limit that is not set costs nothing.
#[derive(Debug)]
pub(crate) struct Limiter {
    holder: Holder,
    settings: CallLimits,
    /// Between how many processes the limits are divided.
    shared_by: u32,
    pub(super) in_flight: Option<Arc<Permits>>,
    pub(super) streams: Option<Arc<Permits>>,
    pub(super) requests: Option<Arc<Rate>>,
    uploads: Option<Arc<Rate>>,
    downloads: Option<Arc<Rate>>,
}

/// Which limit a call is beyond.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    InFlight,
    Streams,
    Requests,
    Bytes(Direction),
}

impl Limiter {
    /// The limits in `settings`. `share`: how many calls may be in flight if the settings do not say.
    ///
    /// It takes over the state of its `predecessor`'s limits, with the calls that wait.
    pub(crate) fn new(
        holder: Holder,
        settings: CallLimits,
        share: Option<u32>,
        resources: &Resources,
        predecessor: Option<&Self>,
    ) -> Self {
        let process = &resources.process;
        let shared_by = match settings.scope {
            LimitScope::Process => 1,
            LimitScope::Fleet => process.replicas.max(1),
        };
        let part = |limit: u32| (limit / shared_by).max(1);
        let calls = settings.max_in_flight.map(part).or(share);
        let pace =
            |per_second: Option<u64>, least| Some(Pace::new(per_second?, shared_by, settings.burst, least));
        let message = process.largest_message.max(LARGEST_SENT);
        let old = Before { predecessor, holder: &holder, metrics: &resources.metrics };
        Self {
            in_flight: old.permits("max_in_flight", calls, |before| &before.in_flight),
            streams: old.permits("max_streams", settings.max_streams.map(part), |before| &before.streams),
            requests: old.rate(
                "requests_per_second",
                pace(settings.requests_per_second.map(u64::from), 1),
                |before| &before.requests,
            ),
            uploads: old
                .rate("upload_bytes_per_second", pace(settings.uploads(), message), |before| &before.uploads),
            downloads: old.rate("download_bytes_per_second", pace(settings.downloads(), message), |before| {
                &before.downloads
            }),
            holder,
            settings,
            shared_by,
        }
    }

    /// How many calls may be in flight; `None`: any number.
    pub(crate) fn max_in_flight(&self) -> Option<usize> {
        self.in_flight.as_ref().map(|permits| permits.limit())
    }

    /// How long a call may wait.
    pub(super) fn max_wait(&self) -> Duration {
        self.settings.max_wait
    }

    /// The limit on bytes per second in one direction.
    pub(super) fn bytes(&self, direction: Direction) -> Option<&Arc<Rate>> {
        match direction {
            Direction::Upload => self.uploads.as_ref(),
            Direction::Download => self.downloads.as_ref(),
        }
    }

    /// Checks the size of an object that a call writes.
    pub(crate) fn check_object_size(&self, bytes: u64) -> Result<(), Exceeded> {
        match self.settings.max_object_size {
            Some(most) if bytes > most => Err(self.forever("max_object_size", ByteSize(most).to_string())),
            _ => Ok(()),
        }
    }

    /// The largest object that a call may write.
    pub(crate) fn max_object_size(&self) -> Option<u64> {
        self.settings.max_object_size
    }

    /// Checks the number of keys that a call has named so far.
    pub(crate) fn check_keys(&self, keys: u64) -> Result<(), Exceeded> {
        match self.settings.max_keys_per_call {
            Some(most) if keys > u64::from(most) => Err(self.forever("max_keys_per_call", most.to_string())),
            _ => Ok(()),
        }
    }

    /// A call is beyond this limit, and may be repeated after `retry_after`.
    pub(super) fn exceeded(&self, kind: Kind, retry_after: Duration) -> Exceeded {
        let settings = &self.settings;
        let bytes = |rate: Option<u64>| ByteSize(rate.unwrap_or_default()).to_string();
        let (limit, value) = match kind {
            Kind::InFlight => match (settings.max_in_flight, &self.in_flight) {
                (Some(calls), _) => ("max_in_flight", calls.to_string()),
                (None, share) => {
                    let calls = share.as_ref().map_or(0, |permits| permits.limit());
                    ("max_in_flight", format!("{calls}, half of LONGSHORE_MAX_IN_FLIGHT"))
                }
            },
            Kind::Streams => ("max_streams", settings.max_streams.unwrap_or_default().to_string()),
            Kind::Requests => {
                let calls = settings.requests_per_second.unwrap_or_default();
                ("requests_per_second", calls.to_string())
            }
            Kind::Bytes(Direction::Upload) => match settings.upload_bytes_per_second {
                Some(rate) => ("upload_bytes_per_second", bytes(Some(rate))),
                None => ("bytes_per_second", bytes(settings.bytes_per_second)),
            },
            Kind::Bytes(Direction::Download) => match settings.download_bytes_per_second {
                Some(rate) => ("download_bytes_per_second", bytes(Some(rate))),
                None => ("bytes_per_second", bytes(settings.bytes_per_second)),
            },
        };
        Exceeded {
            holder: self.holder.clone(),
            limit,
            value,
            shared_by: self.shared_by,
            retry_after: Some(retry_after),
        }
    }

    fn forever(&self, limit: &'static str, value: String) -> Exceeded {
        Exceeded { holder: self.holder.clone(), limit, value, shared_by: 1, retry_after: None }
    }
}

/// The limits that new ones replace.
struct Before<'a> {
    predecessor: Option<&'a Limiter>,
    holder: &'a Holder,
    metrics: &'a Metrics,
}

impl Before<'_> {
    fn permits(
        &self,
        limit: &'static str,
        value: Option<u32>,
        old: fn(&Limiter) -> &Option<Arc<Permits>>,
    ) -> Option<Arc<Permits>> {
        let value = value?;
        if let Some(permits) = self.predecessor.and_then(|before| old(before).clone()) {
            permits.resize(value);
            return Some(permits);
        }
        let permits = Arc::new(Permits::new(value));
        let watched: Arc<dyn WatchedLimit> = permits.clone();
        self.watch(limit, &watched);
        Some(permits)
    }

    fn rate(
        &self,
        limit: &'static str,
        pace: Option<Pace>,
        old: fn(&Limiter) -> &Option<Arc<Rate>>,
    ) -> Option<Arc<Rate>> {
        let pace = pace?;
        if let Some(rate) = self.predecessor.and_then(|before| old(before).clone()) {
            rate.configure(pace);
            return Some(rate);
        }
        let rate = Arc::new(Rate::new(pace));
        let watched: Arc<dyn WatchedLimit> = rate.clone();
        self.watch(limit, &watched);
        Some(rate)
    }

    fn watch(&self, limit: &'static str, watched: &Arc<dyn WatchedLimit>) {
        self.metrics.watch_limit(self.holder.labels(limit), watched);
    }
}
