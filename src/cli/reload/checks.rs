//! The times at which files are checked for changes.

use std::{future::pending, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// When the files are checked next.
#[derive(Debug)]
pub(super) struct Checks(Option<Interval>);

impl Checks {
    /// The first check is after an `interval`, and so is each one after the last; `None`: never.
    pub(super) fn every(interval: Option<Duration>) -> Self {
        Self(interval.map(|every| {
            let mut checks = interval_at(Instant::now() + every, every);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            checks
        }))
    }

    /// Waits for the next check. Dropping the future loses none.
    pub(super) async fn next(&mut self) {
        match &mut self.0 {
            Some(checks) => drop(checks.tick().await),
            None => pending().await,
        }
    }
}
