//! The keys at a URL: kept, read again in the background, and shared by all callers with the same settings.
//!
//! | age of the keys | a token with a known key | a token with another key |
//! | --- | --- | --- |
//! | less than [`FRESH`] | is verified | the keys are read again, unless this happened less than [`PAUSE`] ago |
//! | less than [`STALE`] | is verified, while the keys are read again in the background | as above |
//! | more | the call waits for new keys | the call waits for new keys |
//!
//! There is one request at a time. It runs in a task of its own, so it does not end with the call that began it.

use std::{
    collections::HashMap,
    fmt,
    panic::AssertUnwindSafe,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

use super::{JwksUrl, KeySet, KeysError, ServerJwt, fetch::fetch, key::Key, token::Token};
use crate::{tasks::Tasks, transport::Lookups};

/// Keys that were read this long ago are read again in the background when a call uses them.
const FRESH: Duration = Duration::from_mins(5);

/// Keys that could not be read again for this long are no longer used.
const STALE: Duration = Duration::from_hours(1);

/// The time between the beginnings of two requests that tokens with unknown keys cause, or that follow a failure.
const PAUSE: Duration = Duration::from_secs(30);

/// Without any keys, the pause after the first failure. It doubles with each further failure, up to [`PAUSE`].
const PAUSE_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// How often the same failure is logged.
const REPORT_AGAIN: Duration = Duration::from_mins(1);

/// The key sources in use. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct KeySources {
    in_use: Arc<Mutex<HashMap<Location, Vec<Weak<KeySource>>>>>,
    /// Not those that shutdown waits for: a request for keys changes nothing, and the calls that need it end first.
    tasks: Tasks,
    read: Read,
    server: Option<Arc<ServerJwt>>,
}

/// Reads keys: [`fetch`], except in tests.
pub(super) type Read = fn(Arc<JwksUrl>, Lookups) -> BoxFuture<'static, Result<KeySet, KeysError>>;

/// What most sources differ in, so that few are compared as a whole.
type Location = (String, Option<PathBuf>);

impl Default for KeySources {
    fn default() -> Self {
        Self::with(|from, lookups| async move { fetch(&from, lookups).await }.boxed())
    }
}

impl KeySources {
    /// No sources yet, whose keys `read` reads.
    pub(super) fn with(read: Read) -> Self {
        Self { in_use: Arc::default(), tasks: Tasks::default(), read, server: None }
    }

    /// The same, with the issuer whose tokens name their tenant.
    #[must_use]
    pub fn with_server(self, server: Option<ServerJwt>) -> Self {
        Self { server: server.map(Arc::new), ..self }
    }

    /// The issuer whose tokens name their tenant.
    pub(super) fn server(&self) -> Option<&ServerJwt> {
        self.server.as_deref()
    }

    /// The source with this URL, which callers with the same settings share.
    pub(super) fn source(&self, from: &Arc<JwksUrl>) -> Arc<KeySource> {
        let file = from.bearer_token_file.as_ref().map(|file| file.path().to_owned());
        // A panic while the lock is held leaves a valid map.
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let same = in_use.entry((from.url.clone(), file)).or_default();
        same.retain(|source| source.strong_count() > 0);
        if let Some(found) = same.iter().filter_map(Weak::upgrade).find(|source| source.from == *from) {
            return found;
        }
        let source = Arc::new(KeySource {
            from: Arc::clone(from),
            current: ArcSwapOption::empty(),
            state: Mutex::default(),
            lookups: Lookups::one_at_a_time(),
            tasks: self.tasks.clone(),
            read: self.read,
        });
        same.push(Arc::downgrade(&source));
        source
    }

    /// Forgets sources that no caller uses any more.
    pub(super) fn forget_unused(&self) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, same| {
            same.retain(|source| source.strong_count() > 0);
            !same.is_empty()
        });
    }
}

/// The keys at one URL.
pub(super) struct KeySource {
    from: Arc<JwksUrl>,
    current: ArcSwapOption<Current>,
    state: Mutex<State>,
    /// Outlive the requests, so that a host name that is resolved slowly blocks one thread, however often it is needed.
    lookups: Lookups,
    tasks: Tasks,
    read: Read,
}

/// Keys that have been read.
struct Current {
    set: Arc<KeySet>,
    /// Changes when the keys change.
    generation: u64,
    read: Instant,
}

#[derive(Default)]
struct State {
    /// The request in progress.
    request: Option<KeysWanted>,
    /// When the last request began.
    began: Option<Instant>,
    /// When the last request ended, if it failed, and how many have failed in a row.
    failed: Option<(Instant, u32)>,
    /// The last failure that was logged, and when.
    reported: Option<(Instant, KeysError)>,
}

/// Ends when a request for keys does.
pub type KeysWanted = Shared<BoxFuture<'static, ()>>;

/// What a source says about a token.
pub(super) enum Found {
    /// The keys, one of which fits, and their generation.
    Keys(Arc<KeySet>, u64),
    /// No key fits the token. The generation of the keys.
    Unknown(u64),
    /// The keys cannot be read, so a key may or may not fit.
    Unavailable,
    /// The source can answer when this request has ended.
    Wanted(KeysWanted),
}

