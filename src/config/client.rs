//! `client_options`, `retry_config` and `transfer`, which `defaults`, tenants and stores may all set.

use std::time::Duration;

use crate::{
    store::{OrphanSettings, TransferSettings},
    transport::{Backoff, ClientOptions, RetryPolicy},
};

use super::{
    field::{Field, Layer, sparse},
    problem::{Notes, PlaceId},
    values::{Factor, Flag, Number, Period, Scalar, Size, Text, scalars},
};

const MIB: u64 = 1024 * 1024;

sparse! {
    /// `client_options`.
    Client, "client_options" {
        allow_http: Flag,
        connect_timeout: Limit,
        timeout: Limit,
        read_timeout: Limit,
        pool_idle_timeout: Period,
        pool_max_idle_per_host: Number<0, 1_000_000>,
        user_agent: UserAgent,
    }
}

sparse! {
    /// `retry_config`.
    RetryConfig, "retry_config" {
        max_retries: Number<0, 1_000>,
        retry_timeout: Period,
        backoff: BackoffConfig,
    }
}

sparse! {
    /// `retry_config.backoff`.
    BackoffConfig, "backoff" {
        init_backoff: Period,
        max_backoff: Period,
        base: Factor,
    }
}

sparse! {
    /// `transfer`, with boto3's names as aliases where they differ.
    Transfer, "transfer" {
        // A single PutObject accepts at most 5 GiB (S3 User Guide, "Amazon S3 multipart upload limits").
        multipart_threshold: Size<0, { 5 * 1024 * MIB }>,
        #[serde(alias = "multipart_chunksize")]
        part_size: Size<{ 5 * MIB }, { 512 * MIB }>,
        max_concurrency: Number<1, 100>,
        #[serde(alias = "num_download_attempts")]
        download_attempts: Number<1, 100>,
        hedge_after: HedgeAfter,
        use_threads: Flag,
        equal_parts: Flag,
        orphan_age: OrphanAge,
        abort_orphans: Flag,
    }
}

/// The three sections of one level.
#[derive(Clone, Default)]
pub(super) struct OverridableOptions {
    pub(super) client_options: Field<Client>,
    pub(super) retry_config: Field<RetryConfig>,
    pub(super) transfer: Field<Transfer>,
}

impl OverridableOptions {
    /// The sections that one level sets, in the form that can be merged with another level.
    pub(super) fn new(
        client_options: Field<Client>,
        retry_config: Field<RetryConfig>,
        transfer: Field<Transfer>,
        notes: &Notes,
    ) -> Self {
        Self { client_options, retry_config, transfer: transfer.map(|own| own.without_threads(notes)) }
    }

    pub(super) fn over(self, base: &Self) -> Self {
        Self {
            client_options: self.client_options.over(&base.client_options),
            retry_config: self.retry_config.over(&base.retry_config),
            transfer: self.transfer.over(&base.transfer),
        }
    }
}

impl Client {
    pub(super) fn settle(&self) -> ClientOptions {
        let default = ClientOptions::default();
        ClientOptions {
            allow_http: self.allow_http.get().map_or(default.allow_http, |flag| flag.0),
            connect_timeout: self.connect_timeout.get().map_or(default.connect_timeout, |limit| limit.0),
            timeout: self.timeout.get().map(|limit| limit.0).or(default.timeout),
            read_timeout: self.read_timeout.get().map_or(default.read_timeout, |limit| limit.0),
            pool_idle_timeout: self.pool_idle_timeout.get().map_or(default.pool_idle_timeout, |time| time.0),
            pool_max_idle_per_host: self
                .pool_max_idle_per_host
                .get()
                .map_or(default.pool_max_idle_per_host, |number| {
                    usize::try_from(number.0).unwrap_or(usize::MAX)
                }),
            user_agent: self.user_agent.get().map_or(default.user_agent, |text| text.0.clone()),
        }
    }
}

impl RetryConfig {
    /// Records a problem if `init_backoff` is longer than `max_backoff`.
    pub(super) fn settle(&self, notes: &Notes) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            max_retries: self.max_retries.get().map_or(default.max_retries, |number| number.0),
            retry_timeout: self.retry_timeout.get().map_or(default.retry_timeout, |time| time.0),
            backoff: self.backoff.get().map_or(default.backoff, |waits| waits.settle(notes)),
        }
    }
}

impl BackoffConfig {
    fn settle(&self, notes: &Notes) -> Backoff {
        let default = Backoff::default();
        let backoff = Backoff {
            init_backoff: self.init_backoff.get().map_or(default.init_backoff, |time| time.0),
            max_backoff: self.max_backoff.get().map_or(default.max_backoff, |time| time.0),
            base: self.base.get().map_or(default.base, |factor| factor.0),
        };
        let place_id: Option<PlaceId> = self.init_backoff.place_id().max(self.max_backoff.place_id());
        if let Some(place_id) = place_id.filter(|_| backoff.init_backoff > backoff.max_backoff) {
            let shown = |time: Duration| humantime::format_duration(time).to_string();
            notes.problem(
                place_id,
                format!(
                    "init_backoff ({}) must not be longer than max_backoff ({})",
                    shown(backoff.init_backoff),
                    shown(backoff.max_backoff)
                ),
            );
        }
        backoff
    }
}

