//! Keeps credentials until they have to be replaced, with one request to their source at a time.

mod current;
mod state;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep, timeout};

use self::{
    current::{Current, PAUSE_WITHOUT_CREDENTIALS, Use},
    state::{Request, State},
};
use super::{Credentials, CredentialsError, Origin, shown_time};
use crate::{
    tasks::Tasks,
    telemetry::{CredentialsStatus, Metrics, WatchedCredentials},
};

/// How long a source may take to answer.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// How long a call waits for new credentials while it could still use the old ones.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often the same failure is logged.
const REPORT_AGAIN: Duration = Duration::from_mins(1);

/// A source of credentials.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Requests credentials. The cache makes one request at a time, with a time limit.
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>>;

    /// What every request returns, if it is always the same. The source is then not asked.
    fn fixed(&self) -> Option<Result<Credentials, CredentialsError>> {
        None
    }
}

type Found = Result<Arc<Credentials>, CredentialsError>;

/// The credentials of one source. Cheap to clone; clones share the credentials.
#[derive(Debug, Clone)]
pub(super) struct Cache(Arc<Inner>);

/// Does not keep the credentials in memory.
#[derive(Debug)]
pub(super) struct WeakCache(Weak<Inner>);

impl WeakCache {
    pub(super) fn upgrade(&self) -> Option<Cache> {
        self.0.upgrade().map(Cache)
    }

    /// Whether a store or a request in progress uses the credentials.
    pub(super) fn is_used(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// Whose credentials a cache keeps, for the log and the metrics.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) tenant: Arc<str>,
    /// The bucket of the first store that uses the credentials.
    pub(super) bucket: String,
    /// The type of the provider, as in the settings.
    pub(super) provider: &'static str,
}

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    /// The source's answer, if it is always the same.
    fixed: Option<Found>,
    owner: Owner,
    metrics: Metrics,
    tasks: Tasks,
    state: Mutex<State>,
    /// Whether S3 has rejected the current credentials, so that a call need not lock the state to find out.
    is_rejected: AtomicBool,
}

impl Cache {
    pub(super) fn new(source: Arc<dyn Source>, owner: Owner, metrics: Metrics, tasks: Tasks) -> Self {
        let fixed = source.fixed().map(|found| found.map(Arc::new));
        let inner = Arc::new(Inner {
            source,
            fixed,
            owner,
            metrics,
            tasks,
            state: Mutex::default(),
            is_rejected: AtomicBool::new(false),
        });
        if inner.fixed.is_none() {
            let watched: Arc<dyn WatchedCredentials> = inner.clone();
            inner.metrics.watch_credentials(&watched);
        }
        Self(inner)
    }

    pub(super) fn downgrade(&self) -> WeakCache {
        WeakCache(Arc::downgrade(&self.0))
    }

    /// The credentials to use now, which are waited for at most `within` this time.
    pub(super) async fn credentials(&self, within: Option<Duration>) -> Found {
        if let Some(fixed) = &self.0.fixed {
            return fixed.clone();
        }
        let began = Instant::now();
        loop {
            let left = within.map(|within| within.saturating_sub(began.elapsed()));
            let found = self.current_or_new(left).await;
            let has_time = within.is_none_or(|within| began.elapsed() + PAUSE_WITHOUT_CREDENTIALS < within);
            match found {
                // A source that has just worked will probably work again soon.
                Err(_) if has_time && self.state().is_short_outage() => {
                    sleep(PAUSE_WITHOUT_CREDENTIALS).await;
                }
                found => return found,
            }
        }
    }

    /// Where the credentials come from that are in use.
    pub(super) fn origin(&self) -> Origin {
        let state = self.state();
        let fixed = self.0.fixed.as_ref().and_then(|found| found.as_ref().ok());
        let credentials = state.current.as_ref().map(|current| &current.credentials).or(fixed);
        Origin {
            provider: credentials.and_then(|found| found.provider()).unwrap_or(self.0.owner.provider),
            took: state.current.as_ref().map(|current| current.took),
            expires_at: credentials.and_then(|found| found.expires_at()),
        }
    }

    async fn current_or_new(&self, within: Option<Duration>) -> Found {
        let (request, old) = {
            let mut state = self.state();
            let now = SystemTime::now();
            let current = state.current.clone();
            let usage = current.as_ref().map_or(Use::Never, |current| current.usage(now));
            let old = current.filter(|_| usage != Use::Never);
            let paused = state.paused(old.as_ref(), now);
            let old = old.map(|current| current.credentials);
            match (usage, old, paused) {
                (Use::AsTheyAre, Some(old), _) | (_, Some(old), Some(_)) => return Ok(old),
                (Use::WhileReplacing, Some(old), None) => {
                    drop(self.request(&mut state));
                    return Ok(old);
                }
                (_, None, Some(error)) => return Err(error),
                (_, old, None) => (self.request(&mut state), old),
            }
        };
        let Request { began, answer } = request;
        match (old, within) {
            (None, None) => answer.await,
            (None, Some(within)) => {
                timeout(within, answer).await.unwrap_or_else(|_| Err(CredentialsError::late(within)))
            }
            (Some(old), within) => {
                // Counted from the start of the request, so that a source that hangs delays few calls.
                let longest = LONGEST_WAIT.saturating_sub(began.elapsed());
                match timeout(within.map_or(longest, |within| within.min(longest)), answer).await {
                    Ok(Ok(new)) => Ok(new),
                    Ok(Err(_)) | Err(_) => Ok(old),
                }
            }
        }
    }

