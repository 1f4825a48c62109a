//! Reloads the tenants when their files change, or on SIGHUP.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::signals::Hangups;
use crate::{
    config::{Problems, Reloaded, TenantsSource},
    server::LiveTenants,
};

/// How long files must stay the same after a change before the change takes effect: a file may be written in several
/// steps, and the files of a folder one after the other.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the files are read if some of them keep changing, before the next check or signal is waited for.
const ATTEMPTS: u32 = 3;

/// How long reading the files may take. A network file system can hang.
const LONGEST_READ: Duration = Duration::from_mins(1);

/// How many problems of a reload are logged. `longshore check` lists all of them.
const LOGGED: usize = 100;

/// Reloads tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reloader {
    source: Arc<Mutex<TenantsSource>>,
    /// Whether the files are being read.
    is_busy: Arc<AtomicBool>,
    tenants: LiveTenants,
}

impl Reloader {
    pub(super) fn new(source: TenantsSource, tenants: LiveTenants) -> Self {
        Self { source: Arc::new(Mutex::new(source)), is_busy: Arc::default(), tenants }
    }

    /// Reloads the tenants on SIGHUP, and if their files have changed when they are checked, once an `interval`; `None`:
    /// never. Does not end.
    pub(super) async fn run(self, mut hangups: Hangups, interval: Option<Duration>) {
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

    /// Reads the files, and replaces the tenants of those that stay the same for `settle`.
    async fn reload(&self, settle: Duration) {
        for attempt in 1..=ATTEMPTS {
            let Some(reading) = self.on_source(|source, _| source.read()).await else { return };
            sleep(settle).await;
            let accept = move |source: &mut TenantsSource, tenants: &LiveTenants| {
                let changing = match source.accept(reading, |name| tenants.settings(name))? {
                    Ok(reloaded) => {
                        let changing = reloaded.changing;
                        replace(tenants, reloaded);
                        changing
                    }
                    Err(problems) => {
                        failed(tenants, &problems);
                        0
                    }
                };
                Some(changing)
            };
            match self.on_source(accept).await {
                // `None`: the set of files has changed.
                Some(None | Some(1..)) if attempt < ATTEMPTS => {}
                Some(None) => {
                    tracing::warn!("the folder of tenants files keeps changing: it is read again later");
                }
                _ => return,
            }
        }
    }

    /// Runs work that reads files on a thread for blocking work. `None` if it does not end in time, or if the process is
    /// shutting down.
    async fn on_source<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TenantsSource, &LiveTenants) -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_busy.swap(true, Relaxed) {
            self.hangs();
            return None;
        }
        let this = self.clone();
        let work = move || {
            let done = work(&mut this.source.lock().unwrap_or_else(PoisonError::into_inner), &this.tenants);
            this.is_busy.store(false, Relaxed);
            done
        };
        match timeout(LONGEST_READ, spawn_blocking(work)).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.is_busy.store(false, Relaxed);
                if error.is_panic() {
                    tracing::error!("the reload of the tenants failed unexpectedly");
                    self.tenants.reload_failed();
                }
                None
            }
            Err(_) => {
                self.hangs();
                None
            }
        }
    }

    fn hangs(&self) {
        tracing::error!(
            "the tenants cannot be reloaded, because reading their files takes more than a minute"
        );
        self.tenants.reload_failed();
    }
}

fn replace(tenants: &LiveTenants, reloaded: Reloaded) {
    let Reloaded { tenants: new, stale, rejected, unusable, changing, problems, warnings } = reloaded;
    for warning in warnings.iter().take(LOGGED) {
        tracing::warn!(%warning, "a setting is probably not meant as it is written");
    }
    log(&problems);
    tracing::info!(
        served = new.len(),
        stale = stale.len(),
        rejected = rejected.len(),
        unusable_files = unusable.len(),
        changing_files = changing,
        "the tenants have been reloaded"
    );
    tenants.replace(new, stale, rejected, unusable);
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
    let more = problems.iter().skip(LOGGED).count();
    if more > 0 {
        tracing::error!(more, "there are more problems: `longshore check` lists all of them");
    }
}