impl Transfer {
    /// Records a problem for each setting that would have no effect, given the store's `client` options.
    pub(super) fn settle(&self, client: &Client, notes: &Notes) -> TransferSettings {
        self.note_without_effect(client, notes);
        let default = TransferSettings::default();
        TransferSettings {
            multipart_threshold: self
                .multipart_threshold
                .get()
                .map_or(default.multipart_threshold, |size| size.0),
            part_size: self.part_size.get().map_or(default.part_size, |size| size.0),
            max_concurrency: self
                .max_concurrency
                .get()
                .map_or(default.max_concurrency, |number| usize::try_from(number.0).unwrap_or(usize::MAX)),
            download_attempts: self
                .download_attempts
                .get()
                .map_or(default.download_attempts, |number| number.0),
            hedge_after: self.hedge_after.get().map(|wait| wait.0).or(default.hedge_after),
            equal_parts: self.equal_parts.get().map_or(default.equal_parts, |flag| flag.0),
            orphans: self.orphan_age.get().map(|age| OrphanSettings {
                age: age.0,
                abort: self.abort_orphans.get().is_some_and(|flag| flag.0),
            }),
        }
    }

    fn note_without_effect(&self, client: &Client, notes: &Notes) {
        if let (Some((Flag(true), place_id)), false) =
            (self.abort_orphans.placed(), self.orphan_age.is_given())
        {
            notes.problem(
                place_id,
                "has no effect without `orphan_age`: set `orphan_age` to the age from which uploads are \
                 aborted, such as 7d",
            );
        }
        let read_timeout = client.settle().read_timeout;
        let place_id = self.hedge_after.place_id().max(client.read_timeout.place_id());
        if let (Some(HedgeAfter(wait)), Some(place_id)) = (self.hedge_after.get(), place_id)
            && *wait >= read_timeout
        {
            notes.problem(
                place_id,
                format!(
                    "hedge_after ({}) must be shorter than read_timeout ({}), after which the request has \
                     already failed",
                    humantime::format_duration(*wait),
                    humantime::format_duration(read_timeout)
                ),
            );
        }
    }

    /// Replaces `use_threads` with the `max_concurrency` that it stands for: 1 if false, the default if true.
    fn without_threads(mut self, notes: &Notes) -> Self {
        let use_threads = std::mem::take(&mut self.use_threads);
        let Some((Flag(threads), place_id)) = use_threads.placed() else { return self };
        match self.max_concurrency.get() {
            Some(Number(number)) if !threads && *number > 1 => notes.problem(
                place_id,
                format!(
                    "conflicts with max_concurrency: {number}, because false means max_concurrency: 1; \
                     remove one of the two"
                ),
            ),
            None if !self.max_concurrency.is_given() => {
                let number = if *threads { DEFAULT_CONCURRENCY } else { 1 };
                self.max_concurrency = Field::derived(Number(number), Some(place_id));
            }
            _ => {}
        }
        self
    }
}

/// The same as in `TransferSettings::default`; a test compares the two.
const DEFAULT_CONCURRENCY: u32 = 10;

scalars! {
    HedgeAfter,
    OrphanAge,
    Limit,
    UserAgent,
}

/// How long to wait before a read is hedged. Below the minimum, every read would be hedged.
#[derive(Debug, Clone, Copy)]
pub(super) struct HedgeAfter(Duration);

impl Scalar for HedgeAfter {
    fn expected() -> String {
        Period::expected()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let Period(time) = Period::from_text(text)?;
        if time < Duration::from_millis(1) {
            return Err(format!(
                "must be 1ms or longer, found {text}: a shorter wait sends every read twice"
            ));
        }
        Ok(Self(time))
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Period::from_integer(number).map(|Period(time)| Self(time))
    }

    fn from_fraction(number: f64) -> Result<Self, String> {
        Period::from_fraction(number).map(|Period(time)| Self(time))
    }
}

/// The age from which an unfinished upload counts as orphaned. Below the minimum, uploads in progress would count too.
#[derive(Debug, Clone, Copy)]
pub(super) struct OrphanAge(Duration);

impl Scalar for OrphanAge {
    fn expected() -> String {
        Period::expected()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let Period(time) = Period::from_text(text)?;
        if time < Duration::from_hours(1) {
            return Err(format!(
                "must be 1h or longer, found {text}: a shorter age matches uploads that are still in progress"
            ));
        }
        Ok(Self(time))
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Period::from_integer(number).map(|Period(time)| Self(time))
    }
}

/// A timeout, which must not be zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit(Duration);

impl Scalar for Limit {
    fn expected() -> String {
        Period::expected()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let Period(time) = Period::from_text(text)?;
        if time.is_zero() {
            return Err("must be longer than zero: a timeout of zero fails every request".to_owned());
        }
        Ok(Self(time))
    }

    fn from_integer(number: i64) -> Result<Self, String> {
        Period::from_integer(number).map(|Period(time)| Self(time))
    }

    fn from_fraction(number: f64) -> Result<Self, String> {
        Period::from_fraction(number).map(|Period(time)| Self(time))
    }
}

/// A string that is valid as the value of an HTTP header.
#[derive(Debug, Clone)]
pub(super) struct UserAgent(String);

impl Scalar for UserAgent {
    fn expected() -> String {
        Text::expected()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let Text(text) = Text::from_text(text)?;
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(
                "must consist of printable ASCII characters, because it is sent in an HTTP header".to_owned()
            );
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_threads_true_means_the_default_concurrency() {
        let default = TransferSettings::default().max_concurrency;
        assert_eq!(u64::from(DEFAULT_CONCURRENCY), default as u64);
    }
}
