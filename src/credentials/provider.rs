//! Credential providers: static, environment, anonymous.

use std::{ffi::OsString, fmt, sync::Arc};

use secrecy::SecretString;

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

/// Provides credentials for signing. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CredentialProvider {
    settings: ProviderSettings,
    found: Option<Arc<Credentials>>,
}

/// No credentials were found. The text says where the provider looked and what is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError(String);

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CredentialsError {}

impl CredentialProvider {
    /// A provider with these settings, which reads Longshore's own environment if its kind is `env`.
    pub fn new(settings: ProviderSettings) -> Self {
        Self::with_environment(settings, |name| std::env::var_os(name))
    }

    /// A provider that looks up environment variables with `variable`. It reads them once, since the environment of a
    /// process does not change while it runs.
    pub fn with_environment(settings: ProviderSettings, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let found = match &settings {
            ProviderSettings::Static(credentials) => Some(Arc::new(credentials.clone())),
            ProviderSettings::Env => from_environment(variable).map(Arc::new),
            ProviderSettings::Anonymous => None,
        };
        Self { settings, found }
    }

    /// The credentials to sign with; `None` means that requests are unsigned.
    #[allow(clippy::unused_async, reason = "providers that request credentials will await them here")]
    pub async fn credentials(&self) -> Result<Option<Arc<Credentials>>, CredentialsError> {
        match (&self.settings, &self.found) {
            (ProviderSettings::Anonymous, _) => Ok(None),
            (_, Some(found)) => Ok(Some(Arc::clone(found))),
            (_, None) => Err(CredentialsError(
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set in the environment".to_owned(),
            )),
        }
    }
}

fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Option<Credentials> {
    let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
    let token = text("AWS_SESSION_TOKEN").or_else(|| text("AWS_SECURITY_TOKEN"));
    Some(Credentials::new(
        text("AWS_ACCESS_KEY_ID")?,
        text("AWS_SECRET_ACCESS_KEY")?,
        token.map(SecretString::from),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(pairs: &'static [(&str, &str)]) -> CredentialProvider {
        CredentialProvider::with_environment(ProviderSettings::Env, |name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[tokio::test]
    async fn temporary_credentials_from_the_environment_have_a_token() {
        let found = provider(&[
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SECURITY_TOKEN", "old-name"),
        ])
        .credentials()
        .await
        .unwrap()
        .unwrap();
        assert_eq!(found.access_key_id(), "AKID");
        assert_eq!(found.session_token(), Some("old-name"));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[tokio::test]
    async fn half_a_key_pair_is_an_error_that_names_both_variables() {
        let error = provider(&[("AWS_ACCESS_KEY_ID", "AKID")]).credentials().await.unwrap_err();
        assert!(error.to_string().contains("AWS_SECRET_ACCESS_KEY"));
    }

    #[tokio::test]
    async fn anonymous_has_no_credentials() {
        let provider = CredentialProvider::new(ProviderSettings::Anonymous);
        assert!(provider.credentials().await.unwrap().is_none());
    }
}
