//! `DeleteMany`: collects keys into batches and returns a result for each key, in order.

use std::{collections::VecDeque, time::Duration};

use futures::stream::{self, StreamExt as _};
use tokio::time::Instant;
use tonic::Streaming;

use super::Messages;
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, store_name},
        status::{Fault, classify, reason_name},
    },
    auth::{Access, Scope},
    pb,
    store::{Deleted, Error, ObjectId, S3Store},
    telemetry::{cut, truncate},
};

/// The maximum length of a key and of a version in a result, in bytes, so that a response of [`BATCH`] results fits
/// into the 4 MiB that clients accept.
const MAX_NAME: usize = 1536;

/// The maximum length of the error message for one key, in bytes.
const MAX_MESSAGE: usize = 512;

/// The maximum number of keys that S3 accepts in one request.
const BATCH: usize = 1000;

/// How long a key waits for more keys. The limit lets a caller wait for each response before it sends more keys.
const BATCH_DELAY: Duration = Duration::from_millis(20);

/// The results, in the order requested.
///
/// If the stream is dropped, the S3 requests are cancelled, and keys that were already sent to S3 may or may not have
/// been deleted. The caller's messages are read only while a batch has room, so a caller that sends faster than S3
/// deletes is slowed down.
pub(super) fn results(
    call: Call,
    messages: Streaming<pb::DeleteManyRequest>,
) -> Messages<pb::DeleteManyResponse> {
    let deletion = Deletion { call, messages, store: None, pending: Pending::default(), ended: false };
    stream::unfold(deletion, |mut deletion| async {
        let item = match deletion.next().await {
            Ok(results) => Ok(results?),
            Err(failure) => {
                deletion.ended = true;
                deletion.pending = Pending::default();
                Err(deletion.call.fail(failure))
            }
        };
        Some((item, deletion))
    })
    .boxed()
}

struct Deletion {
    call: Call,
    messages: Streaming<pb::DeleteManyRequest>,
    /// The store and its name, set by the first message.
    store: Option<(String, S3Store)>,
    pending: Pending,
    ended: bool,
}

impl Deletion {
    /// The results of the next batch; `None` at the end.
    async fn next(&mut self) -> Result<Option<pb::DeleteManyResponse>, Failure> {
        while !self.ended && self.pending.len() < BATCH {
            match self.more().await? {
                More::Message(message) => self.take(message)?,
                More::TimedOut => break,
                More::End => self.ended = true,
            }
        }
        let batch = self.pending.batch();
        let Some((_, store)) = self.store.as_ref().filter(|_| !batch.is_empty()) else {
            return Ok(None);
        };
        let (entries, objects) = split(batch);
        let outcomes = if objects.is_empty() { Vec::new() } else { store.delete_many(&objects).await };
        log(&self.call, &entries, &outcomes);
        Ok(Some(pb::DeleteManyResponse { results: merge(entries, outcomes) }))
    }

    async fn more(&mut self) -> Result<More, Failure> {
        // Dropping `message` loses nothing: the part of the next message that has arrived stays in the stream.
        let message = match self.pending.since {
            Some(since) => {
                match tokio::time::timeout_at(since + BATCH_DELAY, self.messages.message()).await {
                    Ok(message) => message,
                    Err(_) => return Ok(More::TimedOut),
                }
            }
            None => self.messages.message().await,
        };
        Ok(message.map_err(Failure::stream)?.map_or(More::End, More::Message))
    }

    fn take(&mut self, message: pb::DeleteManyRequest) -> Result<(), Failure> {
        let name = match &self.store {
            None => {
                let store = self.call.open(Access::Delete, &message.store, Scope::Store)?;
                let (name, _) = self.store.insert((store_name(&message.store).to_owned(), store));
                name
            }
            Some((name, _)) if message.store.is_empty() || message.store == *name => name,
            Some(_) => {
                return Err(Failure::field("store", "must be empty or the same as in the first message"));
            }
        };
        if message.objects.len() > MOST_IN_A_MESSAGE {
            let found = message.objects.len();
            return Err(Failure::field(
                "objects",
                format!("must have at most {MOST_IN_A_MESSAGE} entries, not {found}"),
            ));
        }
        for object in message.objects {
            let outcome = check(&self.call, name, &object).err();
            self.pending.push(object, outcome, Instant::now());
        }
        Ok(())
    }
}

/// The maximum number of keys in a message. Waiting keys use memory in addition to the message, and one message could
/// hold millions of empty keys.
const MOST_IN_A_MESSAGE: usize = 10_000;

enum More {
    Message(pb::DeleteManyRequest),
    TimedOut,
    End,
}

/// Validates a key and checks the caller's grant before S3 is involved.
fn check(call: &Call, store: &str, object: &pb::ObjectId) -> Result<(), Failure> {
    convert::key(&object.key, "key")?;
    convert::version(object.version.clone(), "version")?;
    call.permit(Access::Delete, store, Scope::Key(&object.key))
}

