//! Why there are no credentials.

use crate::telemetry::cut;

/// No credentials were found. The text says where the provider looked and what is missing. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(String);

/// Longest text, in bytes. Parts of it come from servers.
const MAX_TEXT: usize = 4096;

impl CredentialsError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(cut(&text.into(), MAX_TEXT).into_owned())
    }
}
