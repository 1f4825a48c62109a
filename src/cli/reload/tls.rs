//! Reloads the TLS files when they change, or on SIGHUP.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    ATTEMPTS, SETTLE,
    checks::Checks,
    file_reads::{FileReads, ReadError},
};
use crate::{cli::signals::Hangups, server::LiveTls};

/// Reloads TLS files. It does not wait for the tenants' files, so that a network file system that hangs with those does
/// not keep the certificate from being replaced.
#[derive(Debug)]
pub(in crate::cli) struct TlsReloader {
    tls: LiveTls,
    reads: FileReads,
}

impl TlsReloader {
    pub(in crate::cli) fn new(tls: LiveTls) -> Self {
        Self { tls, reads: FileReads::default() }
    }

    /// Reloads the files on SIGHUP, and if they have changed when they are checked, once an `interval`; `None`: never.
    /// Does not end.
    pub(in crate::cli) async fn run(self, mut hangups: Hangups, interval: Option<Duration>) {
        let mut checks = Checks::every(interval);
        loop {
            tokio::select! {
                () = hangups.next() => self.reload(Duration::ZERO).await,
                () = checks.next() => self.check().await,
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
        let tls = self.tls.clone();
        let reason = match self.reads.run(move || work(&tls)).await {
            Ok(done) => return Some(done),
            Err(ReadError::Hangs) => "reading them takes more than a minute",
            Err(ReadError::Panicked) => "reading them failed unexpectedly",
            Err(ReadError::ShuttingDown) => return None,
        };
        tracing::error!(reason, "the TLS files cannot be reloaded");
        self.tls.reload_failed();
        None
    }
}
