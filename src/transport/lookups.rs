//! The lookups of host names that one tenant has in progress.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use hyper_util::client::legacy::connect::dns::Name;
use tokio::{sync::Semaphore, task::spawn_blocking};

/// How many lookups a tenant may have in progress. Each blocks a thread, of which a runtime has a limited number.
const AT_ONCE: usize = 4;

/// The lookups of host names that one tenant has in progress. Cheap to clone.
///
/// The system's resolver blocks a thread until it has an answer, however long that takes, and even if the connection
/// for which it looks up the name has been given up. Names that are resolved slowly therefore delay only connections of
/// the same tenant, unless many tenants have such names.
#[derive(Debug, Clone)]
pub struct Lookups(Arc<Semaphore>);

impl Default for Lookups {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Lookups {
    /// Lookups of which only one is in progress. A further one waits for the thread of the one before.
    pub fn one_at_a_time() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Whether both wait for the same lookups.
    #[cfg(test)]
    pub(crate) fn are_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The addresses of a host, from the system's resolver.
    pub(super) async fn addresses(&self, name: Name) -> io::Result<Vec<SocketAddr>> {
        self.run(move || Ok((name.as_str(), 0).to_socket_addrs()?.collect())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        look_up: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(io::Error::other)?;
        let looking_up = spawn_blocking(move || {
            let found = look_up();
            // The thread is free only now, whether or not the result is still wanted.
            drop(permit);
            found
        });
        looking_up.await.map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_tenant_whose_lookups_hang_does_not_delay_others_even_after_its_connections_have_been_given_up()
    {
        let (slow, other) = (Lookups::default(), Lookups::default());
        let (answers, hanging): (Vec<_>, Vec<_>) = (0..AT_ONCE)
            .map(|_| {
                let (answer, question) = mpsc::channel::<()>();
                let lookup = slow.run(move || question.recv().map_err(io::Error::other));
                (answer, Box::pin(lookup))
            })
            .unzip();
        for mut lookup in hanging {
            assert!(lookup.as_mut().now_or_never().is_none());
        }
        let next = slow.clone();
        let mut next = Box::pin(next.run(|| Ok(1)));
        assert!(next.as_mut().now_or_never().is_none(), "the threads are still in use");
        assert_eq!(other.run(|| Ok(2)).await.unwrap(), 2);
        assert!(next.as_mut().now_or_never().is_none());
        drop(answers);
        assert_eq!(next.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn one_lookup_at_a_time_waits_for_the_one_before_even_after_it_has_been_given_up() {
        let lookups = Lookups::one_at_a_time();
        let (answer, question) = mpsc::channel::<()>();
        let mut hanging = Box::pin(lookups.run(move || question.recv().map_err(io::Error::other)));
        assert!(hanging.as_mut().now_or_never().is_none());
        drop(hanging);
        let mut next = Box::pin(lookups.run(|| Ok(1)));
        assert!(next.as_mut().now_or_never().is_none(), "the thread is still in use");
        drop(answer);
        assert_eq!(next.await.unwrap(), 1);
    }
}
