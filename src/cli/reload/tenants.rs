//! Reloads the tenants when their files change, or on SIGHUP.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use super::{
    ATTEMPTS, SETTLE,
    checks::Checks,
    file_reads::{FileReads, ReadError},
};
use crate::{
    cli::signals::Hangups,
    config::{Problems, Reloaded, TenantsSource},
    server::{LiveTenants, ReloadTenants},
    tenants::{Invalid, ReloadReport},
};

/// How many problems of a reload are logged. `longshore check` lists all of them.
const LOGGED: usize = 100;

/// How many requests for a reload may wait before further ones wait outside.
const WAITING: usize = 64;

/// A request for a reload: where to send the report.
pub(in crate::cli) type Wanted = oneshot::Sender<ReloadReport>;

/// Reloads tenants. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Reloader {
    source: Arc<Mutex<TenantsSource>>,
    reads: FileReads,
    /// Whether reading the files took too long, or they kept changing, so that they have to be read even if they are the
    /// same as before.
    is_due: Arc<AtomicBool>,
    tenants: LiveTenants,
}

/// What requests a reload from [`Reloader::run`], and its receiver.
pub(in crate::cli) fn requests() -> (ReloadTenants, mpsc::Receiver<Wanted>) {
    let (sender, wanted) = mpsc::channel(WAITING);
    let request = move || {
        let sender = sender.clone();
        async move {
            let (report, reported) = oneshot::channel();
            let sent = sender.send(report).await.is_ok();
            let ending = || ReloadReport::failed(vec!["the process is shutting down".to_owned()]);
            if sent { reported.await.unwrap_or_else(|_| ending()) } else { ending() }
        }
        .boxed()
    };
    (Arc::new(request), wanted)
}

impl Reloader {
    pub(in crate::cli) fn new(source: TenantsSource, tenants: LiveTenants) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
            reads: FileReads::default(),
            is_due: Arc::default(),
            tenants,
        }
    }

    /// Reloads the tenants on SIGHUP, when they are `wanted`, and if their files have changed when they are checked, once an
    /// `interval`; `None`: never. Does not end.
    pub(in crate::cli) async fn run(
        self,
        mut hangups: Hangups,
        mut wanted: mpsc::Receiver<Wanted>,
        interval: Option<Duration>,
    ) {
        let mut checks = Checks::every(interval);
        loop {
            tokio::select! {
                () = hangups.next() => drop(self.reload(Duration::ZERO).await),
                Some(first) = wanted.recv() => self.reload_for(first, &mut wanted).await,
                () = checks.next() => self.check().await,
            }
        }
    }

    /// Reloads the tenants once for `first` and for all others that wait. Those that come later wait for the next reload,
    /// because the files may have changed since this one read them.
    async fn reload_for(&self, first: Wanted, wanted: &mut mpsc::Receiver<Wanted>) {
        let mut waiting = vec![first];
        while let Ok(next) = wanted.try_recv() {
            waiting.push(next);
        }
        let report = self.reload(Duration::ZERO).await;
        for one in waiting {
            // Its caller may have gone.
            let _ = one.send(report.clone());
        }
    }

    /// Reloads the tenants if their files have changed, or could not be read in time.
    async fn check(&self) {
        let Some(has_changed) = self.on_source(|source, _| source.has_changed()).await else { return };
        if has_changed || self.is_due.swap(false, Relaxed) {
            drop(self.reload(SETTLE).await);
        }
    }

    /// Reads the files, and replaces the tenants of those that stay the same for `settle`.
    async fn reload(&self, settle: Duration) -> ReloadReport {
        let mut report = ReloadReport::failed(vec!["the folder of tenants files keeps changing".to_owned()]);
        for attempt in 1..=ATTEMPTS {
            let Some(reading) =
                self.on_source(|source, tenants| source.read(|name| tenants.settings(name))).await
            else {
                return self.unreadable(report);
            };
            sleep(settle).await;
            let accept = move |source: &mut TenantsSource, tenants: &LiveTenants| {
                let accepted = source.accept(reading, |name| tenants.settings(name))?;
                Some(accepted.map_or_else(
                    |problems| failed(tenants, &problems),
                    |reloaded| replace(tenants, reloaded),
                ))
            };
            match self.on_source(accept).await {
                None => return self.unreadable(report),
                // The set of files has changed.
                Some(None) => {}
                Some(Some(done)) if done.changing > 0 && attempt < ATTEMPTS => report = merged(report, done),
                Some(Some(done)) => return merged(report, done),
            }
        }
        tracing::warn!("the folder of tenants files keeps changing: it is read again later");
        self.is_due.store(true, Relaxed);
        self.tenants.reload_failed();
        ReloadReport { invalid: self.tenants.invalid(), ..report }
    }

    /// The report of a reload whose last attempt could not read the files. Earlier attempts may have changed something.
    fn unreadable(&self, earlier: ReloadReport) -> ReloadReport {
        let text = "the tenants files could not be read: see the log";
        let failed = ReloadReport::failed(vec![text.to_owned()]);
        merged(earlier, ReloadReport { invalid: self.tenants.invalid(), ..failed })
    }

    /// Runs work that reads files on a thread for blocking work. `None` if it does not end in time, or if the process is
    /// shutting down.
    async fn on_source<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut TenantsSource, &LiveTenants) -> T + Send + 'static,
    ) -> Option<T> {
        let this = self.clone();
        let read = self.reads.run(move || {
            work(&mut this.source.lock().unwrap_or_else(PoisonError::into_inner), &this.tenants)
        });
        match read.await {
            Ok(done) => Some(done),
            Err(ReadError::Hangs) => {
                self.hangs();
                None
            }
            Err(ReadError::Panicked) => {
                tracing::error!("the reload of the tenants failed unexpectedly");
                self.tenants.reload_failed();
                None
            }
            Err(ReadError::ShuttingDown) => None,
        }
    }

    fn hangs(&self) {
        tracing::error!(
            "the tenants cannot be reloaded, because reading their files takes more than a minute"
        );
        self.is_due.store(true, Relaxed);
        self.tenants.reload_failed();
    }
}

