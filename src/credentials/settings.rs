//! A store's `credential_provider`.

use super::Credentials;

/// A store's `credential_provider`.
#[derive(Debug, Clone, PartialEq)]
pub enum ProviderSettings {
    /// Credentials from the settings.
    Static(Credentials),
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` from Longshore's own environment.
    Env,
    /// No credentials: requests are unsigned.
    Anonymous,
}

impl ProviderSettings {
    /// The name of this kind, as used for `type` in the settings.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Static(_) => "static",
            Self::Env => "env",
            Self::Anonymous => "anonymous",
        }
    }
}
