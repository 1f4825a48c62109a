//! The results of a batch.

use super::pending::Entry;
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::Call,
        status::{Fault, classify, reason_name},
    },
    pb,
    store::{Deleted, Error, ErrorKind},
    telemetry::{cut, truncate},
};

/// The maximum length of a key and of a version in a result, in bytes, so that a response for a full batch fits into
/// the 4 MiB that clients accept.
const MAX_NAME: usize = 1536;

/// The maximum length of the error message for one key, in bytes.
const MAX_MESSAGE: usize = 512;

/// The result of each key, in order: its earlier failure, or its outcome in S3.
pub(super) fn merge(entries: Vec<Entry>, outcomes: Vec<Result<Deleted, Error>>) -> Vec<pb::DeleteResult> {
    let mut outcomes = outcomes.into_iter();
    let mut error = |failure: Option<Failure>| match failure {
        Some(failure) => Some(failure),
        None => match outcomes.next() {
            Some(outcome) => outcome.err().map(Failure::from),
            None => Some(Error::new(ErrorKind::Internal, "the key has no result").into()),
        },
    };
    let result = |entry: Entry| pb::DeleteResult {
        index: convert::signed(entry.index),
        key: shortened(entry.object.key),
        version: shortened(entry.object.version),
        error: error(entry.failure).map(|failure| delete_error(&failure)),
    };
    entries.into_iter().map(result).collect()
}

fn delete_error(failure: &Failure) -> pb::DeleteError {
    let (_, reason, _) = failure.classify();
    pb::DeleteError {
        reason: reason_name(reason).to_owned(),
        s3_code: failure.s3_code().to_owned(),
        message: cut(&failure.message(), MAX_MESSAGE).into_owned(),
    }
}

/// A key or a version, cut to [`MAX_NAME`], which is more than S3 allows.
fn shortened(text: String) -> String {
    if text.len() > MAX_NAME { truncate(&text, MAX_NAME).into_owned() } else { text }
}

/// Responses do not contain all details of failures that the caller did not cause. The log has the first such failure
/// of a batch.
pub(super) fn log(call: &Call, entries: &[Entry], outcomes: &[Result<Deleted, Error>]) {
    let asked = entries.iter().filter(|entry| entry.failure.is_none());
    let failures = asked.zip(outcomes).filter_map(|(entry, outcome)| Some((entry, outcome.as_ref().err()?)));
    let mut failures = failures.filter(|(_, error)| classify(error.kind()).2 != Fault::Caller);
    if let Some((entry, error)) = failures.next() {
        call.log_partial_failure(&entry.object.key, error, failures.count() + 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{
        super::pending::{BATCH, Pending},
        *,
    };
    use crate::store::ServiceDetails;

    #[test]
    fn a_response_of_a_full_batch_fits_into_a_message() {
        use prost::Message as _;
        let long = "🚢".repeat(5_000);
        let mut pending = Pending::default();
        for _ in 0..BATCH {
            let object = pb::ObjectId { key: long.clone(), version: long.clone() };
            pending.push(object, Some(Failure::field("key", long.clone())), Instant::now());
        }
        let response = pb::DeleteManyResponse { results: merge(pending.batch(), Vec::new()) };
        assert_eq!(response.results.len(), BATCH);
        assert!(response.encoded_len() < 4 * 1024 * 1024, "{}", response.encoded_len());
    }

    #[test]
    fn results_of_validation_and_of_s3_are_merged_in_order() {
        let mut pending = Pending::default();
        let invalid = || Some(Failure::field("key", "must not be empty"));
        for (key, failure) in [("a", None), ("", invalid()), ("c", None), ("d", None)] {
            let object = pb::ObjectId { key: key.to_owned(), version: String::new() };
            pending.push(object, failure, Instant::now());
        }
        let denied = Error::new(ErrorKind::AccessDenied, "S3 does not allow it")
            .with_service(ServiceDetails { code: "AccessDenied".to_owned(), ..Default::default() });
        let results = merge(pending.batch(), vec![Ok(Deleted::default()), Err(denied)]);
        let told: Vec<_> = results
            .iter()
            .map(|result| {
                let error = result.error.as_ref();
                (result.index, result.key.as_str(), error.map_or("", |error| error.reason.as_str()))
            })
            .collect();
        assert_eq!(
            told,
            [(0, "a", ""), (1, "", "INVALID_FIELD"), (2, "c", "ACCESS_DENIED"), (3, "d", "INTERNAL")]
        );
        assert_eq!(results[2].error.as_ref().unwrap().s3_code, "AccessDenied");
    }
}
