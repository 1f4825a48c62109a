//! Memory for listings that parts of an upload wait for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Error, S3Store};
use crate::s3::Room;

/// Memory that the budget does not count: if a listing waited for memory that parts hold which wait for the listing, neither would
/// go on. A store has [`AT_ONCE`] such listings at once, and a page has a limit of its own.
///
/// Drive the request for the listing whatever its caller does: it keeps its turn from the first bytes of the answer on.
#[derive(Debug)]
pub(super) struct UncountedListing {
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
}

/// How many a store has at once.
pub(super) const AT_ONCE: usize = 2;

impl S3Store {
    /// Memory for a listing that parts of an upload wait for.
    pub(super) fn uncounted_listing(&self) -> UncountedListing {
        UncountedListing { turns: Arc::clone(&self.inner.uncounted_listings), turn: None }
    }
}

impl Room for UncountedListing {
    async fn grow(&mut self, _: u64) -> Result<(), Error> {
        if self.turn.is_none() {
            // It is never closed.
            self.turn = Arc::clone(&self.turns).acquire_owned().await.ok();
        }
        Ok(())
    }
}
