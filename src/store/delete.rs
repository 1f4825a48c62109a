//! Deletes one object, or many.

use std::collections::HashMap;

use futures::stream::{self, StreamExt};

use super::{Deleted, Error, ErrorKind, Field, ObjectId, S3Store};
use crate::s3::can_be_listed;

/// Maximum number of keys that are deleted at the same time, each with its own request.
const SINGLES: usize = 16;

impl S3Store {
    /// Deletes one object or version. Deleting a missing key succeeds, as in S3.
    pub async fn delete(&self, object: &ObjectId) -> Result<Deleted, Error> {
        let full = self.full_key(&object.key, Field::Key)?;
        let outcome = self.client().delete_object(&full, object.version.as_deref(), None).await;
        match outcome {
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(Deleted::default()),
            other => other,
        }
    }

    /// Deletes up to 1,000 objects, and returns one outcome for each, in order. If the future is dropped, any of them
    /// may have been deleted.
    pub async fn delete_many(&self, objects: &[ObjectId]) -> Vec<Result<Deleted, Error>> {
        let by_batch = !self.settings().disable_bulk_delete;
        let mut outcomes = if by_batch { self.delete_batch(objects).await } else { HashMap::new() };
        // A key gets its own request if no batch can carry it, if it failed for a temporary reason, or if the
        // response does not mention it.
        let left: Vec<_> = objects.iter().filter(|object| !outcomes.contains_key(*object)).cloned().collect();
        let singles = stream::iter(left).map(|object| {
            let store = self.clone();
            async move {
                let outcome = store.delete(&object).await;
                (object, outcome)
            }
        });
        outcomes.extend(singles.buffer_unordered(SINGLES).collect::<Vec<_>>().await);
        let missing = || Err(Error::new(ErrorKind::Internal, "a key has no outcome"));
        objects.iter().map(|object| outcomes.get(object).cloned().unwrap_or_else(missing)).collect()
    }

    async fn delete_batch(&self, objects: &[ObjectId]) -> HashMap<ObjectId, Result<Deleted, Error>> {
        let mut outcomes = HashMap::new();
        let mut batch = Vec::new();
        for object in objects.iter().filter(|object| can_be_listed(&object.key)) {
            match self.full_key(&object.key, Field::Key) {
                Ok(key) => batch.push((object, ObjectId { key, version: object.version.clone() })),
                Err(error) => drop(outcomes.insert(object.clone(), Err(error))),
            }
        }
        if batch.is_empty() {
            return outcomes;
        }
        let full: Vec<_> = batch.iter().map(|(_, full)| full.clone()).collect();
        match self.client().delete_objects(&full).await {
            Ok(mut answered) => {
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
