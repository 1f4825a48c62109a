//! What a cache knows: the current credentials, the request in progress, and failures.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::{BoxFuture, Shared};
use tokio::time::Instant;

use super::{
    Found,
    current::{Current, pause_without_credentials},
};
use crate::credentials::{Credentials, CredentialsError};

/// How long calls keep waiting for a source that has worked before, counted from its first failure while no usable
/// credentials were left.
pub(super) const LONGEST_OUTAGE: Duration = Duration::from_secs(10);

/// Credentials that S3 rejects sooner than this after they were loaded may count as a failure of the source
/// ([`State::reject`]).
const SOON: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) current: Option<Current>,
    /// The request to the source that is in progress.
    pub(super) request: Option<Request>,
    /// The last failure of the source, until it succeeds again.
    pub(super) failed: Option<Failed>,
    /// When the source first failed while there were no credentials to use.
    pub(super) failing_since: Option<Instant>,
    /// The last failure that was logged, and when.
    pub(super) reported: Option<(Instant, CredentialsError)>,
    /// How many credentials in a row S3 has rejected soon after they were loaded. Credentials that are replaced without
    /// a rejection end the row.
    pub(super) rejections: u32,
}

/// A request to the source, which any number of calls wait for.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) began: Instant,
    pub(super) answer: Shared<BoxFuture<'static, Found>>,
}

/// The last of one or more failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Failed {
    pub(super) at: Instant,
    pub(super) count: u32,
    pub(super) error: CredentialsError,
    /// The part of a pause that is waited for, chosen at random, so that processes do not ask together.
    pub(super) part: f64,
}

impl Failed {
    pub(super) fn again(before: Option<&Self>, error: CredentialsError) -> Self {
        let count = before.map_or(0, |before| before.count).saturating_add(1);
        Self { at: Instant::now(), count, error, part: 0.8 + 0.2 * fastrand::f64() }
    }
}

impl State {
    /// Whether a source that has worked before has failed for a short time only.
    pub(super) fn is_short_outage(&self) -> bool {
        self.current.is_some() && self.failing_since.is_some_and(|since| since.elapsed() < LONGEST_OUTAGE)
    }

    /// Takes the source's answer. Credentials that cannot be used count as a failure, so that the source is not asked
    /// again at once.
    pub(super) fn finish(&mut self, found: Result<Credentials, CredentialsError>, took: Duration) -> Found {
        self.request = None;
        let found = found.and_then(|credentials| self.usable(credentials));
        match &found {
            Ok(credentials) => {
                if self.current.as_ref().is_some_and(|replaced| !replaced.rejected) {
                    self.rejections = 0;
                }
                self.current = Some(Current::new(Arc::clone(credentials), took));
                (self.failed, self.failing_since) = (None, None);
            }
            Err(error) => {
                self.failed = Some(Failed::again(self.failed.as_ref(), error.clone()));
                // While the old credentials can be used, calls do not notice.
                if !self.current.as_ref().is_some_and(Current::is_usable) {
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
        match &self.current {
            // A new time of expiry does not make them valid.
            Some(current) if current.rejected && current.credentials.are_same_keys(&credentials) => {
                let text = "the credential provider returned the credentials that S3 has rejected";
                Err(CredentialsError::new(text))
            }
            // The same `Arc`, by which `reject` recognises the current credentials.
            Some(current) if *current.credentials == credentials => Ok(Arc::clone(&current.credentials)),
            _ => Ok(Arc::new(credentials)),
        }
    }

    /// Records that S3 rejected `credentials`. Returns whether they are the current ones.
    ///
    /// From the second rejection on, a source whose credentials are rejected soon after they were loaded has failed:
    /// without a pause, each call would ask it.
    pub(super) fn reject(&mut self, credentials: &Arc<Credentials>) -> bool {
        let Some(current) = &mut self.current else { return false };
        if !Arc::ptr_eq(&current.credentials, credentials) {
            return false;
        }
        if !current.rejected {
            current.rejected = true;
            let is_soon = current.loaded.elapsed().is_ok_and(|age| age < SOON);
            self.rejections = if is_soon { self.rejections.saturating_add(1) } else { 0 };
            if self.rejections > 1 {
                let error = CredentialsError::new("S3 rejects all credentials of the credential provider");
                let failed = Failed::again(self.failed.as_ref(), error);
                self.failed = Some(Failed { count: self.rejections - 1, ..failed });
            }
        }
        true
    }

    /// Records that S3 accepted `credentials`. Returns whether they are the current ones.
    pub(super) fn accept(&mut self, credentials: &Arc<Credentials>) -> bool {
        let Some(current) = &mut self.current else { return false };
        let is_current = Arc::ptr_eq(&current.credentials, credentials);
        if is_current && current.rejected {
            current.rejected = false;
            (self.failed, self.rejections) = (None, 0);
        }
        is_current
    }

    /// The last failure, if the source has to be left alone for a while after it. `old`: the credentials that can
    /// still be used.
    pub(super) fn paused(&self, old: Option<&Current>, now: SystemTime) -> Option<CredentialsError> {
        let Failed { at, count, error, part } = self.failed.as_ref()?;
        // Calls with rejected credentials fail, so the source is asked again as soon as without any.
        let usable = old.filter(|old| !old.rejected);
        let pause = usable.map_or_else(|| pause_without_credentials(*count), |old| old.pause(*count, now));
        (at.elapsed() < pause.mul_f64(*part)).then(|| error.clone())
    }
}
