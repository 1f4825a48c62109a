//! Deletes any number of objects, in batches. Several batches are in flight at once.

mod batch;
mod window;

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use self::{
    batch::{Batch, Outcomes, SINGLES},
    window::Window,
};
use super::{Deleted, Error, ErrorKind, ObjectId, Reservation, S3Store};
use crate::s3::SlowDown;

/// Memory that a key needs in addition to its text and that of its version, in bytes: its places in the request, the
/// response and the maps of outcomes, and its result with a short error message.
const PER_KEY: u64 = 1024;

/// How many times the text of a key and its version is held while a batch is in flight.
const COPIES: u64 = 8;

/// The batches of one call, in the order in which they were sent. Each is a task, so it proceeds even while the caller
/// is not reading results. Dropping this cancels the requests; any object of their batches may have been deleted.
///
/// At most `max_concurrency` batches (one without bulk deletes) exist, including those whose results have not been
/// taken, and fewer after S3 has throttled a batch.
#[derive(Debug)]
pub struct DeleteBatches {
    store: S3Store,
    in_flight: VecDeque<InFlight>,
    window: Window,
    singles: Arc<Semaphore>,
}

/// The permission to send one batch.
#[derive(Debug)]
pub struct BatchRoom(Option<Reservation>);

/// The results of a batch.
#[derive(Debug)]
pub struct DeletedBatch {
    /// The outcome for each object, in order.
    pub outcomes: Vec<Result<Deleted, Error>>,
    /// The memory of the batch. Drop it when the caller has received the results.
    pub memory: Option<Reservation>,
}

#[derive(Debug)]
struct InFlight {
    task: AbortOnDropHandle<Outcomes>,
    objects: usize,
    slow_down: SlowDown,
    /// The round of the window in which the batch was sent.
    round: u64,
    memory: Option<Reservation>,
}

impl S3Store {
    /// Begins to delete objects in batches.
    pub fn delete_batches(&self) -> DeleteBatches {
        let settings = self.settings();
        // Without bulk deletes, one batch has enough objects for all the requests that may be made at once.
        let max = if settings.disable_bulk_delete { 1 } else { settings.transfer.max_concurrency };
        DeleteBatches {
            store: self.clone(),
            in_flight: VecDeque::new(),
            window: Window::new(max),
            singles: Arc::new(Semaphore::new(SINGLES)),
        }
    }
}

impl DeleteBatches {
    /// Whether no batch is in flight.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether another batch may be in flight, if there is memory for it.
    pub fn has_room(&mut self) -> bool {
        self.notice_throttling();
        self.in_flight.len() < self.window.size()
    }

    /// Room for a batch of this many objects, whose keys and versions have `text` bytes. Never waits. If no batch is in
    /// flight, there is always room, so that a call proceeds even without free memory; any other batch reserves its
    /// memory.
    pub fn room(&mut self, objects: usize, text: u64) -> Option<BatchRoom> {
        if !self.has_room() {
            return None;
        }
        if self.is_empty() {
            return Some(BatchRoom(None));
        }
        let bytes = (objects as u64).saturating_mul(PER_KEY).saturating_add(text.saturating_mul(COPIES));
        Some(BatchRoom(Some(self.store.inner.budget.reserve_ahead(bytes)?)))
    }

    /// Sends a batch of up to 1,000 objects.
    pub fn send(&mut self, BatchRoom(memory): BatchRoom, objects: Vec<ObjectId>) {
        let slow_down = SlowDown::default();
        let batch = Batch::new(&self.store, slow_down.clone(), Arc::clone(&self.singles));
        self.in_flight.push_back(InFlight {
            objects: objects.len(),
            task: AbortOnDropHandle::new(self.store.inner.tasks.spawn(batch.delete(objects))),
            slow_down,
            round: self.window.round(),
            memory,
        });
    }

    /// Waits for the results of the oldest batch in flight. `None` if none is in flight. Cancel safe.
    pub async fn next(&mut self) -> Option<DeletedBatch> {
        let ended = (&mut self.in_flight.front_mut()?.task).await;
        self.notice_throttling();
        let InFlight { objects, slow_down, round, memory, .. } = self.in_flight.pop_front()?;
        // A batch without objects made no request.
        if objects > 0 && !slow_down.is_recorded() {
            self.window.clean(round);
        }
        let stopped = |_| vec![Err(Error::new(ErrorKind::Internal, "the delete task was stopped")); objects];
        Some(DeletedBatch { outcomes: ended.unwrap_or_else(stopped), memory })
    }

    /// Adapts the window to the batches that S3 has throttled, including those that are still being retried.
    fn notice_throttling(&mut self) {
        let count = self.in_flight.len();
        for batch in self.in_flight.iter().filter(|batch| batch.slow_down.is_recorded()) {
            self.window.throttled(batch.round, count);
        }
    }
}
