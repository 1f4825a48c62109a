//! `DeleteMany`: keys in, batched, and a result for each in order.

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
        status::{Side, reason_name, verdict},
    },
    auth::{Access, Scope},
    pb,
    store::{Deleted, Error, ObjectId, S3Store},
    telemetry::{cut, truncate},
};

/// The most bytes of a key and of a version in a result, so that a response of [`BATCH`] results fits the 4 MiB that clients
/// take.
const MAX_NAME: usize = 1536;

/// The most bytes of the message of one key's error.
const MAX_MESSAGE: usize = 512;

/// How many keys S3 takes in one request.
const BATCH: usize = 1000;

/// How long a key waits for others: a caller that waits for each answer before it asks for more gets on.
const PATIENCE: Duration = Duration::from_millis(20);

/// The results, in the order asked.
///
/// Dropped, it drops the requests to S3; what was sent on before may be deleted or not. The caller's messages are
/// read only while there is room in a batch, so one that sends faster than S3 deletes is slowed down.
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
    /// The store by its name, from the first message on.
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
                More::Silence => break,
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
        // Dropping `message` loses nothing: what has arrived of the next message stays in the stream.
        let message = match self.pending.since {
            Some(since) => match tokio::time::timeout_at(since + PATIENCE, self.messages.message()).await {
                Ok(message) => message,
                Err(_) => return Ok(More::Silence),
            },
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
            Some(_) => return Err(Failure::field("store", "differs from that of the first message")),
        };
        if message.objects.len() > MOST_IN_A_MESSAGE {
            let found = message.objects.len();
            return Err(Failure::field(
                "objects",
                format!("has {found} entries: send at most {MOST_IN_A_MESSAGE}"),
            ));
        }
        for object in message.objects {
            let outcome = check(&self.call, name, &object).err();
            self.pending.push(object, outcome, Instant::now());
        }
        Ok(())
    }
}

/// Keys that wait cost memory of their own, and one message of empty ones could hold millions.
const MOST_IN_A_MESSAGE: usize = 10_000;

enum More {
    Message(pb::DeleteManyRequest),
    Silence,
    End,
}

/// What is wrong with a key before S3 is asked.
fn check(call: &Call, store: &str, object: &pb::ObjectId) -> Result<(), Failure> {
    convert::key(&object.key, "key")?;
    convert::version(object.version.clone(), "version")?;
    call.permit(Access::Delete, store, Scope::Key(&object.key))
}

/// Keys that wait to be sent on.
#[derive(Debug, Default)]
struct Pending {
    entries: VecDeque<Entry>,
    /// When the first of them came.
    since: Option<Instant>,
    /// How many keys the call had before.
    count: u64,
}

/// One key in its place, with what is wrong with it already.
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

    /// The next keys in order, as many as go at once.
    fn batch(&mut self) -> Vec<Entry> {
        let batch = self.entries.drain(..self.entries.len().min(BATCH)).collect();
        self.since = self.entries.front().map(|entry| entry.since);
        batch
    }
}

/// The keys in their places, and apart from them those that are worth asking S3 for.
fn split(batch: Vec<Entry>) -> (Vec<Entry>, Vec<ObjectId>) {
    let wanted = batch.iter().filter(|entry| entry.failure.is_none()).map(|entry| ObjectId {
        key: entry.object.key.clone(),
        version: Some(entry.object.version.clone()).filter(|version| !version.is_empty()),
    });
    let wanted = wanted.collect();
    (batch, wanted)
}

/// A result for each key: what was wrong with it before, or what came of it, in order.
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
    let (_, reason, _) = failure.verdict();
    pb::DeleteError {
        reason: reason_name(reason).to_owned(),
        s3_code: failure.s3_code().to_owned(),
        message: cut(&failure.message(), MAX_MESSAGE).into_owned(),
    }
}

/// A key or a version, cut where it is longer than any that S3 takes.
fn shortened(text: String) -> String {
    if text.len() > MAX_NAME { truncate(&text, MAX_NAME).into_owned() } else { text }
}

/// Failures of keys that are not the caller's are in the response only in part: the log has the first of a batch.
fn log(call: &Call, entries: &[Entry], outcomes: &[Result<Deleted, Error>]) {
    let asked = entries.iter().filter(|entry| entry.failure.is_none());
    let failures = asked.zip(outcomes).filter_map(|(entry, outcome)| Some((entry, outcome.as_ref().err()?)));
    let mut failures = failures.filter(|(_, error)| verdict(error.kind()).2 != Side::Caller);
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
    fn a_response_of_a_whole_batch_fits_a_message_whatever_its_texts_are() {
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
    fn keys_go_in_batches_of_a_thousand_in_order() {
        let mut pending = Pending::default();
        let (early, late) = (Instant::now(), Instant::now() + PATIENCE);
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
    fn the_index_goes_on_over_batches() {
        let mut pending = Pending::default();
        pending.push(object("a"), None, Instant::now());
        pending.batch();
        pending.push(object("b"), None, Instant::now());
        assert_eq!(pending.batch()[0].index, 1);
    }

    #[test]
    fn each_key_gets_its_own_result_whoever_it_comes_from() {
        let mut pending = Pending::default();
        pending.push(object("a"), None, Instant::now());
        pending.push(object(""), Some(Failure::field("key", "is required")), Instant::now());
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
