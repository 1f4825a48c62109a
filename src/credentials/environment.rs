//! `type: env`: credentials from Longshore's own environment.

use std::ffi::OsString;

use futures::{FutureExt, future::BoxFuture};
use secrecy::SecretString;

use super::{Credentials, CredentialsError, cache::Source};

/// The `AWS_*` variables of the process, read once: its environment does not change while it runs.
#[derive(Debug)]
pub(super) struct Environment(Result<Credentials, CredentialsError>);

impl Environment {
    /// Looks up variables with `variable`.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
        let token = text("AWS_SESSION_TOKEN").or_else(|| text("AWS_SECURITY_TOKEN"));
        let keys = text("AWS_ACCESS_KEY_ID").zip(text("AWS_SECRET_ACCESS_KEY"));
        let missing = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set in the environment";
        let is_half = text("AWS_ACCESS_KEY_ID").is_some() || text("AWS_SECRET_ACCESS_KEY").is_some();
        Self(keys.map(|(id, secret)| Credentials::new(id, secret, token.map(SecretString::from))).ok_or_else(
            || if is_half { CredentialsError::new(missing) } else { CredentialsError::absent(missing) },
        ))
    }
}

impl Source for Environment {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let found = self.0.clone();
        async { found }.boxed()
    }

    fn fixed(&self) -> Option<Result<Credentials, CredentialsError>> {
        Some(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(pairs: &'static [(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let variable =
            |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        Environment::new(variable).load().await
    }

    #[tokio::test]
    async fn temporary_credentials_from_the_environment_have_a_token() {
        let found = load(&[
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SECURITY_TOKEN", "old-name"),
        ])
        .await
        .unwrap();
        assert_eq!(found.access_key_id(), "AKID");
        assert_eq!(found.session_token(), Some("old-name"));
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[tokio::test]
    async fn half_a_key_pair_is_an_error_that_names_both_variables() {
        for half in [&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "")][..], &[]] {
            let error = load(half).await.unwrap_err();
            assert!(error.to_string().contains("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{error}");
        }
    }
}
