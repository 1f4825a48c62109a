//! `client_options`, `retry_config` and `transfer`, which `defaults`, tenants and stores may all set.

use crate::{
    settings::{Field, Flag, Notes, Optional, Period, Scalar, Section, UNSUPPORTED, settings},
    store::TransferSettings,
    transport::{ClientLayer, ClientOptions, RetryPolicy},
};

settings! {
    /// `transfer`.
    pub(super) struct Transfer(TransferSection) {
        /// boto3's setting: `false` is the same as `max_concurrency: 1`, and conflicts with a larger `max_concurrency`
        /// in the same mapping; `true` keeps a `max_concurrency` of the same mapping, and otherwise sets it to its
        /// default.
        use_threads: Option<bool> as Optional<Flag> = None,
    }
    include {
        /// The settings of the store.
        settings: TransferSettings,
    }
}

settings! {
    /// The sections that `defaults`, tenants and stores may all set.
    pub(super) struct Overridable(OverridableLayer) {
        /// How stores connect to S3.
        client_options: ClientOptions as ClientOptions =
            ClientOptions::default() => "its own defaults",
        /// How requests are retried.
        retry_config: RetryPolicy as RetryPolicy =
            RetryPolicy::default() => "its own defaults",
        /// How large objects are transferred.
        transfer: Transfer as Transfer = Transfer::default() => "its own defaults",
    }
    reject { "limits" => UNSUPPORTED, }
}

impl OverridableLayer {
    /// The sections as one level sets them, ready to be merged with another level: `use_threads` is replaced with the
    /// `max_concurrency` that it stands for, 1 if false, the default if true.
    pub(super) fn level(mut self, notes: &Notes) -> Self {
        let Some((transfer, place_id)) = self.transfer.placed() else { return self };
        let Some((threads, threads_id)) = transfer.use_threads.placed() else { return self };
        let mut transfer = transfer.clone();
        let concurrency = &mut transfer.settings.max_concurrency;
        match concurrency.get() {
            Some(number) if !threads && *number > 1 => notes.problem(
                threads_id,
                format!(
                    "conflicts with max_concurrency: {number}, because false means max_concurrency: 1; \
                     remove one of the two"
                ),
            ),
            None if !concurrency.is_given() => {
                let number = if *threads { TransferSettings::default().max_concurrency } else { 1 };
                *concurrency = Field::derived(number, Some(threads_id));
            }
            _ => {}
        }
        transfer.use_threads = Field::default();
        self.transfer = Field::derived(transfer, Some(place_id));
        self
    }

    /// These sections, which override those of `base`.
    pub(super) fn over(self, base: &Self) -> Self {
        Overridable::merged(self, base)
    }
}

/// Records a problem for each setting of `transfer` that would have no effect, given the store's `client` options.
pub(super) fn check_transfer(transfer: &TransferSection, client: &ClientLayer, notes: &Notes) {
    let transfer = &transfer.settings;
    if let (Some((true, place_id)), false) = (transfer.abort_orphans.placed(), transfer.orphan_age.is_given())
    {
        notes.problem(
            place_id,
            "has no effect without `orphan_age`: set `orphan_age` to the age from which uploads are aborted, such as \
             7d",
        );
    }
    let read_timeout = ClientOptions::resolved(client).read_timeout;
    let place_id = transfer.hedge_after.place_id().max(client.read_timeout.place_id());
    if let (Some(wait), Some(place_id)) = (transfer.hedge_after.get(), place_id)
        && *wait >= read_timeout
    {
        notes.problem(
            place_id,
            format!(
                "hedge_after ({}) must be shorter than read_timeout ({}), after which the request has already failed",
                shown(wait),
                shown(&read_timeout)
            ),
        );
    }
}

fn shown(time: &std::time::Duration) -> String {
    Period::show(time).unwrap_or_default()
}
