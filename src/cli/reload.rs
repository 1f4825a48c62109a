//! Reloads the tenants when their files change, or on SIGHUP.

use std::{
    future::pending,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, sleep},
};

use super::signals::Hangups;
use crate::{
    config::{Problems, Reloaded, TenantsSource},
    server::LiveTenants,
};

/// How long files must stay the same after a change before the change takes effect: a file may be written in several
/// steps, and the files of a folder one after the other.
const SETTLE: Duration = Duration::from_secs(1);

/// How often files that keep changing are read before the next check, or the next signal, is waited for.
const ATTEMPTS: u32 = 10;

/// How many problems of a reload are logged. `longshore check` lists all of them.
const LOGGED: usize = 20;

/// Reloads tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reloader {
    source: Arc<Mutex<TenantsSource>>,
    tenants: LiveTenants,
}

impl Reloader {
    pub(super) fn new(source: TenantsSource, tenants: LiveTenants) -> Self {
        Self { source: Arc::new(Mutex::new(source)), tenants }
    }

    /// Reloads the tenants on SIGHUP, and if their files have changed when they are checked, once an `interval`; `None`:
    /// never. Does not end, unless the signal cannot be received.
    pub(super) async fn run(self, interval: Option<Duration>) -> io::Result<()> {
        let mut hangups = Hangups::listen()?;
        let mut checks = interval.map(|every| {
            let mut checks = interval_at(Instant::now() + every, every);
            checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            checks
        });
        loop {
            let next_check = async {
                match &mut checks {
                    Some(checks) => drop(checks.tick().await),
                    None => pending().await,
                }
            };
            tokio::select! {
                () = hangups.next() => self.reload(Duration::ZERO).await,
                () = next_check => {
                    if self.on_source(|source, _| source.has_changed()).await == Some(true) {
                        self.reload(SETTLE).await;
                    }
                }
            }
        }
    }

    /// Reads the files until they have stayed the same for `settle`, and replaces the tenants.
    async fn reload(&self, settle: Duration) {
        for _ in 0..ATTEMPTS {
            let reading = self.on_source(|source, tenants| source.read(|name| tenants.settings(name))).await;
            sleep(settle).await;
            let accept = |source: &mut TenantsSource, tenants: &LiveTenants| {
                // The files may have changed while they were read.
                let reading = reading.filter(|reading| source.is_current(reading))?;
                match source.accept(reading) {
                    Ok(reloaded) => replace(tenants, reloaded),
                    Err(problems) => failed(tenants, &problems),
                }
                Some(())
            };
            if self.on_source(accept).await.flatten().is_some() {
                return;
            }
        }
        tracing::warn!("the tenants files keep changing, so they are read again later");
    }

    /// Runs work that reads files on a thread for blocking work. `None` if the process is shutting down.
    async fn on_source<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TenantsSource, &LiveTenants) -> T + Send + 'static,
    ) -> Option<T> {
        let this = self.clone();
        let work =
            move || work(&mut this.source.lock().unwrap_or_else(PoisonError::into_inner), &this.tenants);
        spawn_blocking(work).await.ok()
    }
}

fn replace(tenants: &LiveTenants, reloaded: Reloaded) {
    let Reloaded { tenants: new, stale, rejected, problems, warnings } = reloaded;
    for warning in warnings.iter().take(LOGGED) {
        tracing::warn!(%warning, "a setting is probably not meant as it is written");
    }
    log(&problems);
    tracing::info!(
        served = new.len(),
        stale = stale.len(),
        rejected = rejected.len(),
        "the tenants have been reloaded"
    );
    tenants.replace(new, stale, rejected);
}

fn failed(tenants: &LiveTenants, problems: &Problems) {
    log(problems);
    tracing::error!("the tenants could not be reloaded, so the current ones stay in use");
    tenants.reload_failed();
}

fn log(problems: &Problems) {
    for problem in problems.iter().take(LOGGED) {
        tracing::error!(%problem, "a tenant's new settings are invalid");
    }
}
