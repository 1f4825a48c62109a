//! `type: chain`: the first of several sources that has credentials. `type: default` searches in the same way.

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
#[derive(Debug)]
pub(super) struct Chain {
    sources: Vec<(&'static str, Arc<dyn Source>)>,
    search: Search,
}

impl Chain {
    pub(super) fn new(sources: Vec<(&'static str, Arc<dyn Source>)>) -> Self {
        Self { sources, search: Search::new(false) }
    }

    async fn first(&self) -> Found {
        let names: Vec<_> = self.sources.iter().map(|(name, _)| *name).collect();
        let load = |index: usize| match self.sources.get(index) {
            Some((_, source)) => source.load(),
            None => async { Err(CredentialsError::absent("there is no such provider")) }.boxed(),
        };
        self.search.first(&names, load).await
    }
}

impl Source for Chain {
    fn load(&self) -> BoxFuture<'_, Found> {
        self.first().boxed()
    }
}

type Found = Result<Credentials, CredentialsError>;

/// The search for the first of several places that has credentials.
///
/// The first one that has credentials remains in use: if it fails later, its old credentials are used until they
/// expire, and not those of another identity. The others are asked again only if what it reads no longer exists.
#[derive(Debug)]
pub(super) struct Search {
    /// Whether a place that is set up, but fails, ends the search, as in boto3.
    stops_at_failure: bool,
    /// The index of the place in use; `usize::MAX` if there is none.
    chosen: AtomicUsize,
}

impl Search {
    pub(super) fn new(stops_at_failure: bool) -> Self {
        Self { stops_at_failure, chosen: AtomicUsize::new(usize::MAX) }
    }

    /// The index of the place in use.
    pub(super) fn chosen(&self) -> Option<usize> {
        Some(self.chosen.load(Ordering::Relaxed)).filter(|chosen| *chosen != usize::MAX)
    }

    /// Forgets the place in use, because nothing is there any more.
    pub(super) fn begin_again(&self) {
        self.chosen.store(usize::MAX, Ordering::Relaxed);
    }

    /// The credentials of the first place, each of which `load` asks by its index.
    pub(super) async fn first<'a>(
        &self,
        names: &[&'static str],
        load: impl Fn(usize) -> BoxFuture<'a, Found>,
    ) -> Found {
        if let Some(chosen) = self.chosen().filter(|chosen| *chosen < names.len()) {
            match load(chosen).await {
                Err(error) if error.is_absent() => self.begin_again(),
                found => return found.map(|credentials| credentials.found_by(names[chosen])),
            }
        }
        let mut failures = Vec::new();
        let mut all_absent = true;
        for (index, name) in names.iter().enumerate() {
            let found = timeout(LIMIT, load(index)).await;
            match found.unwrap_or_else(|_| Err(CredentialsError::new("it did not answer within 20 s"))) {
                Ok(credentials) => {
                    self.chosen.store(index, Ordering::Relaxed);
                    return Ok(credentials.found_by(name));
                }
                Err(error) => {
                    failures.push(format!("{name}: {error}"));
                    all_absent &= error.is_absent();
                    if self.stops_at_failure && !error.is_absent() {
                        break;
                    }
                }
            }
        }
        let text = format!("no provider has credentials ({})", failures.join("; "));
        Err(if all_absent { CredentialsError::absent(text) } else { CredentialsError::new(text) })
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
        let chain = Chain::new(vec![("first", first.clone()), ("second", second.clone())]);
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
            let chain = Chain { sources, search: Search::new(stops_at_failure) };
            assert_eq!(key(&chain).await, expected);
        }
    }
}
