//! Keeps credentials until they have to be replaced, with one request to their source at a time.

use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::{Instant, sleep, timeout};

use super::{Credentials, CredentialsError};
use crate::tasks::Tasks;

/// Credentials are replaced in the background this long before they expire, as botocore does (its advisory refresh).
const REPLACE_EARLY: Duration = Duration::from_mins(15);

/// Calls wait for new credentials from this long before they expire, as in botocore (its mandatory refresh).
const REPLACE_AT_ONCE: Duration = Duration::from_mins(10);

/// Credentials with a lifetime of less than an hour are replaced in the background when a quarter of it is left.
const EARLY_DIVISOR: u32 = 4;

/// Calls wait for the replacement of such credentials when a sixth of their lifetime is left.
const AT_ONCE_DIVISOR: u32 = 6;

/// How long a source may take to answer.
const LONGEST_REQUEST: Duration = Duration::from_secs(30);

/// How long a call waits for new credentials while it could still use the old ones.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// After a failure, how long the source is not asked again while the credentials can still be used.
const PAUSE: Duration = Duration::from_secs(10);

/// The pause is at most this fraction of the credentials' lifetime.
const PAUSE_DIVISOR: u32 = 30;

/// How long calls keep waiting for a source that has worked before, counted from its first failure while no usable
/// credentials were left.
const LONGEST_OUTAGE: Duration = Duration::from_secs(10);

/// After a failure, how long calls get the same error if there are no credentials. Shorter than [`PAUSE`], because
/// these calls fail.
const PAUSE_WITHOUT_CREDENTIALS: Duration = Duration::from_secs(1);

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

#[derive(Debug)]
struct Inner {
    source: Arc<dyn Source>,
    /// The source's answer, if it is always the same.
    fixed: Option<Found>,
    /// The bucket, for the log.
    bucket: String,
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
    /// When the source first failed while there were no credentials to use.
    failing_since: Option<Instant>,
    /// The last failure that was logged, and when.
    reported: Option<(Instant, CredentialsError)>,
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
    /// Waits for new ones. If they do not arrive in time, uses these.
    IfNoOthers,
    /// Waits for new ones.
    Never,
}

impl Current {
    fn usage(&self, now: SystemTime) -> Use {
        match self.usage_until_expiry(now) {
            Use::AsTheyAre if self.is_to_be_checked(now) => Use::WhileReplacing,
            usage => usage,
        }
    }

    /// How long the source is not asked again after a failure, while these credentials can still be used.
    fn pause(&self) -> Duration {
        let expires_at = self.credentials.expires_at();
        let lifetime = expires_at.and_then(|expires_at| expires_at.duration_since(self.loaded).ok());
        lifetime.map_or(PAUSE, |lifetime| PAUSE.min(lifetime / PAUSE_DIVISOR).max(PAUSE_WITHOUT_CREDENTIALS))
    }

    /// Whether the source has to be asked for changes. A clock that has been set back does not delay that.
    fn is_to_be_checked(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.loaded);
        self.credentials.check_after().is_some_and(|after| age.map_or(true, |age| age >= after))
    }

    fn usage_until_expiry(&self, now: SystemTime) -> Use {
        let Some(expires_at) = self.credentials.expires_at() else {
            return if self.rejected { Use::IfNoOthers } else { Use::AsTheyAre };
        };
        let lifetime = expires_at.duration_since(self.loaded).unwrap_or_default();
        match expires_at.duration_since(now) {
            Err(_) | Ok(Duration::ZERO) => Use::Never,
            Ok(_) if self.rejected => Use::IfNoOthers,
            Ok(left) if left <= REPLACE_AT_ONCE.min(lifetime / AT_ONCE_DIVISOR) => Use::IfNoOthers,
            Ok(left) if left <= REPLACE_EARLY.min(lifetime / EARLY_DIVISOR) => Use::WhileReplacing,
            Ok(_) => Use::AsTheyAre,
        }
    }
}

impl Cache {
    pub(super) fn new(source: Arc<dyn Source>, bucket: String, tasks: Tasks) -> Self {
        let fixed = source.fixed().map(|found| found.map(Arc::new));
        Self(Arc::new(Inner { source, fixed, bucket, tasks, state: Mutex::default() }))
    }

    /// The credentials to use now.
    pub(super) async fn credentials(&self) -> Found {
        if let Some(fixed) = &self.0.fixed {
            return fixed.clone();
        }
        loop {
            match self.current_or_new().await {
                // A source that has just worked will probably work again soon.
                Err(_) if self.state().is_short_outage() => sleep(PAUSE_WITHOUT_CREDENTIALS).await,
                found => return found,
            }
        }
    }

