//! Why there are no credentials.

/// No credentials were found. The text says where the provider looked and what is missing. It contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CredentialsError(String);

impl CredentialsError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
