//! Keeps credentials until they have to be replaced, with one request to their source at a time.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

use super::{Credentials, CredentialsError};
use crate::tasks::Tasks;

/// How long before they expire credentials are replaced in the background. Botocore's default for a refresh that is
/// advisory.
const REPLACE_EARLY: Duration = Duration::from_mins(15);

/// How long before they expire calls wait for new credentials. Botocore's default for a refresh that is mandatory.
const REPLACE_AT_ONCE: Duration = Duration::from_mins(10);

/// Credentials that are valid for a shorter time are replaced when these parts of it are left: for one hour, the parts
/// are the times above.
const EARLY_PART: u32 = 4;
const AT_ONCE_PART: u32 = 6;

/// After a failure, how long the source is left alone while the credentials are still valid.
const PAUSE: Duration = Duration::from_secs(10);

/// After a failure, how long calls that have no valid credentials get the same error. Shorter than [`PAUSE`], because
/// these calls fail.
const PAUSE_WITHOUT: Duration = Duration::from_secs(1);

/// A source of credentials.
pub(super) trait Source: fmt::Debug + Send + Sync {
    /// Requests credentials. The cache makes one request at a time.
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>>;

    /// Whether a later request may return other credentials.
    fn can_change(&self) -> bool {
        true
    }
}

type Found = Result<Arc<Credentials>, CredentialsError>;

/// The credentials of one source. Cheap to clone; clones share the credentials.
#[derive(Debug, Clone)]
pub(super) struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    tasks: Tasks,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Current>,
    /// The request to the source that is in progress.
    request: Option<Shared<BoxFuture<'static, Found>>>,
    /// The last failure of the source, until it succeeds again.
    failed: Option<(Instant, CredentialsError)>,
}

#[derive(Debug, Clone)]
struct Current {
    credentials: Arc<Credentials>,
    loaded: SystemTime,
    /// Whether S3 has rejected them.
    rejected: bool,
}

/// What a call does with the current credentials.
#[derive(Debug, PartialEq, Eq)]
enum Use {
    /// Uses them.
    AsTheyAre,
    /// Uses them, while they are replaced in the background.
    WhileReplacing,
    /// Waits for new ones, and uses them if that fails.
    IfNoOthers,
    /// Waits for new ones.
    Never,
}

impl Current {
    fn usage(&self, now: SystemTime) -> Use {
        if self.rejected {
            return Use::Never;
        }
        let Some(expires_at) = self.credentials.expires_at() else { return Use::AsTheyAre };
        let lifetime = expires_at.duration_since(self.loaded).unwrap_or_default();
        match expires_at.duration_since(now) {
            Err(_) | Ok(Duration::ZERO) => Use::Never,
            Ok(left) if left <= REPLACE_AT_ONCE.min(lifetime / AT_ONCE_PART) => Use::IfNoOthers,
            Ok(left) if left <= REPLACE_EARLY.min(lifetime / EARLY_PART) => Use::WhileReplacing,
            Ok(_) => Use::AsTheyAre,
        }
    }
}

impl Cache {
    /// A source that has its credentials at hand is asked now, and others when a call needs credentials.
    pub(super) fn new(source: Arc<dyn Source>, tasks: Tasks) -> Self {
        let mut state = State::default();
        if let Some(Ok(credentials)) = source.load().now_or_never() {
            state.replace(Arc::new(credentials));
        }
        Self(Arc::new(Inner { source, tasks, state: Mutex::new(state) }))
    }

    /// The credentials to use now.
    pub(super) async fn credentials(&self) -> Found {
        let (request, old) = {
            let mut state = self.state();
            let current = state.current.clone();
            let usage = current.as_ref().map_or(Use::Never, |current| current.usage(SystemTime::now()));
            let old = current.filter(|_| usage != Use::Never).map(|current| current.credentials);
            let paused = state.paused(if old.is_some() { PAUSE } else { PAUSE_WITHOUT });
            match (usage, old) {
                (Use::AsTheyAre, Some(old)) => return Ok(old),
                (Use::WhileReplacing, Some(old)) => {
                    if paused.is_none() {
                        drop(self.request(&mut state));
                    }
                    return Ok(old);
                }
                (_, old) => match (paused, old) {
                    (Some(_), Some(old)) => return Ok(old),
                    (Some(error), None) => return Err(error),
                    (None, old) => (self.request(&mut state), old),
                },
            }
        };
        match (request.await, old) {
            (Err(_), Some(old)) => Ok(old),
            (found, _) => found,
        }
    }