/// Keys that wait to be sent to S3.
#[derive(Debug, Default)]
struct Pending {
    entries: VecDeque<Entry>,
    /// When the first of them arrived.
    since: Option<Instant>,
    /// How many keys the call has received.
    count: u64,
}

/// One key and its index in the call, with its failure if it is already known.
#[derive(Debug)]
struct Entry {
    index: u64,
    object: pb::ObjectId,
    failure: Option<Failure>,
    since: Instant,
}

impl Pending {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn push(&mut self, object: pb::ObjectId, failure: Option<Failure>, now: Instant) {
        self.entries.push_back(Entry { index: self.count, object, failure, since: now });
        self.count += 1;
        self.since.get_or_insert(now);
    }

    /// The next batch of keys, in order.
    fn batch(&mut self) -> Vec<Entry> {
        let batch = self.entries.drain(..self.entries.len().min(BATCH)).collect();
        self.since = self.entries.front().map(|entry| entry.since);
        batch
    }
}

/// The batch, and the keys from it that must be sent to S3.
fn split(batch: Vec<Entry>) -> (Vec<Entry>, Vec<ObjectId>) {
    let wanted = batch.iter().filter(|entry| entry.failure.is_none()).map(|entry| ObjectId {
        key: entry.object.key.clone(),
        version: Some(entry.object.version.clone()).filter(|version| !version.is_empty()),
    });
    let wanted = wanted.collect();
    (batch, wanted)
}

/// The result of each key, in order: its earlier failure, or its outcome in S3.
fn merge(entries: Vec<Entry>, outcomes: Vec<Result<Deleted, Error>>) -> Vec<pb::DeleteResult> {
    let mut outcomes = outcomes.into_iter();
    let mut error = |failure: Option<Failure>| match failure {
        Some(failure) => Some(failure),
        None => match outcomes.next() {
            Some(outcome) => outcome.err().map(Failure::from),
            None => Some(Error::new(crate::store::ErrorKind::Internal, "the key has no result").into()),
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

/// A key or a version, cut if it is longer than S3 allows.
fn shortened(text: String) -> String {
    if text.len() > MAX_NAME { truncate(&text, MAX_NAME).into_owned() } else { text }
}

/// Responses do not contain all details of failures that the caller did not cause. The log has the first such failure
/// of a batch.
fn log(call: &Call, entries: &[Entry], outcomes: &[Result<Deleted, Error>]) {
    let asked = entries.iter().filter(|entry| entry.failure.is_none());
    let failures = asked.zip(outcomes).filter_map(|(entry, outcome)| Some((entry, outcome.as_ref().err()?)));
    let mut failures = failures.filter(|(_, error)| classify(error.kind()).2 != Fault::Caller);
    if let Some((entry, error)) = failures.next() {
        call.log_partial_failure(&entry.object.key, error, failures.count() + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ErrorKind, ServiceDetails};

    fn object(key: &str) -> pb::ObjectId {
        pb::ObjectId { key: key.to_owned(), version: String::new() }
    }

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
    fn keys_are_sent_in_batches_of_a_thousand_in_order() {
        let mut pending = Pending::default();
        let (early, late) = (Instant::now(), Instant::now() + BATCH_DELAY);
        for n in 0..2500 {
            pending.push(object(&n.to_string()), None, if n < 1500 { early } else { late });
        }
        let sizes: Vec<_> = std::iter::from_fn(|| {
            let batch = pending.batch();
            batch.first().map(|entry| (entry.index, batch.len(), pending.since))
        })
        .collect();
        assert_eq!(sizes, [(0, 1000, Some(early)), (1000, 1000, Some(late)), (2000, 500, None)]);
    }

    #[test]
    fn indexes_continue_across_batches() {
        let mut pending = Pending::default();
        pending.push(object("a"), None, Instant::now());
        pending.batch();
        pending.push(object("b"), None, Instant::now());
        assert_eq!(pending.batch()[0].index, 1);
    }

    #[test]
    fn results_of_validation_and_of_s3_are_merged_in_order() {
        let mut pending = Pending::default();
        pending.push(object("a"), None, Instant::now());
        pending.push(object(""), Some(Failure::field("key", "must not be empty")), Instant::now());
        pending.push(object("c"), None, Instant::now());
        pending.push(object("d"), None, Instant::now());
        let (entries, objects) = split(pending.batch());
        assert_eq!(objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["a", "c", "d"]);
        let denied = Error::new(ErrorKind::AccessDenied, "S3 does not allow it")
            .with_service(ServiceDetails { code: "AccessDenied".to_owned(), ..Default::default() });
        let results = merge(entries, vec![Ok(Deleted::default()), Err(denied)]);
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
