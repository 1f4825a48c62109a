//! `type: chain` and `type: default`: the first of several sources that has credentials.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use tokio::time::timeout;

use super::{Credentials, CredentialsError, cache::Source};

/// How long a source may take, so that one that hangs leaves time for those after it.
const LIMIT: Duration = Duration::from_secs(20);

/// Sources that are asked in order, each with the name that errors use.
///
/// The first one that has credentials remains in use: if it fails later, its old credentials are used until they
/// expire, and not those of another identity. The others are asked again only if what it reads no longer exists.
#[derive(Debug)]
pub(super) struct Chain {
    sources: Vec<(&'static str, Arc<dyn Source>)>,
    /// Whether a source that is set up, but fails, ends the search, as in boto3.
    stops_at_failure: bool,
    /// The index of the source in use; `usize::MAX` if there is none.
    chosen: AtomicUsize,
}

impl Chain {
    pub(super) fn new(sources: Vec<(&'static str, Arc<dyn Source>)>, stops_at_failure: bool) -> Self {
        Self { sources, stops_at_failure, chosen: AtomicUsize::new(usize::MAX) }
    }

    async fn first(&self) -> Result<Credentials, CredentialsError> {
        if let Some((name, source)) = self.sources.get(self.chosen.load(Ordering::Relaxed)) {
            match source.load().await {
                Err(error) if error.is_absent() => self.chosen.store(usize::MAX, Ordering::Relaxed),
                found => return found.map(|credentials| credentials.found_by(name)),
            }
        }
        let mut failures = Vec::new();
        for (index, (name, source)) in self.sources.iter().enumerate() {
            let found = timeout(LIMIT, source.load()).await;
            match found.unwrap_or_else(|_| Err(CredentialsError::new("it did not answer within 20 s"))) {
                Ok(credentials) => {
                    self.chosen.store(index, Ordering::Relaxed);
                    return Ok(credentials.found_by(name));
                }
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    if self.stops_at_failure && !error.is_absent() {
                        break;
                    }
                }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Answers with credentials of this name, or with an error.
    #[derive(Debug)]
    struct Scripted(&'static str, Mutex<Option<CredentialsError>>);

    impl Source for Scripted {
        fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
            let error = self.1.lock().unwrap().clone();
            async { error.map_or_else(|| Ok(Credentials::new(self.0, "secret", None)), Err) }.boxed()
        }
    }

    fn scripted(name: &'static str, error: Option<CredentialsError>) -> Arc<Scripted> {
        Arc::new(Scripted(name, Mutex::new(error)))
    }

    async fn key(chain: &Chain) -> Result<String, String> {
        let found = chain.load().await;
        found.map(|found| found.access_key_id().to_owned()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn the_source_that_had_credentials_stays_in_use_until_nothing_is_there() {
        let first = scripted("FIRST", Some(CredentialsError::absent("nothing")));
        let second = scripted("SECOND", None);
        let chain = Chain::new(vec![("first", first.clone()), ("second", second.clone())], true);
        assert_eq!(key(&chain).await.unwrap(), "SECOND");
        *first.1.lock().unwrap() = None;
        assert_eq!(key(&chain).await.unwrap(), "SECOND", "the identity does not change");
        *second.1.lock().unwrap() = Some(CredentialsError::new("broken"));
        assert_eq!(key(&chain).await.unwrap_err(), "broken");
        *second.1.lock().unwrap() = Some(CredentialsError::absent("gone"));
        assert_eq!(key(&chain).await.unwrap(), "FIRST");
    }

    #[tokio::test]
    async fn a_source_that_fails_ends_the_search_of_default_only() {
        for (stops_at_failure, expected) in [
            (true, Err("no provider has credentials (first: broken)".to_owned())),
            (false, Ok("SECOND".to_owned())),
        ] {
            let first = scripted("FIRST", Some(CredentialsError::new("broken")));
            let sources: Vec<(_, Arc<dyn Source>)> =
                vec![("first", first), ("second", scripted("SECOND", None))];
            assert_eq!(key(&Chain::new(sources, stops_at_failure)).await, expected);
        }
    }
}
