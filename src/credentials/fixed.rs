//! `type: static`: credentials from the settings.

use std::time::SystemTime;

use futures::{FutureExt, future::BoxFuture};

use super::{Credentials, CredentialsError, cache::Source, shown_time};

/// Credentials that never change, but may expire.
#[derive(Debug)]
pub(super) struct Fixed(pub(super) Credentials);

impl Source for Fixed {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let found = match self.0.expires_at().filter(|expires_at| *expires_at <= SystemTime::now()) {
            Some(expired) => {
                let at = shown_time(expired);
                Err(CredentialsError::new(format!(
                    "the credentials in the settings expired at {at}: replace them"
                )))
            }
            None => Ok(self.0.clone()),
        };
        async { found }.boxed()
    }

    fn fixed(&self) -> Option<Result<Credentials, CredentialsError>> {
        self.0.expires_at().is_none().then(|| Ok(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn credentials_are_returned_until_they_expire() {
        let keys = || Credentials::new("AKID", "hush", None);
        assert!(Fixed(keys()).fixed().is_some());
        let later = Fixed(keys().expiring(SystemTime::now() + Duration::from_hours(1)));
        assert!(later.fixed().is_none(), "they are checked each time");
        assert_eq!(later.load().await.unwrap().access_key_id(), "AKID");
        let expired = Fixed(keys().expiring(SystemTime::UNIX_EPOCH - Duration::from_secs(1)));
        let error = expired.load().await.unwrap_err().to_string();
        assert_eq!(error, "the credentials in the settings expired at 1969-12-31T23:59:59Z: replace them");
    }
}
