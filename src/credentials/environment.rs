//! `type: env`: credentials from Longshore's own environment.

use std::{ffi::OsString, time::SystemTime};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use secrecy::SecretString;

use super::{Credentials, CredentialsError, cache::Source};

/// The `AWS_*` variables of the process, read once: its environment does not change while it runs.
#[derive(Debug)]
pub(super) struct Environment(Result<Credentials, CredentialsError>);

impl Environment {
    /// Looks up variables with `variable`.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
        let missing = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not both set in the environment";
        // Without an id, botocore looks elsewhere, even if there is a secret.
        let Some(id) = text("AWS_ACCESS_KEY_ID") else { return Self(Err(CredentialsError::absent(missing))) };
        let Some(secret) = text("AWS_SECRET_ACCESS_KEY") else {
            return Self(Err(CredentialsError::new(missing)));
        };
        // botocore looks in this order.
        let token = text("AWS_SECURITY_TOKEN").or_else(|| text("AWS_SESSION_TOKEN"));
        let keys = Credentials::new(id, secret, token.map(SecretString::from));
        let Some(expiry) = text("AWS_CREDENTIAL_EXPIRATION") else { return Self(Ok(keys)) };
        let expiry = expiry.parse::<Timestamp>().map_err(|_| {
            CredentialsError::new(
                "AWS_CREDENTIAL_EXPIRATION is not an ISO 8601 time, such as 2030-01-31T12:00:00Z",
            )
        });
        Self(expiry.map(|time| keys.expiring(SystemTime::from(time))))
    }
}

impl Source for Environment {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let found = match &self.0 {
            // The environment does not change, so new ones need a new process.
            Ok(keys) if keys.expires_at().is_some_and(|time| time <= SystemTime::now()) => {
                let text = "the credentials in the environment have expired (AWS_CREDENTIAL_EXPIRATION)";
                Err(CredentialsError::new(text))
            }
            found => found.clone(),
        };
        async { found }.boxed()
    }

    fn fixed(&self) -> Option<Result<Credentials, CredentialsError>> {
        let expires = self.0.as_ref().is_ok_and(|keys| keys.expires_at().is_some());
        Some(self.0.clone()).filter(|_| !expires)
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

    #[tokio::test]
    async fn credentials_with_an_expiry_are_used_until_then() {
        let with = |expiry: &'static str| {
            move |name: &str| {
                let expires = name == "AWS_CREDENTIAL_EXPIRATION";
                Some(OsString::from(if expires { expiry } else { "hush" }))
            }
        };
        let valid = Environment::new(with("2199-01-01T00:00:00+01:00"));
        assert!(valid.fixed().is_none() && valid.load().await.unwrap().expires_at().is_some());
        for (expiry, expected) in [("2020-01-01T00:00:00Z", "have expired"), ("soon", "ISO 8601")] {
            let error = Environment::new(with(expiry)).load().await.unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hush"), "{error}");
        }
    }
}