    async fn current_or_new(&self) -> Found {
        let (request, old) = {
            let mut state = self.state();
            let current = state.current.clone();
            let usage = current.as_ref().map_or(Use::Never, |current| current.usage(SystemTime::now()));
            let old = current.filter(|_| usage != Use::Never);
            let paused = state.paused(old.as_ref().map_or(PAUSE_WITHOUT_CREDENTIALS, Current::pause));
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
        match old {
            None => request.await,
            Some(old) => match timeout(LONGEST_WAIT, request).await {
                Ok(Ok(new)) => Ok(new),
                Ok(Err(_)) | Err(_) => Ok(old),
            },
        }
    }

    /// See [`super::CredentialProvider::report_rejected`].
    pub(super) fn report_rejected(&self, credentials: &Arc<Credentials>) -> bool {
        if self.0.fixed.is_some() {
            return false;
        }
        let mut state = self.state();
        if let Some(current) = &mut state.current
            && Arc::ptr_eq(&current.credentials, credentials)
        {
            current.rejected = true;
            // If the last request to the source has just failed, repeating the request to S3 is pointless.
            let pause = current.pause();
            return state.paused(pause).is_none();
        }
        true
    }

    /// The request in progress, or a new one. It runs in a task, so that it does not end with the call that needs it.
    fn request(&self, state: &mut State) -> Shared<BoxFuture<'static, Found>> {
        let cache = self.clone();
        let start = || {
            let request = async move {
                let answer = timeout(LONGEST_REQUEST, AssertUnwindSafe(cache.0.source.load()).catch_unwind());
                let found = match answer.await {
                    Ok(Ok(found)) => found,
                    Ok(Err(_)) => Err(CredentialsError::new("the credential provider failed unexpectedly")),
                    Err(_) => {
                        Err(CredentialsError::new("the credential provider did not answer within 30 s"))
                    }
                };
                let found = cache.state().finish(found);
                if let Err(error) = &found {
                    cache.report(error);
                }
                found
            };
            // The request is for every call, so it does not belong to the span of the one that started it.
            let task = tracing::Span::none().in_scope(|| self.0.tasks.spawn(request));
            let ended = "the process is shutting down";
            task.map(move |joined| joined.unwrap_or_else(|_| Err(CredentialsError::new(ended))))
                .boxed()
                .shared()
        };
        state.request.get_or_insert_with(start).clone()
    }