impl Found {
    /// The key for the token.
    pub(super) fn key<'a>(&'a self, token: &Token<'_>) -> Option<&'a Key> {
        match self {
            Self::Keys(set, _) => set.find(token),
            _ => None,
        }
    }
}

impl KeySource {
    /// Looks for the token's key. Begins a request if one is due.
    pub(super) fn find(self: &Arc<Self>, token: &Token<'_>) -> Found {
        let current = self.usable();
        if let Some(current) = &current
            && current.set.find(token).is_some()
        {
            self.refresh_if_old(current);
            return Found::Keys(Arc::clone(&current.set), current.generation);
        }
        let mut state = self.state();
        if let Some(request) = state.running() {
            return Found::Wanted(request);
        }
        if state.may_begin(current.is_some()) {
            return Found::Wanted(self.request(&mut state));
        }
        match current {
            Some(current) if state.failed.is_none() => Found::Unknown(current.generation),
            _ => Found::Unavailable,
        }
    }

    /// Whether the keys are still those of this generation, and usable.
    pub(super) fn is_current(self: &Arc<Self>, generation: u64) -> bool {
        let Some(current) = self.usable() else { return false };
        self.refresh_if_old(&current);
        current.generation == generation
    }

    /// The keys, unless they are too old.
    fn usable(&self) -> Option<Arc<Current>> {
        self.current.load_full().filter(|current| current.read.elapsed() < STALE)
    }

    /// Reads old keys again in the background. If another call holds the lock, it does so.
    fn refresh_if_old(self: &Arc<Self>, current: &Current) {
        if current.read.elapsed() < FRESH {
            return;
        }
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.running().is_none() && state.may_begin(true) {
            drop(self.request(&mut state));
        }
    }

    fn request(self: &Arc<Self>, state: &mut State) -> KeysWanted {
        state.began = Some(Instant::now());
        let source = Arc::clone(self);
        let request = async move {
            let (from, lookups) = (Arc::clone(&source.from), source.lookups.clone());
            let answer = AssertUnwindSafe((source.read)(from, lookups)).catch_unwind().await;
            source.finish(answer.unwrap_or_else(|_| Err(KeysError::new("the request failed unexpectedly"))));
        };
        let task = self.tasks.spawn_without_span(request);
        let request = task.map(drop).boxed().shared();
        state.request.insert(request).clone()
    }

    fn finish(&self, answer: Result<KeySet, KeysError>) {
        let mut state = self.state();
        state.request = None;
        match answer {
            Ok(set) => {
                let before = self.current.load_full();
                let generation = match &before {
                    Some(before) if *before.set == set => before.generation,
                    Some(before) => before.generation + 1,
                    None => 1,
                };
                let read = Instant::now();
                self.current.store(Some(Arc::new(Current { set: Arc::new(set), generation, read })));
                state.failed = None;
                if state.reported.take().is_some() {
                    tracing::info!(url = self.from.shown(), "the keys of a JWT issuer can be read again");
                }
            }
            Err(error) => {
                let failures = state.failed.map_or(0, |(_, failures)| failures);
                state.failed = Some((Instant::now(), failures.saturating_add(1)));
                self.report(&mut state, error);
            }
        }
    }

    /// Logs a failure: the first one, and then one a minute, unless the reason changes.
    fn report(&self, state: &mut State, error: KeysError) {
        let is_new =
            |(at, reported): &(Instant, KeysError)| at.elapsed() >= REPORT_AGAIN || *reported != error;
        if !state.reported.as_ref().is_none_or(is_new) {
            return;
        }
        let in_use = self.usable().map(|current| {
            let left = STALE.saturating_sub(current.read.elapsed());
            humantime::format_duration(Duration::from_secs(left.as_secs())).to_string()
        });
        match in_use {
            Some(left) => tracing::warn!(
                url = self.from.shown(), %error, usable_for = left,
                "the keys of a JWT issuer could not be read again, so the old ones stay in use"
            ),
            None => {
                tracing::warn!(url = self.from.shown(), %error, "the keys of a JWT issuer could not be read");
            }
        }
        state.reported = Some((Instant::now(), error));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The request in progress. A request that ended without an answer, because its thread has ended, is dropped.
    fn running(&mut self) -> Option<KeysWanted> {
        if self.request.as_ref().is_some_and(|request| request.peek().is_some()) {
            self.request = None;
        }
        self.request.clone()
    }

    /// Whether a request may begin, after the previous one.
    fn may_begin(&self, has_keys: bool) -> bool {
        let Some(began) = self.began else { return true };
        match self.failed {
            // Calls fail until there are keys, so the next request begins sooner.
            Some((ended, failures)) if !has_keys => {
                let doubled = PAUSE_WITHOUT_KEYS * (1 << failures.saturating_sub(1).min(5));
                ended.elapsed() >= doubled.min(PAUSE)
            }
            _ => began.elapsed() >= PAUSE,
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("url", &self.from.shown()).finish_non_exhaustive()
    }
}
