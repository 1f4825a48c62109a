//! Reloads the TLS files when they change, or on SIGHUP.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};

use super::{
    reload::{ATTEMPTS, LONGEST_READ, SETTLE},
    signals::Hangups,
};
use crate::server::LiveTls;

/// Reloads TLS files. It does not wait for the tenants' files, so that a network file system that hangs with those does
/// not keep the certificate from being replaced.
#[derive(Debug)]
pub(super) struct TlsReloader {
    tls: LiveTls,
    /// Whether the files are being read.
    is_busy: Arc<AtomicBool>,
}

impl TlsReloader {
    pub(super) fn new(tls: LiveTls) -> Self {
        Self { tls, is_busy: Arc::default() }
    }

    /// Reloads the files on SIGHUP, and if they have changed when they are checked, once an `interval`; `None`: never.
    /// Does not end.
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
                () = next_check => self.check().await,
            }
        }
    }

    async fn check(&self) {
        if self.on_thread(LiveTls::has_changed).await == Some(true) {
            self.reload(SETTLE).await;
        }
    }

    /// Reads the files, and uses them if they stay the same for `settle`.
    async fn reload(&self, settle: Duration) {
        for _ in 0..ATTEMPTS {
            let Some(reading) = self.on_thread(LiveTls::read).await else { return };
            sleep(settle).await;
            let accept = move |tls: &LiveTls| {
                let is_current = reading.is_current();
                if is_current {
                    tls.accept(reading);
                }
                is_current
            };
            match self.on_thread(accept).await {
                Some(false) => {}
                _ => return,
            }
        }
        tracing::warn!("the TLS files keep changing: they are read again later");
    }

    /// Runs work that reads files on a thread for blocking work. `None` if it does not end in time, or if the process
    /// is shutting down.
    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LiveTls) -> T + Send + 'static,
    ) -> Option<T> {
        if self.is_busy.swap(true, Relaxed) {
            self.hangs();
            return None;
        }
        let (tls, is_busy) = (self.tls.clone(), Arc::clone(&self.is_busy));
        let work = move || {
            let done = work(&tls);
            is_busy.store(false, Relaxed);
            done
        };
        match timeout(LONGEST_READ, spawn_blocking(work)).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.is_busy.store(false, Relaxed);
                if error.is_panic() {
                    tracing::error!("the reload of the TLS files failed unexpectedly");
                    self.tls.reload_failed();
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
        tracing::error!("the TLS files cannot be reloaded, because reading them takes more than a minute");
        self.tls.reload_failed();
    }
}
