//! Records that S3 asks for fewer requests.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::{Error, ErrorKind};

/// Whether S3 has throttled any of a client's requests, or a key in one of them. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlowDown(Arc<AtomicBool>);

impl SlowDown {
    /// Records `error` if it asks for fewer requests. S3 does so with SlowDown, and with any other answer of status 503
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
    pub(crate) fn record(&self, error: &Error) {
        let unavailable = error.service().is_some_and(|service| service.http_status == 503);
        if error.kind() == ErrorKind::Throttled || unavailable {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Whether any error asked for fewer requests.
    pub(crate) fn is_recorded(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