    /// See [`super::CredentialProvider::report_accepted`].
    pub(super) fn report_accepted(&self, credentials: &Arc<Credentials>) {
        if self.0.is_rejected.load(Relaxed) && self.state().accept(credentials) {
            self.0.is_rejected.store(false, Relaxed);
        }
    }

    /// See [`super::CredentialProvider::report_rejected`].
    pub(super) fn report_rejected(&self, credentials: &Arc<Credentials>) -> bool {
        if self.0.fixed.is_some() {
            return false;
        }
        let mut state = self.state();
        if state.reject(credentials) {
            self.0.is_rejected.store(true, Relaxed);
            // If the last request to the source has just failed, repeating the request to S3 is pointless.
            let current = state.current.clone();
            return state.paused(current.as_ref(), SystemTime::now()).is_none();
        }
        true
    }

    /// The request in progress, or a new one. It runs in a task, so that it does not end with the call that needs it.
    fn request(&self, state: &mut State) -> Request {
        let cache = self.clone();
        let start = || {
            let request = async move { cache.load().await };
            let task = self.0.tasks.spawn_without_span(request);
            let ended = "the process is shutting down";
            let answer = task.map(move |joined| joined.unwrap_or_else(|_| Err(CredentialsError::new(ended))));
            Request { began: Instant::now(), answer: answer.boxed().shared() }
        };
        state.request.get_or_insert_with(start).clone()
    }

    /// Asks the source.
    async fn load(&self) -> Found {
        let began = Instant::now();
        let answer = timeout(LONGEST_REQUEST, AssertUnwindSafe(self.0.source.load()).catch_unwind());
        let (found, outcome) = match answer.await {
            Ok(Ok(found)) => (found, "error"),
            Ok(Err(_)) => {
                (Err(CredentialsError::new("the credential provider failed unexpectedly")), "error")
            }
            Err(_) => {
                let text = "the credential provider did not answer within 30 s";
                (Err(CredentialsError::new(text)), "timeout")
            }
        };
        let found = self.state().finish(found, began.elapsed());
        let Owner { tenant, provider, .. } = &self.0.owner;
        self.0.metrics.credentials_requested(tenant, provider, if found.is_ok() { "ok" } else { outcome });
        match &found {
            Ok(credentials) => self.report_success(credentials),
            Err(error) => self.report(error),
        }
        found
    }

    /// Logs that the source works, if a failure of it was logged.
    fn report_success(&self, credentials: &Credentials) {
        if self.state().reported.take().is_some() {
            let Owner { tenant, bucket, .. } = &self.0.owner;
            let provider = credentials.provider().unwrap_or(self.0.owner.provider);
            let expires = expiry(credentials);
            tracing::info!(%tenant, bucket, provider, expires, "credentials are available again");
        }
    }

    /// Logs a failure of the source: the first one, and then one a minute, unless the reason changes.
    fn report(&self, error: &CredentialsError) {
        let mut state = self.state();
        let is_new = state
            .reported
            .as_ref()
            .is_none_or(|(at, reported)| at.elapsed() >= REPORT_AGAIN || reported != error);
        if !is_new {
            return;
        }
        state.reported = Some((Instant::now(), error.clone()));
        let old = state.current.clone().filter(Current::is_usable);
        drop(state);
        let Owner { tenant, bucket, provider } = &self.0.owner;
        let Some(old) = old else {
            tracing::warn!(%tenant, bucket, provider, %error, "no credentials could be obtained");
            return;
        };
        let expires = expiry(&old.credentials);
        tracing::warn!(
            %tenant, bucket, provider, expires, %error,
            "no new credentials could be obtained, so the old ones stay in use"
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchedCredentials for Inner {
    fn status(&self) -> CredentialsStatus {
        let state = self.state();
        let now = SystemTime::now();
        let current = state.current.as_ref();
        let expires_at = current.and_then(|current| current.credentials.expires_at());
        CredentialsStatus {
            tenant: Arc::clone(&self.owner.tenant),
            provider: self.owner.provider,
            age: current.map(|current| now.duration_since(current.loaded).unwrap_or_default()),
            time_to_expiry: expires_at.map(|at| at.duration_since(now).unwrap_or_default()),
            is_failing: state.failed.is_some(),
        }
    }
}

/// When credentials expire, for the log.
fn expiry(credentials: &Credentials) -> Option<String> {
    Some(shown_time(credentials.expires_at()?))
}
