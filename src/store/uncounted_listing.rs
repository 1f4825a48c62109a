//! Memory for listings that parts of an upload wait for.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{Error, ErrorKind, S3Store};
use crate::s3::Room;

/// Memory that the budget does not count: if a listing waited for memory that parts hold which wait for the listing, neither would
/// go on. A store has [`AT_ONCE`] such listings at once, and a page has a limit of its own.
///
/// Drive the request for the listing whatever its caller does: it keeps its turn from the first bytes of the answer on.
#[derive(Debug)]
pub(super) struct UncountedListing {
    turns: Arc<Semaphore>,
    wait: Duration,
    turn: Option<OwnedSemaphorePermit>,
}

/// How many a store has at once.
pub(super) const AT_ONCE: usize = 2;

impl S3Store {
    /// Memory for a listing that parts of an upload wait for.
    pub(super) fn uncounted_listing(&self) -> UncountedListing {
        let wait = self.inner.budget.settings().wait;
        UncountedListing { turns: Arc::clone(&self.inner.uncounted_listings), wait, turn: None }
    }
}

impl Room for UncountedListing {
    async fn grow(&mut self, _: u64) -> Result<(), Error> {
        if self.turn.is_none() {
            let turn = timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await;
            let message = "other uploads of the store wait for S3 to list their parts: call again later";
            let none = || Error::new(ErrorKind::MemoryExhausted, message);
            self.turn = Some(turn.ok().and_then(Result::ok).ok_or_else(none)?);
        }
        Ok(())
    }
}
