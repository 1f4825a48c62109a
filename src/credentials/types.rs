//! S3 credentials. Their secrets are wiped from memory when dropped, and never printed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, Unit};
use secrecy::{ExposeSecret, SecretString};

/// One set of S3 credentials.
#[derive(Clone)]
pub struct Credentials {
    access_key_id: String,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
    expires_at: Option<SystemTime>,
    check_after: Option<Duration>,
    provider: Option<&'static str>,
}

impl Credentials {
    /// Credentials from their parts. Only temporary credentials have a `session_token`.
    pub fn new(
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<SecretString>,
        session_token: Option<SecretString>,
    ) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session_token,
            expires_at: None,
            check_after: None,
            provider: None,
        }
    }

    /// The same credentials, valid until `expires_at`.
    #[must_use]
    pub fn expiring(self, expires_at: SystemTime) -> Self {
        Self { expires_at: Some(expires_at), ..self }
    }

    /// The same credentials, whose source is asked again after this time, because it may change whenever it likes.
    #[must_use]
    pub(super) fn checked_after(self, time: Duration) -> Self {
        Self { check_after: Some(time), ..self }
    }

    /// After which time the source is asked again, although the credentials have not expired.
    pub(super) fn check_after(&self) -> Option<Duration> {
        self.check_after
    }

    /// Whether both are the same keys with the same token, whenever they expire.
    pub(super) fn are_same_keys(&self, other: &Self) -> bool {
        self.access_key_id == other.access_key_id
            && self.secret_access_key() == other.secret_access_key()
            && self.session_token() == other.session_token()
    }

    /// The same credentials, found by this provider of a chain, unless a chain within it has named another one.
    #[must_use]
    pub(super) fn found_by(self, provider: &'static str) -> Self {
        Self { provider: self.provider.or(Some(provider)), ..self }
    }

    /// The provider of a chain that found them.
    pub(super) fn provider(&self) -> Option<&'static str> {
        self.provider
    }

    /// When S3 stops accepting the credentials; `None` if the source does not say.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.expires_at
    }

    /// The public half, as it appears in S3's logs.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret half, for deriving signing keys only.
    pub fn secret_access_key(&self) -> &str {
        self.secret_access_key.expose_secret()
    }

    /// The token of temporary credentials, sent as `x-amz-security-token`.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_ref().map(ExposeSecret::expose_secret)
    }
}

/// A time in seconds, as in RFC 3339. Unlike humantime, this takes any time.
pub(crate) fn shown_time(time: SystemTime) -> String {
    let seconds = Timestamp::try_from(time).and_then(|time| time.round(Unit::Second));
    seconds.map_or_else(|_| "a time that is out of range".to_owned(), |time| time.to_string())
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.are_same_keys(other) && self.expires_at == other.expires_at
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}
