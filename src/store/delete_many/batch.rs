//! Deletes the objects of one batch.

use std::{collections::HashMap, sync::Arc};

use futures::stream::{self, StreamExt};
use tokio::sync::Semaphore;

use crate::{
    s3::{SlowDown, can_be_listed},
    store::{Deleted, Error, ErrorKind, Field, ObjectId, S3Store},
};

/// Maximum number of objects that a call deletes at the same time with a request for each of them.
pub(super) const SINGLES: usize = 16;

/// The outcome for each object of a batch, in order.
pub(super) type Outcomes = Vec<Result<Deleted, Error>>;

/// What the requests of one batch need.
#[derive(Debug)]
pub(super) struct Batch {
    store: S3Store,
    slow_down: SlowDown,
    /// Permits for single-object requests, shared by all batches of the call.
    singles: Arc<Semaphore>,
}

impl Batch {
    /// A batch that records in `slow_down` if S3 throttles it.
    pub(super) fn new(store: &S3Store, slow_down: SlowDown, singles: Arc<Semaphore>) -> Self {
        let client = store.client().recording(slow_down.clone());
        Self { store: S3Store { client, ..store.clone() }, slow_down, singles }
    }

    /// Deletes up to 1,000 objects. If the future is dropped, any of them may have been deleted.
    pub(super) async fn delete(self, objects: Vec<ObjectId>) -> Outcomes {
        let together = !self.store.settings().disable_bulk_delete;
        let mut outcomes = if together { self.delete_together(&objects).await } else { HashMap::new() };
        // An object gets its own request if the batch's request cannot carry its key, if it failed for a temporary
        // reason, or if the response does not mention it.
        let left: Vec<_> = objects.iter().filter(|object| !outcomes.contains_key(*object)).cloned().collect();
        let singles = stream::iter(left).map(|object| {
            let (store, singles) = (self.store.clone(), Arc::clone(&self.singles));
            async move {
                let _permit = singles.acquire().await;
                let outcome = store.delete(&object).await;
                (object, outcome)
            }
        });
        outcomes.extend(singles.buffer_unordered(SINGLES).collect::<Vec<_>>().await);
        let missing = || Err(Error::new(ErrorKind::Internal, "a key has no outcome"));
        objects.iter().map(|object| outcomes.get(object).cloned().unwrap_or_else(missing)).collect()
    }

    async fn delete_together(&self, objects: &[ObjectId]) -> HashMap<ObjectId, Result<Deleted, Error>> {
        let mut outcomes = HashMap::new();
        let mut batch = Vec::new();
        for object in objects.iter().filter(|object| can_be_listed(&object.key)) {
            match self.store.full_key(&object.key, Field::Key) {
                Ok(key) => batch.push((object, ObjectId { key, version: object.version.clone() })),
                Err(error) => drop(outcomes.insert(object.clone(), Err(error))),
            }
        }
        if batch.is_empty() {
            return outcomes;
        }
        let full: Vec<_> = batch.iter().map(|(_, full)| full.clone()).collect();
        match self.store.client().delete_objects(&full).await {
            Ok(mut answered) => {
                answered.values().filter_map(|outcome| outcome.as_ref().err()).for_each(|error| {
                    self.slow_down.record(error);
                });
                let answered = batch
                    .into_iter()
                    .filter_map(|(object, full)| Some((object.clone(), answered.remove(&full)?)));
                let settled = answered.filter(|(_, outcome)| !may_succeed_yet(outcome));
                outcomes.extend(settled.map(|(object, outcome)| (object, missing_is_deleted(outcome))));
            }
            Err(error) if error.kind() == ErrorKind::OperationNotSupported => {}
            Err(error) => {
                outcomes.extend(batch.into_iter().map(|(object, _)| (object.clone(), Err(error.clone()))));
            }
        }
        outcomes
    }
}

/// Whether a key failed for a temporary reason. It then gets its own request, with retries.
fn may_succeed_yet(outcome: &Result<Deleted, Error>) -> bool {
    let kind = outcome.as_ref().err().map(Error::kind);
    matches!(
        kind,
        Some(
            ErrorKind::Throttled
                | ErrorKind::BackendUnavailable
                | ErrorKind::BackendTimeout
                | ErrorKind::Conflict
        )
    )
}

/// Turns a missing key into a success, as in S3. Some servers report it as an error.
fn missing_is_deleted(outcome: Result<Deleted, Error>) -> Result<Deleted, Error> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(Deleted::default()),
        other => other,
    }
}
