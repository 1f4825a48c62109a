//! Failures of single objects, in calls that continue after them.

use crate::{
    api::{failure::Failure, gate::Call, status::reason_name},
    pb,
    store::Error,
    telemetry::{cut, truncate},
};

/// The maximum length of a key in a message, in bytes: more than S3 allows.
const MAX_KEY: usize = 1536;

/// The maximum length of the description of a failure, in bytes, so that a message with 1,000 failures fits into the
/// 4 MiB that clients accept.
const MAX_MESSAGE: usize = 512;

/// The failures of one message. When they are taken, the first one is logged, because responses do not contain all
/// details.
pub(super) struct Failures<'a> {
    call: &'a Call,
    first: Option<(String, Error)>,
    messages: Vec<pb::KeyFailure>,
}

impl<'a> Failures<'a> {
    pub(super) fn new(call: &'a Call) -> Self {
        Self { call, first: None, messages: Vec::new() }
    }

    pub(super) fn add(&mut self, key: &str, error: &Error) {
        self.first.get_or_insert_with(|| (key.to_owned(), error.clone()));
        self.messages.push(key_failure(key, &self.call.beyond_limit(error.clone())));
    }

    pub(super) fn into_messages(self) -> Vec<pb::KeyFailure> {
        if let Some((key, error)) = &self.first {
            self.call.log_partial_failure(key, error, self.messages.len());
        }
        self.messages
    }
}

fn key_failure(key: &str, failure: &Failure) -> pb::KeyFailure {
    let (_, reason, _) = failure.classify();
    pb::KeyFailure {
        key: truncate(key, MAX_KEY).into_owned(),
        reason: reason_name(reason).to_owned(),
        s3_code: failure.s3_code().to_owned(),
        message: cut(&failure.message(), MAX_MESSAGE).into_owned(),
    }
}