    /// See [`super::CredentialProvider::rejected`].
    pub(super) fn rejected(&self, credentials: &Credentials) -> bool {
        if !self.0.source.can_change() {
            return false;
        }
        let mut state = self.state();
        if let Some(current) = &mut state.current
            && *current.credentials == *credentials
        {
            current.rejected = true;
        }
        true
    }

    /// The request in progress, or a new one. It runs in a task, so that it does not end with the call that needs it.
    fn request(&self, state: &mut State) -> Shared<BoxFuture<'static, Found>> {
        let cache = self.clone();
        let start = || {
            let task = self.0.tasks.spawn(async move {
                let found = cache.0.source.load().await.map(Arc::new);
                cache.state().finish(&found);
                found
            });
            let ended = "the request for credentials was ended by the shutdown";
            task.map(move |joined| joined.unwrap_or_else(|_| Err(CredentialsError::new(ended))))
                .boxed()
                .shared()
        };
        state.request.get_or_insert_with(start).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn replace(&mut self, credentials: Arc<Credentials>) {
        self.current = Some(Current { credentials, loaded: SystemTime::now(), rejected: false });
        self.failed = None;
    }

    fn finish(&mut self, found: &Found) {
        self.request = None;
        match found {
            Ok(credentials) => self.replace(Arc::clone(credentials)),
            Err(error) => {
                tracing::warn!(%error, "no credentials could be obtained");
                self.failed = Some((Instant::now(), error.clone()));
            }
        }
    }

    /// The last failure, if it is more recent than `pause`.
    fn paused(&self, pause: Duration) -> Option<CredentialsError> {
        let (at, error) = self.failed.as_ref()?;
        (at.elapsed() < pause).then(|| error.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use tokio::sync::Notify;

    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    /// Returns credentials that are numbered and expire `lifetime` after they were requested, when it is told to.
    #[derive(Debug)]
    struct Scripted {
        requests: AtomicU32,
        lifetime: Duration,
        fails: std::sync::atomic::AtomicBool,
        answer: Notify,
    }

    impl Source for Scripted {
        fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
            async {
                let number = self.requests.fetch_add(1, SeqCst);
                self.answer.notified().await;
                if self.fails.load(SeqCst) {
                    return Err(CredentialsError::new(format!("failure {number}")));
                }
                let expires_at = SystemTime::now() + self.lifetime;
                Ok(Credentials::new(format!("AKID{number}"), "secret", None).expiring(expires_at))
            }
            .boxed()
        }
    }

    fn scripted(lifetime: Duration) -> (Arc<Scripted>, Cache) {
        let source = Arc::new(Scripted {
            requests: AtomicU32::new(0),
            lifetime,
            fails: false.into(),
            answer: Notify::new(),
        });
        let cache = Cache::new(source.clone(), Tasks::default());
        // `Cache::new` has asked once, without waiting for the answer.
        source.requests.store(0, SeqCst);
        (source, cache)
    }

    fn key(found: &Found) -> &str {
        found.as_ref().unwrap().access_key_id()
    }

    /// Lets the tasks that are ready run.
    async fn settle() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn credentials_are_replaced_well_before_they_expire() {
        let loaded = SystemTime::UNIX_EPOCH + HOUR;
        let usage = |lifetime: Duration, left: Duration| {
            let expires_at = loaded + lifetime;
            let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(expires_at));
            Current { credentials, loaded, rejected: false }.usage(expires_at - left)
        };
        let minutes = Duration::from_mins;
        for (left, expected) in [
            (minutes(16), Use::AsTheyAre),
            (minutes(14), Use::WhileReplacing),
            (minutes(9), Use::IfNoOthers),
            (minutes(0), Use::Never),
        ] {
            assert_eq!(usage(HOUR, left), expected, "{left:?}");
            assert_eq!(usage(12 * HOUR, left), expected, "{left:?}");
        }
        // A quarter and a sixth of twelve minutes.
        assert_eq!(usage(minutes(12), minutes(4)), Use::AsTheyAre);
        assert_eq!(usage(minutes(12), Duration::from_secs(170)), Use::WhileReplacing);
        assert_eq!(usage(minutes(12), Duration::from_secs(110)), Use::IfNoOthers);
        let forever = Current {
            credentials: Arc::new(Credentials::new("AKID", "secret", None)),
            loaded,
            rejected: false,
        };
        assert_eq!(forever.usage(loaded + 1_000 * HOUR), Use::AsTheyAre);
    }

