//! Memory for listings that parts of an upload wait for.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;
use crate::s3::Room;

/// Memory that the budget does not count: if a listing waited for memory that parts hold which wait for the listing, neither would
/// go on. A tenant has [`UncountedListing::AT_ONCE`] such listings at once, and a page has a limit of its own.
///
/// Drive the request for the listing whatever its caller does: it keeps its turn from the first bytes of the answer on.
#[derive(Debug)]
pub(in crate::store) struct UncountedListing {
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
}

impl UncountedListing {
    pub(super) const AT_ONCE: usize = 2;

    pub(super) fn new(turns: Arc<Semaphore>) -> Self {
        Self { turns, turn: None }
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