/// The report of a reload that took several attempts.
fn merged(earlier: ReloadReport, later: ReloadReport) -> ReloadReport {
    let changes = match (earlier.changes, later.changes) {
        (Some(first), Some(second)) => Some(first.then(second)),
        (first, second) => second.or(first),
    };
    ReloadReport { changes, ..later }
}

fn replace(tenants: &LiveTenants, reloaded: Reloaded) -> ReloadReport {
    let Reloaded { tenants: new, stale, rejected, unusable, reasons, changing, problems, warnings } =
        reloaded;
    for warning in warnings.iter().take(LOGGED) {
        tracing::warn!(%warning, "a setting is valid, but probably a mistake");
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
    let changes = tenants.replace(new, Invalid { rejected, stale, unusable, reasons, ..Invalid::default() });
    let invalid = tenants.invalid();
    ReloadReport { changes: Some(changes), invalid, changing, problems: texts(&problems) }
}

fn failed(tenants: &LiveTenants, problems: &Problems) -> ReloadReport {
    log(problems);
    tracing::error!("the tenants could not be reloaded, so the current ones stay in use");
    tenants.reload_failed();
    ReloadReport { invalid: tenants.invalid(), ..ReloadReport::failed(texts(problems)) }
}

fn texts(problems: &Problems) -> Vec<String> {
    problems.iter().take(LOGGED).map(ToString::to_string).collect()
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        path::Path,
        sync::{atomic::AtomicUsize, mpsc},
        thread,
    };

    use super::*;
    use crate::{cli::reload::file_reads::LONGEST_READ, config, server::Server, tenants::Changes};

    /// A reloader of a server with one tenant, and the server.
    async fn reloader() -> (Reloader, Server, tempfile::NamedTempFile) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let tenant = "tenants: {a: {stores: {s: {bucket: abc, credential_provider: {type: anonymous}}}}}";
        file.write_all(tenant.as_bytes()).unwrap();
        let (reloader, server) = reloader_of(file.path()).await;
        (reloader, server, file)
    }

    async fn reloader_of(path: &Path) -> (Reloader, Server) {
        let variables = [("LONGSHORE_TENANTS_FILE".into(), path.into())];
        let mut loaded = config::load(variables).unwrap();
        for address in [&mut loaded.settings.server.listen_addr, &mut loaded.settings.server.health_addr] {
            address.set_port(0);
        }
        let server = Server::bind(loaded.settings.server).await.unwrap();
        (Reloader::new(loaded.source.unwrap(), server.tenants()), server)
    }

    /// How many reloads had this outcome.
    fn reloads(server: &Server, outcome: &str) -> Option<String> {
        let text = server.metrics().render();
        let start = format!("longshore_reloads_total{{outcome=\"{outcome}\"");
        let line = text.lines().find(|line| line.starts_with(&start))?;
        Some(line.rsplit_once(' ').unwrap().1.to_owned())
    }

    #[tokio::test]
    async fn a_reload_that_cannot_read_the_files_in_its_last_attempt_reports_earlier_changes() {
        let (reloader, server, _file) = reloader().await;
        let changes = Changes { changed: vec!["a".to_owned()], ..Changes::default() };
        let earlier = ReloadReport { changes: Some(changes.clone()), ..ReloadReport::default() };
        reloader.hangs();
        let report = reloader.unreadable(earlier);
        assert_eq!((report.changes, report.invalid.served), (Some(changes), 1));
        assert!(report.invalid.reload_failed && report.problems[0].contains("could not be read"));
        assert_eq!(reloads(&server, "failed").as_deref(), Some("1"));
    }

    #[tokio::test]
    async fn files_that_keep_changing_are_a_failed_reload_and_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let tenant = format!(
                "tenants: {{{name}: {{stores: {{s: {{bucket: abc, credential_provider: {{type: anonymous}}}}}}}}}}"
            );
            fs::write(folder.path().join(format!("{name}.yaml")), tenant).unwrap();
        };
        write("a");
        let (reloader, server) = reloader_of(folder.path()).await;
        let tick = AtomicUsize::new(0);
        // The set of files changes during each attempt.
        let settle = Duration::from_millis(200);
        let changing = async {
            loop {
                write(&format!("b{}", tick.fetch_add(1, Relaxed)));
                sleep(settle / 8).await;
            }
        };
        let report = tokio::select! {
            report = reloader.reload(settle) => report,
            () = changing => unreachable!(),
        };
        assert!(report.changes.is_none() && report.invalid.reload_failed);
        assert_eq!((report.invalid.served, reloads(&server, "failed").as_deref()), (1, Some("1")));
        reloader.check().await;
        assert_eq!(reloads(&server, "ok").as_deref(), Some("1"));
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_could_not_be_read_in_time_are_read_again_although_they_have_not_changed() {
        let (reloader, server, _file) = reloader().await;
        reloader.check().await;
        assert_eq!((reloads(&server, "ok"), reloads(&server, "failed")), (None, None));

        // A thread that reads them hangs.
        let source = Arc::clone(&reloader.source);
        let ((locked, is_locked), (release, is_released)) = (mpsc::channel(), mpsc::channel());
        let hanging = thread::spawn(move || {
            let _source = source.lock().unwrap();
            locked.send(()).unwrap();
            is_released.recv().unwrap();
        });
        is_locked.recv().unwrap();
        tokio::join!(reloader.check(), tokio::time::advance(LONGEST_READ + Duration::from_secs(1)));
        reloader.check().await;
        assert_eq!(reloads(&server, "failed").as_deref(), Some("2"), "no second thread waits");

        release.send(()).unwrap();
        hanging.join().unwrap();
        while reloads(&server, "ok").is_none() {
            reloader.check().await;
        }
        assert_eq!(reloads(&server, "ok").as_deref(), Some("1"));
        reloader.check().await;
        assert_eq!(reloads(&server, "ok").as_deref(), Some("1"), "once");
    }
}
