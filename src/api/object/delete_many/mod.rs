//! `DeleteMany`: collects keys into batches, several of which are in flight at once, and returns a result for each key,
//! in order.

mod in_flight;
mod pending;
mod results;

use futures::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};

use self::{in_flight::InFlight, pending::Pending};
use super::Messages;
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, store_name},
    },
    auth::{Access, Scope},
    pb,
    store::Reservation,
};

/// The maximum number of keys in a message. Waiting keys use memory in addition to the message, and one message could
/// hold millions of empty keys.
const MAX_KEYS_PER_MESSAGE: usize = 10_000;

/// The results, in the order requested.
///
/// Batches are sent, and messages are read, while the stream is polled. A batch that has been sent proceeds without
/// being polled, and counts as in flight until its results have been taken. The caller's messages are read only while
/// there is room for another batch, so a caller that sends faster than S3 deletes, or that does not read the results,
/// is slowed down.
///
/// If the stream is dropped, the S3 requests are cancelled, and keys that were already sent to S3 may or may not have
/// been deleted. A failure of the call is returned after the results of the batches in flight.
pub(super) fn results(
    call: Call,
    messages: Streaming<pb::DeleteManyRequest>,
) -> Messages<pb::DeleteManyResponse> {
    let deletion = Deletion {
        call,
        messages,
        target: None,
        named: 0,
        pending: Pending::default(),
        taken: None,
        ended: false,
        failure: None,
    };
    stream::unfold(deletion, |mut deletion| async {
        let results = deletion.next().await?;
        Some((results.map_err(|failure| deletion.call.fail(failure)), deletion))
    })
    .boxed()
}

struct Deletion {
    call: Call,
    messages: Streaming<pb::DeleteManyRequest>,
    /// Set by the first message.
    target: Option<Target>,
    /// The number of keys in all messages.
    named: u64,
    pending: Pending,
    /// The memory of the results that were returned last.
    taken: Option<Reservation>,
    /// Whether all messages have been read.
    ended: bool,
    /// The failure that the call ends with.
    failure: Option<Failure>,
}

/// The store that the call deletes from.
struct Target {
    store: String,
    in_flight: InFlight,
}

enum Event {
    /// The results of the oldest batch in flight; `None` if no batch is in flight.
    Results(Option<pb::DeleteManyResponse>),
    /// The caller's next message; `None` at the end.
    Message(Result<Option<pb::DeleteManyRequest>, Status>),
    /// The first waiting key has waited long enough for others.
    Due,
}

impl Deletion {
    /// The results of the next batch; `None` at the end.
    async fn next(&mut self) -> Option<Result<pb::DeleteManyResponse, Failure>> {
        self.taken = None;
        let mut is_due = false;
        loop {
            let waits_for_more = !is_due && !self.ended && !self.pending.is_full();
            if !waits_for_more && self.send().await {
                is_due = false;
                continue;
            }
            let reads = waits_for_more && self.has_room();
            match self.event(reads).await {
                Event::Results(Some(results)) => return Some(Ok(results)),
                Event::Results(None) => return self.failure.take().map(Err),
                Event::Message(Ok(Some(message))) => {
                    if let Err(failure) = self.take(message) {
                        self.end_with(failure);
                    }
                }
                Event::Message(Ok(None)) => self.ended = true,
                Event::Message(Err(status)) => self.end_with(Failure::stream(status)),
                Event::Due => is_due = true,
            }
        }
    }

    /// Waits for the results of the oldest batch in flight and, if it `reads`, also for a message or until a batch is
    /// due.
    async fn event(&mut self, reads: bool) -> Event {
        let Self { call, messages, target, pending, taken, .. } = self;
        let results = async {
            let (entries, deleted) = target.as_mut()?.in_flight.next().await?;
            results::log(call, &entries, &deleted.outcomes);
            *taken = deleted.memory;
            Some(pb::DeleteManyResponse { results: results::merge(entries, deleted.outcomes) })
        };
        if !reads {
            return Event::Results(results.await);
        }
        let due = async {
            match pending.due() {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        // None of the futures loses anything when it is dropped: the part of the next message that has arrived stays in
        // the stream. A message that has arrived goes before the delay, so that it joins the batch.
        tokio::select! {
            biased;
            Some(results) = results => Event::Results(Some(results)),
            message = messages.message() => Event::Message(message),
            () = due => Event::Due,
        }
    }

    /// Whether there may be room for another batch. Before the first message, there is.
    fn has_room(&mut self) -> bool {
        self.target.as_mut().is_none_or(|target| target.in_flight.has_room())
    }

    /// Sends the next batch, if keys wait and there is room. Returns whether it took one. If the audit log has no room
    /// for the keys, they are not deleted, and the call ends.
    async fn send(&mut self) -> bool {
        let Some(target) = self.target.as_mut().filter(|_| !self.pending.is_empty()) else { return false };
        let Some(batch) = target.in_flight.take(&mut self.pending) else { return false };
        if self.call.is_audited()
            && let Err(failure) = self.call.audit_keys(&batch.objects()).await
        {
            self.end_with(failure);
            return true;
        }
        target.in_flight.send(batch);
        true
    }

    fn take(&mut self, message: pb::DeleteManyRequest) -> Result<(), Failure> {
        let name = match &self.target {
            None => {
                let store = self.call.open(Access::Delete, &message.store, Scope::Store)?;
                let name = store_name(&message.store).to_owned();
                &self.target.insert(Target { store: name, in_flight: InFlight::new(&store) }).store
            }
            Some(Target { store, .. }) if message.store.is_empty() || message.store == *store => store,
            Some(_) => {
                return Err(Failure::field("store", "must be empty or the same as in the first message"));
            }
        };
        self.named += message.objects.len() as u64;
        self.call.check_keys(self.named)?;
        if message.objects.len() > MAX_KEYS_PER_MESSAGE {
            let found = message.objects.len();
            return Err(Failure::field(
                "objects",
                format!("must have at most {MAX_KEYS_PER_MESSAGE} entries, not {found}"),
            ));
        }
        for object in message.objects {
            let outcome = check(&self.call, name, &object).err();
            self.pending.push(object, outcome, Instant::now());
        }
        Ok(())
    }

    /// Ends the call with `failure`. Keys that wait are not deleted. The batches in flight are completed, unless no
    /// caller is left to receive their results.
    fn end_with(&mut self, failure: Failure) {
        self.ended = true;
        self.pending.clear();
        if failure.is_cancellation() {
            self.target = None;
        }
        self.failure = Some(failure);
    }
}

/// Validates a key and checks the caller's grant before S3 is involved.
fn check(call: &Call, store: &str, object: &pb::ObjectId) -> Result<(), Failure> {
    convert::key(&object.key, "key")?;
    convert::version(object.version.clone(), "version")?;
    call.permit(Access::Delete, store, Scope::Key(&object.key))
}
