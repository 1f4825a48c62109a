//! The credentials that a cache holds: when they have to be replaced, and how long to wait after a failure.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::super::Credentials;

/// Credentials are replaced in the background this long before they expire, as botocore does (its advisory refresh).
const REPLACE_EARLY: Duration = Duration::from_mins(15);

/// Calls wait for new credentials from this long before they expire, as in botocore (its mandatory refresh).
const REPLACE_AT_ONCE: Duration = Duration::from_mins(10);

/// Credentials with a lifetime of less than an hour are replaced in the background when a quarter of it is left.
const EARLY_DIVISOR: u32 = 4;

/// Calls wait for the replacement of such credentials when a sixth of their lifetime is left.
const AT_ONCE_DIVISOR: u32 = 6;

/// The time before expiry at which the replacement in the background begins is longer by up to this fraction, at
/// random, so that processes that started together do not ask together.
const JITTER: f64 = 0.2;

/// After a failure, how long the source is not asked again while the credentials can still be used.
pub(super) const PAUSE: Duration = Duration::from_secs(10);

/// Before it doubles, the pause is at most this fraction of the credentials' lifetime, but at least
/// [`PAUSE_WITHOUT_CREDENTIALS`].
const PAUSE_DIVISOR: u32 = 30;

/// The pause is at most this fraction of the time that is left, so that the source is asked several times more.
const LEFT_DIVISOR: u32 = 4;

/// After a failure, how long calls get the same error if there are no credentials. Shorter than [`PAUSE`], because
/// these calls fail.
pub(super) const PAUSE_WITHOUT_CREDENTIALS: Duration = Duration::from_secs(1);

/// How many times a pause doubles at most when failures follow each other.
const MAX_DOUBLINGS: u32 = 3;
const MAX_DOUBLINGS_WITHOUT_CREDENTIALS: u32 = 2;

/// Credentials and their status.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) credentials: Arc<Credentials>,
    pub(super) loaded: SystemTime,
    /// How long the source took.
    pub(super) took: Duration,
    /// Whether S3 has rejected them.
    pub(super) rejected: bool,
    /// From 0 to 1, at random: how much earlier than necessary they are replaced.
    pub(super) jitter: f64,
}

/// What a call does with the current credentials.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Use {
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
    pub(super) fn new(credentials: Arc<Credentials>, took: Duration) -> Self {
        Self { credentials, loaded: SystemTime::now(), took, rejected: false, jitter: fastrand::f64() }
    }

    pub(super) fn usage(&self, now: SystemTime) -> Use {
        match self.usage_until_expiry(now) {
            Use::AsTheyAre if self.is_to_be_checked(now) => Use::WhileReplacing,
            usage => usage,
        }
    }

    pub(super) fn is_usable(&self) -> bool {
        self.usage(SystemTime::now()) != Use::Never
    }

    /// The time from when they were loaded until they expire.
    fn lifetime(&self) -> Option<Duration> {
        Some(self.credentials.expires_at()?.duration_since(self.loaded).unwrap_or_default())
    }

    /// How long the source is not asked again after `failures` in a row, while these credentials can still be used.
    pub(super) fn pause(&self, failures: u32, now: SystemTime) -> Duration {
        let base = self.lifetime().map_or(PAUSE, |lifetime| PAUSE.min(lifetime / PAUSE_DIVISOR));
        let left = self.credentials.expires_at().and_then(|expires_at| expires_at.duration_since(now).ok());
        let pause = base.max(PAUSE_WITHOUT_CREDENTIALS) * doubled(failures, MAX_DOUBLINGS);
        left.map_or(pause, |left| pause.min(left / LEFT_DIVISOR)).max(PAUSE_WITHOUT_CREDENTIALS)
    }

    /// Whether the source has to be asked for changes. A clock that has been set back does not delay that.
    fn is_to_be_checked(&self, now: SystemTime) -> bool {
        let age = now.duration_since(self.loaded);
        self.credentials.check_after().is_some_and(|after| age.map_or(true, |age| age >= after))
    }

    fn usage_until_expiry(&self, now: SystemTime) -> Use {
        let (Some(expires_at), Some(lifetime)) = (self.credentials.expires_at(), self.lifetime()) else {
            return if self.rejected { Use::IfNoOthers } else { Use::AsTheyAre };
        };
        let early = REPLACE_EARLY.min(lifetime / EARLY_DIVISOR).mul_f64(1.0 + JITTER * self.jitter);
        match expires_at.duration_since(now) {
            Err(_) | Ok(Duration::ZERO) => Use::Never,
            Ok(_) if self.rejected => Use::IfNoOthers,
            Ok(left) if left <= REPLACE_AT_ONCE.min(lifetime / AT_ONCE_DIVISOR) => Use::IfNoOthers,
            Ok(left) if left <= early => Use::WhileReplacing,
            Ok(_) => Use::AsTheyAre,
        }
    }
}

/// How long calls get the same error after `failures` in a row, if there are no credentials.
pub(super) fn pause_without_credentials(failures: u32) -> Duration {
    PAUSE_WITHOUT_CREDENTIALS * doubled(failures, MAX_DOUBLINGS_WITHOUT_CREDENTIALS)
}

fn doubled(failures: u32, most: u32) -> u32 {
    1 << failures.saturating_sub(1).min(most)
}
