//! Why keys cannot be read.

/// Why the keys of an issuer cannot be read. Its text contains no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

impl KeysError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
