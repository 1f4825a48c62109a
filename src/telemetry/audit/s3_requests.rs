//! The ids that S3 gave to the requests of a call.

use std::sync::{Arc, Mutex, PoisonError};

/// The maximum number of ids that a line has.
const MAX: usize = 16;

/// The maximum length of an id, in bytes.
const MAX_ID: usize = 128;

/// The first ids of a call's S3 responses, and how many responses there were. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub struct S3Requests(Arc<Mutex<Recorded>>);

#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) ids: Vec<Box<str>>,
    pub(super) responses: u64,
}

impl S3Requests {
    /// Records a response with the value of its header `x-amz-request-id`.
    pub fn record(&self, id: Option<&str>) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recorded.responses += 1;
        if let Some(id) = id.filter(|id| !id.is_empty() && id.len() <= MAX_ID)
            && recorded.ids.len() < MAX
        {
            recorded.ids.push(id.into());
        }
    }

    pub(super) fn recorded(&self) -> Recorded {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
