//! `type: chain`: the first of several sources that has credentials.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{Credentials, CredentialsError, cache::Source};

/// Sources that are asked in order, each with the `type` that selects it.
#[derive(Debug)]
pub(super) struct Chain(pub(super) Vec<(&'static str, Arc<dyn Source>)>);

impl Chain {
    async fn first(&self) -> Result<Credentials, CredentialsError> {
        let mut failures = Vec::new();
        for (kind, source) in &self.0 {
            match source.load().await {
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
