//! Counts the requests that the backend receives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::Method;
use serde::{Deserialize, Serialize};

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Get,
    Head,
    Put,
    UploadPart,
    CreateUpload,
    CompleteUpload,
    Delete,
    DeleteBatch,
    Other,
}

impl Kind {
    pub(super) fn of(method: &Method, key: &str, query: &str) -> Self {
        let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        match *method {
            Method::GET if key.is_empty() => Self::List,
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::PUT if has("uploadId") => Self::UploadPart,
            Method::PUT => Self::Put,
            Method::POST if has("uploads") => Self::CreateUpload,
            Method::POST if has("uploadId") => Self::CompleteUpload,
            Method::POST if has("delete") => Self::DeleteBatch,
            Method::DELETE => Self::Delete,
            _ => Self::Other,
        }
    }
}

/// The number of requests of each kind since the backend started.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    pub(crate) list: u64,
    pub(crate) get: u64,
    pub(crate) head: u64,
    pub(crate) put: u64,
    pub(crate) upload_part: u64,
    pub(crate) create_upload: u64,
    pub(crate) complete_upload: u64,
    pub(crate) delete: u64,
    pub(crate) delete_batch: u64,
    pub(crate) other: u64,
    /// The number of requests whose response is not complete.
    pub(crate) in_flight: u64,
    /// The maximum of `in_flight` since the previous query.
    pub(crate) most_in_flight: u64,
}

impl Requests {
    fn of(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::List => &mut self.list,
            Kind::Get => &mut self.get,
            Kind::Head => &mut self.head,
            Kind::Put => &mut self.put,
            Kind::UploadPart => &mut self.upload_part,
            Kind::CreateUpload => &mut self.create_upload,
            Kind::CompleteUpload => &mut self.complete_upload,
            Kind::Delete => &mut self.delete,
            Kind::DeleteBatch => &mut self.delete_batch,
            Kind::Other => &mut self.other,
        }
    }
}

/// The counts, shared by all connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<Mutex<Requests>>);

/// A request that is in flight until this is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Counter);

impl Counter {
    pub(super) fn begin(&self, kind: Kind) -> InFlight {
        let mut requests = self.lock();
        *requests.of(kind) += 1;
        requests.in_flight += 1;
        requests.most_in_flight = requests.most_in_flight.max(requests.in_flight);
        InFlight(self.clone())
    }

    /// Returns the counts as JSON, and resets the maximum.
    pub(super) fn json(&self) -> String {
        let mut requests = self.lock();
        let text = serde_json::to_string(&*requests).unwrap_or_default();
        requests.most_in_flight = requests.in_flight;
        text
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}
