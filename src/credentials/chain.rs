//! `type: chain`: the first of several sources that has credentials.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use super::{Credentials, CredentialsError, cache::Source};

/// How long a source may take, so that one that hangs leaves time for those after it.
const LIMIT: Duration = Duration::from_secs(10);

/// How long the credentials of a source are used before the ones before it are asked again.
const CHECK_AFTER: Duration = Duration::from_mins(5);

/// Sources that are asked in order, each with the `type` that selects it.
#[derive(Debug)]
pub(super) struct Chain(pub(super) Vec<(&'static str, Arc<dyn Source>)>);

impl Chain {
    async fn first(&self) -> Result<Credentials, CredentialsError> {
        let mut failures = Vec::new();
        for (kind, source) in &self.0 {
            let found = timeout(LIMIT, source.load()).await;
            match found.unwrap_or_else(|_| Err(CredentialsError::new("it did not answer within 10 s"))) {
                // The sources before this one may have some later.
                Ok(credentials) if !failures.is_empty() && credentials.check_after().is_none() => {
                    return Ok(credentials.checked_after(CHECK_AFTER));
                }
                Ok(credentials) => return Ok(credentials),
                Err(error) => failures.push(format!("{kind}: {error}")),
            }
        }
        Err(CredentialsError::new(format!("no provider has credentials ({})", failures.join("; "))))
    }
}

impl Source for Chain {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.first().boxed()
    }
}