    /// Logs a failure of the source: the first one, and then one a minute, unless the reason changes.
    fn report(&self, error: &CredentialsError) {
        let mut state = self.state();
        let is_new = state
            .reported
            .as_ref()
            .is_none_or(|(at, reported)| at.elapsed() >= REPORT_AGAIN || reported != error);
        if is_new {
            state.reported = Some((Instant::now(), error.clone()));
            let keeps_old =
                state.current.as_ref().is_some_and(|current| current.usage(SystemTime::now()) != Use::Never);
            drop(state);
            let bucket = &self.0.bucket;
            if keeps_old {
                tracing::warn!(bucket, %error, "no new credentials could be obtained, so the old ones stay in use");
            } else {
                tracing::warn!(bucket, %error, "no credentials could be obtained");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether a source that has worked before has failed for a short time only.
    fn is_short_outage(&self) -> bool {
        self.current.is_some() && self.failing_since.is_some_and(|since| since.elapsed() < LONGEST_OUTAGE)
    }

    /// Takes the source's answer. Credentials that cannot be used count as a failure, so that the source is not asked
    /// again at once.
    fn finish(&mut self, found: Result<Credentials, CredentialsError>) -> Found {
        self.request = None;
        let found = found.and_then(|credentials| self.usable(credentials));
        match &found {
            Ok(credentials) => {
                let credentials = Arc::clone(credentials);
                self.current = Some(Current { credentials, loaded: SystemTime::now(), rejected: false });
                (self.failed, self.failing_since, self.reported) = (None, None, None);
            }
            Err(error) => {
                self.failed = Some((Instant::now(), error.clone()));
                // While the old credentials can be used, calls do not notice.
                let is_noticed = self
                    .current
                    .as_ref()
                    .is_none_or(|current| current.usage(SystemTime::now()) == Use::Never);
                if is_noticed {
                    self.failing_since.get_or_insert_with(Instant::now);
                }
            }
        }
        found
    }

    fn usable(&self, credentials: Credentials) -> Found {
        if credentials.expires_at().is_some_and(|expires_at| expires_at <= SystemTime::now()) {
            let text = "the credential provider returned credentials that have expired: check the clock of this host";
            return Err(CredentialsError::new(text));
        }
        match self.current.as_ref().filter(|current| *current.credentials == credentials) {
            Some(current) if current.rejected => {
                let text = "the credential provider returned the credentials that S3 has rejected";
                Err(CredentialsError::new(text))
            }
            // The same `Arc`, by which `report_rejected` recognises the current credentials.
            Some(current) => Ok(Arc::clone(&current.credentials)),
            None => Ok(Arc::new(credentials)),
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

    /// How a scripted source answers a request for credentials.
    #[derive(Debug, Clone, Copy)]
    enum Answer {
        /// Returns credentials with the number of the request.
        Numbered,
        /// Returns the same credentials each time.
        Same,
        /// Returns credentials that have expired.
        Expired,
        Fails,
        Panics,
    }

    /// Answers each request as the test says with `answers`.
    #[derive(Debug)]
    struct Scripted {
        requests: AtomicU32,
        answer: Mutex<Answer>,
        told: Notify,
    }

    impl Source for Scripted {
        fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
            async {
                let number = self.requests.fetch_add(1, SeqCst);
                self.told.notified().await;
                let expiring = |name: String| {
                    Ok(Credentials::new(name, "secret", None).expiring(SystemTime::now() + HOUR))
                };
                let answer = *self.answer.lock().unwrap();
                match answer {
                    Answer::Numbered => expiring(format!("AKID{number}")),
                    Answer::Same => Ok(Credentials::new("SAME", "secret", None)),
                    Answer::Expired => {
                        Ok(Credentials::new("OLD", "secret", None).expiring(SystemTime::UNIX_EPOCH))
                    }
                    Answer::Fails => Err(CredentialsError::new(format!("failure {number}"))),
                    Answer::Panics => panic!("a defect of the source"),
                }
            }
            .boxed()
        }
    }

    impl Scripted {
        fn answers(&self, answer: Answer) {
            *self.answer.lock().unwrap() = answer;
            self.told.notify_one();
        }
    }

    fn scripted() -> (Arc<Scripted>, Cache) {
        let source = Arc::new(Scripted {
            requests: AtomicU32::new(0),
            answer: Mutex::new(Answer::Numbered),
            told: Notify::new(),
        });
        (source.clone(), Cache::new(source, "bucket".to_owned(), Tasks::default()))
    }

    /// Sets the current credentials to ones that have a lifetime of one hour and expire in `left`.
    fn aged(cache: &Cache, left: Duration) {
        let expires_at = SystemTime::now() + left;
        let credentials = Arc::new(Credentials::new("OLD", "secret", None).expiring(expires_at));
        cache.state().current = Some(Current { credentials, loaded: expires_at - HOUR, rejected: false });
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
        let credentials = Arc::new(Credentials::new("AKID", "secret", None));
        let forever = Current { credentials, loaded, rejected: false };
        assert_eq!(forever.usage(loaded + 1_000 * HOUR), Use::AsTheyAre);
    }

    #[test]
    fn a_source_that_may_change_is_asked_again() {
        let loaded = SystemTime::UNIX_EPOCH + HOUR;
        let credentials = Credentials::new("AKID", "secret", None).checked_after(Duration::from_secs(5));
        let current = |credentials| Current { credentials: Arc::new(credentials), loaded, rejected: false };
        let usage = |at: SystemTime| current(credentials.clone()).usage(at);
        assert_eq!(usage(loaded + Duration::from_secs(4)), Use::AsTheyAre);
        assert_eq!(usage(loaded + Duration::from_secs(5)), Use::WhileReplacing);
        assert_eq!(usage(loaded - HOUR), Use::WhileReplacing);
        let expired = current(credentials.expiring(loaded + HOUR));
        assert_eq!(expired.usage(loaded + HOUR), Use::Never);
    }

    #[tokio::test]
    async fn concurrent_calls_share_one_request_and_it_survives_the_call_that_began_it() {
        let (source, cache) = scripted();
        let mut first = Box::pin(cache.credentials());
        assert!(first.as_mut().now_or_never().is_none());
        let others = futures::future::join_all((0..3).map(|_| cache.credentials()));
        drop(first);
        settle().await;
        source.answers(Answer::Numbered);
        assert!(others.await.iter().all(|found| key(found) == "AKID0"));
        assert_eq!(key(&cache.credentials().await), "AKID0");
        assert_eq!(source.requests.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn aging_credentials_are_used_while_they_are_replaced() {
        let (source, cache) = scripted();
        aged(&cache, Duration::from_mins(14));
        for _ in 0..3 {
            assert_eq!(key(&cache.credentials().await), "OLD");
            settle().await;
        }
        assert_eq!(source.requests.load(SeqCst), 1);
        source.answers(Answer::Numbered);
        settle().await;
        assert_eq!(key(&cache.credentials().await), "AKID0");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_leaves_valid_credentials_in_use_and_pauses_the_source() {
        let (source, cache) = scripted();
        aged(&cache, Duration::from_mins(5));
        source.answers(Answer::Fails);
        for _ in 0..5 {
            assert_eq!(key(&cache.credentials().await), "OLD");
        }
        assert_eq!(source.requests.load(SeqCst), 1);
        tokio::time::advance(PAUSE).await;
        source.answers(Answer::Numbered);
        assert_eq!(key(&cache.credentials().await), "AKID1");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_hangs_delays_calls_for_seconds_and_is_given_up() {
        let (source, cache) = scripted();
        aged(&cache, Duration::from_mins(5));
        let began = Instant::now();
        assert_eq!(key(&cache.credentials().await), "OLD");
        assert_eq!(began.elapsed(), LONGEST_WAIT);
        cache.state().current = None;
        let error = cache.credentials().await.unwrap_err().to_string();
        assert!(error.contains("did not answer within 30 s"), "{error}");
        assert_eq!((began.elapsed(), source.requests.load(SeqCst)), (LONGEST_REQUEST, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn without_credentials_the_error_of_the_source_is_returned_and_the_source_is_soon_asked_again() {
        let (source, cache) = scripted();
        source.answers(Answer::Fails);
        for _ in 0..3 {
            assert_eq!(cache.credentials().await.unwrap_err().to_string(), "failure 0");
        }
        tokio::time::advance(PAUSE_WITHOUT_CREDENTIALS).await;
        source.answers(Answer::Panics);
        assert!(cache.credentials().await.unwrap_err().to_string().contains("failed unexpectedly"));
        tokio::time::advance(PAUSE_WITHOUT_CREDENTIALS).await;
        source.answers(Answer::Expired);
        assert!(cache.credentials().await.unwrap_err().to_string().contains("have expired"));
        assert_eq!(source.requests.load(SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_wait_a_while_for_a_source_that_has_worked_before() {
        let (source, cache) = scripted();
        aged(&cache, Duration::ZERO);
        source.answers(Answer::Fails);
        let later = async {
            sleep(Duration::from_millis(500)).await;
            source.answers(Answer::Numbered);
        };
        let (found, ()) = tokio::join!(cache.credentials(), later);
        assert_eq!(key(&found), "AKID1");
        aged(&cache, Duration::ZERO);
        *source.answer.lock().unwrap() = Answer::Fails;
        let began = Instant::now();
        let failing = async {
            loop {
                source.told.notify_one();
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            found = cache.credentials() => assert!(found.unwrap_err().to_string().starts_with("failure")),
            () = failing => unreachable!("it does not end"),
        }
        assert!(began.elapsed() >= LONGEST_OUTAGE && began.elapsed() < 2 * LONGEST_OUTAGE);
    }

    #[test]
    fn a_source_of_short_lived_credentials_is_asked_again_sooner() {
        let loaded = SystemTime::UNIX_EPOCH + HOUR;
        let pause = |lifetime: Duration| {
            let credentials = Arc::new(Credentials::new("AKID", "secret", None).expiring(loaded + lifetime));
            Current { credentials, loaded, rejected: false }.pause()
        };
        assert_eq!(pause(Duration::from_secs(30)), Duration::from_secs(1));
        assert_eq!(pause(HOUR), PAUSE);
    }

    #[tokio::test]
    async fn rejected_credentials_are_replaced_once() {
        let (source, cache) = scripted();
        source.answers(Answer::Numbered);
        let first = cache.credentials().await.unwrap();
        assert!(cache.report_rejected(&first));
        source.answers(Answer::Numbered);
        assert_eq!(key(&cache.credentials().await), "AKID1");
        // A late report about the credentials that have been replaced changes nothing.
        assert!(cache.report_rejected(&first));
        assert_eq!(key(&cache.credentials().await), "AKID1");
        assert_eq!(source.requests.load(SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_returns_rejected_credentials_again_is_not_asked_for_a_while() {
        let (source, cache) = scripted();
        source.answers(Answer::Same);
        let same = cache.credentials().await.unwrap();
        assert!(cache.report_rejected(&same));
        source.answers(Answer::Same);
        for _ in 0..3 {
            assert_eq!(key(&cache.credentials().await), "SAME");
            assert!(!cache.report_rejected(&same), "the request is not worth repeating");
        }
        assert_eq!(source.requests.load(SeqCst), 2);
    }
}
