//! Why there are no credentials.

use std::time::Duration;

use crate::telemetry::cut;

/// No credentials were found. The text says where the provider looked and what is missing. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CredentialsError {
    text: String,
    is_absent: bool,
}

/// Longest text, in bytes. Parts of it come from servers.
const MAX_TEXT: usize = 4096;

impl CredentialsError {
    /// The provider is set up, but failed.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: cut(&text.into(), MAX_TEXT).into_owned(), is_absent: false }
    }

    /// There is nothing at the place where the provider looks.
    pub(super) fn absent(text: impl Into<String>) -> Self {
        Self { is_absent: true, ..Self::new(text) }
    }

    /// The provider did not answer within `wait`, the time that the call had for it.
    pub(super) fn late(wait: Duration) -> Self {
        Self::new(format!(
            "the credential provider has not answered within {} ms, and the call's deadline is near",
            wait.as_millis()
        ))
    }

    /// Whether there is nothing at the place where the provider looks, so that another one may be asked.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }
}
