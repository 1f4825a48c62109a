//! `type: static`: credentials from the settings.

use futures::{FutureExt, future::BoxFuture};

use super::{Credentials, CredentialsError, cache::Source};

/// Credentials that never change.
#[derive(Debug)]
pub(super) struct Fixed(pub(super) Credentials);

impl Source for Fixed {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let found = Ok(self.0.clone());
        async { found }.boxed()
    }

    fn fixed(&self) -> Option<Result<Credentials, CredentialsError>> {
        Some(Ok(self.0.clone()))
    }
}
