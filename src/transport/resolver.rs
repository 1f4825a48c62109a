//! Looks up the addresses of hosts. Connections that are opened at the same time share one lookup.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    vec,
};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use hyper_util::client::legacy::connect::dns::Name;
use tower::Service;

use super::{
    Lookups,
    local::{is_local, refused},
};

/// The addresses of a host, or why they could not be looked up. All connections that wait for a lookup get the same
/// result.
type Lookup = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, Arc<io::Error>>>>;

/// The system's resolver. A burst of connections to one host calls it once. Nothing is cached afterwards: that is left
/// to the system, which knows how long an address is valid.
#[derive(Debug, Clone, Default)]
pub(super) struct Resolver {
    in_progress: Arc<Mutex<HashMap<Name, Lookup>>>,
    tenants: Lookups,
    refuse_local: bool,
}

impl Resolver {
    /// `refuse_local`: whether the addresses of this machine and of metadata services are left out. The lookup of a host
    /// that has no others fails.
    pub(super) fn new(tenants: Lookups, refuse_local: bool) -> Self {
        Self { tenants, refuse_local, ..Self::default() }
    }

    fn in_progress(&self) -> MutexGuard<'_, HashMap<Name, Lookup>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lookup of `name` that is in progress, or a new one that calls `look_up`.
    fn lookup(
        &self,
        name: &Name,
        look_up: impl FnOnce(Name) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>,
    ) -> Lookup {
        let mut lookups = self.in_progress();
        // A lookup makes progress only while a connection waits for it, so an abandoned one must not be joined.
        lookups.retain(|_, lookup| {
            lookup.peek().is_none() && lookup.strong_count().is_some_and(|count| count > 1)
        });
        let new = || look_up(name.clone()).map(|found| found.map_err(Arc::new)).boxed().shared();
        lookups.entry(name.clone()).or_insert_with(new).clone()
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (tenants, refuse_local) = (self.tenants.clone(), self.refuse_local);
        let lookup = self.lookup(&name, |name| {
            Box::pin(async move {
                let mut found = tenants.addresses(name.clone()).await?;
                if refuse_local {
                    found.retain(|address| !is_local(address.ip()));
                }
                if refuse_local && found.is_empty() { Err(refused(name.as_str())) } else { Ok(found) }
            })
        });
        Box::pin(async move {
            let found = lookup.await.map_err(|error| io::Error::new(error.kind(), error));
            found.map(Vec::into_iter)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    fn name() -> Name {
        "s3.example".parse().unwrap()
    }

    #[tokio::test]
    async fn lookups_at_the_same_time_are_made_once() {
        let (resolver, made) = (Resolver::default(), Arc::new(AtomicUsize::new(0)));
        let (send, receive) = oneshot::channel();
        let mut receive = Some(receive);
        let mut begin = || {
            let (made, receive) = (Arc::clone(&made), receive.take());
            resolver.lookup(&name(), move |_| {
                made.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move { Ok(vec![receive.unwrap().await.unwrap()]) })
            })
        };
        let (first, second) = (begin(), begin());
        // The one that began it leaves.
        assert!(first.now_or_never().is_none());
        let address: SocketAddr = "192.0.2.1:443".parse().unwrap();
        send.send(address).unwrap();
        assert_eq!(second.await.unwrap(), [address]);
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_finished_or_abandoned_lookup_is_made_again() {
        let resolver = Resolver::default();
        let fails = || resolver.lookup(&name(), |_| Box::pin(async { Err(io::ErrorKind::NotFound.into()) }));
        assert_eq!(fails().await.unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(resolver.lookup(&name(), |_| Box::pin(std::future::pending())));
        let found = resolver.lookup(&name(), |_| Box::pin(async { Ok(Vec::new()) })).await;
        assert!(found.unwrap().is_empty());
    }
}