    #[tokio::test]
    async fn concurrent_calls_share_one_request_and_it_survives_the_call_that_began_it() {
        let (source, cache) = scripted(HOUR);
        let mut first = Box::pin(cache.credentials());
        assert!(first.as_mut().now_or_never().is_none());
        let others = futures::future::join_all((0..3).map(|_| cache.credentials()));
        drop(first);
        settle().await;
        source.answer.notify_one();
        assert!(others.await.iter().all(|found| key(found) == "AKID0"));
        assert_eq!(key(&cache.credentials().await), "AKID0");
        assert_eq!(source.requests.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn aging_credentials_are_used_while_they_are_replaced() {
        let (source, cache) = scripted(HOUR);
        source.answer.notify_one();
        assert_eq!(key(&cache.credentials().await), "AKID0");
        let aged = SystemTime::now() - Duration::from_mins(46);
        let old = Arc::new(
            Credentials::new("OLD", "secret", None).expiring(SystemTime::now() + Duration::from_mins(14)),
        );
        cache.state().current = Some(Current { credentials: old, loaded: aged, rejected: false });
        assert_eq!(key(&cache.credentials().await), "OLD");
        settle().await;
        assert_eq!(key(&cache.credentials().await), "OLD");
        assert_eq!(source.requests.load(SeqCst), 2);
        source.answer.notify_one();
        settle().await;
        assert_eq!(key(&cache.credentials().await), "AKID1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_leaves_valid_credentials_in_use_and_pauses_the_source() {
        let (source, cache) = scripted(HOUR);
        source.fails.store(true, SeqCst);
        let expires_at = SystemTime::now() + Duration::from_mins(5);
        let old = Arc::new(Credentials::new("OLD", "secret", None).expiring(expires_at));
        let loaded = expires_at - HOUR;
        cache.state().current = Some(Current { credentials: old, loaded, rejected: false });
        source.answer.notify_one();
        for _ in 0..5 {
            assert_eq!(key(&cache.credentials().await), "OLD");
        }
        assert_eq!(source.requests.load(SeqCst), 1);
        tokio::time::advance(PAUSE).await;
        source.fails.store(false, SeqCst);
        source.answer.notify_one();
        assert_eq!(key(&cache.credentials().await), "AKID1");
    }

    #[tokio::test(start_paused = true)]
    async fn without_credentials_the_error_of_the_source_is_returned_and_soon_asked_again() {
        let (source, cache) = scripted(HOUR);
        source.fails.store(true, SeqCst);
        source.answer.notify_one();
        for _ in 0..3 {
            assert_eq!(cache.credentials().await.unwrap_err().to_string(), "failure 0");
        }
        tokio::time::advance(PAUSE_WITHOUT).await;
        source.answer.notify_one();
        assert_eq!(cache.credentials().await.unwrap_err().to_string(), "failure 1");
    }

    #[tokio::test]
    async fn rejected_credentials_are_replaced_once() {
        let (source, cache) = scripted(HOUR);
        source.answer.notify_one();
        let first = cache.credentials().await.unwrap();
        assert!(cache.rejected(&first));
        source.answer.notify_one();
        assert_eq!(key(&cache.credentials().await), "AKID1");
        // A late report about the credentials that have been replaced changes nothing.
        assert!(cache.rejected(&first));
        assert_eq!(key(&cache.credentials().await), "AKID1");
        assert_eq!(source.requests.load(SeqCst), 2);
    }
}
