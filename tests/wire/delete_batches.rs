//! The batches of one DeleteMany that are in flight together.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use longshore::{
    api::{Limits, MessagesLayer, Services, UploadSettings},
    auth::AuthMode,
    credentials::Providers,
    pb::{self, object_service_client::ObjectServiceClient},
    store::{DeleteBatches, MemoryBudget, S3Store, StoreSettings, TenantBudget},
    tasks::Tasks,
    telemetry::Metrics,
    tenants::{MemorySettings, Pool, Resources, Snapshot, TenantSettings},
};
use tokio::sync::{mpsc, watch};
use tonic::{Code, Request, Status, Streaming, service::Routes};
use tower::{Layer as _, ServiceExt as _};

use crate::{
    caller::framed,
    deleting::id,
    scripted::{Answer, Scripted, Seen, bytes, error, reply, reserved, sharing, store},
};

const BATCH: usize = 1000;

const LIMITS: Limits = Limits { max_message_bytes: 4 << 20, message_timeout: Duration::from_mins(1) };

/// Waits at most a minute, so that a test fails rather than hangs.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_mins(1), event).await.unwrap()
}

/// The services of a process with one store, without connections: a response is polled only while its test reads it.
fn routes(settings: StoreSettings, memory: MemorySettings) -> Routes {
    let tenant = TenantSettings::new("acme", BTreeMap::from([("default".to_owned(), settings)]));
    let resources = Resources::new(memory);
    let pool = Pool::new(Snapshot::new(vec![tenant], AuthMode::None, &resources));
    Services::new(pool, LIMITS, UploadSettings::default(), resources.metrics).routes()
}

async fn call(
    settings: StoreSettings,
    messages: impl Stream<Item = pb::DeleteManyRequest> + Send + 'static,
) -> Streaming<pb::DeleteManyResponse> {
    call_within(settings, MemorySettings::default(), messages).await
}

async fn call_within(
    settings: StoreSettings,
    memory: MemorySettings,
    messages: impl Stream<Item = pb::DeleteManyRequest> + Send + 'static,
) -> Streaming<pb::DeleteManyResponse> {
    let mut request = Request::new(messages);
    request.metadata_mut().insert("x-longshore-tenant", "acme".parse().unwrap());
    let mut client = ObjectServiceClient::new(routes(settings, memory));
    soon(client.delete_many(request)).await.unwrap().into_inner()
}

fn key(index: usize) -> String {
    format!("key-{index:05}")
}

/// The number of the batch that a request belongs to, if all batches of the call are full.
fn batch(seen: &Seen) -> usize {
    let text = if seen.method == "POST" { seen.text() } else { &seen.target };
    let index = text.split("key-").nth(1).unwrap()[..5].parse::<usize>().unwrap();
    index / BATCH
}

/// A message with the keys of these indexes.
fn message(indexes: std::ops::Range<usize>) -> pb::DeleteManyRequest {
    let objects = indexes.map(|index| pb::ObjectId { key: key(index), version: String::new() });
    pb::DeleteManyRequest { store: String::new(), objects: objects.collect() }
}

/// The response that all keys of a request are deleted, except that `failed` gets `code`.
fn deleted_except(seen: &Seen, failed: &str, code: &str) -> Vec<u8> {
    let keys = seen.text().split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap());
    let results = keys.map(|key| match key == failed {
        true => format!("<Error><Key>{key}</Key><Code>{code}</Code></Error>"),
        false => format!("<Deleted><Key>{key}</Key></Deleted>"),
    });
    let document = format!("<DeleteResult>{}</DeleteResult>", results.collect::<String>());
    bytes(200, &[], document.as_bytes())
}

fn deleted(seen: &Seen) -> Vec<u8> {
    deleted_except(seen, "", "")
}

/// Waits until the server has received a request of each of the first `count` batches.
async fn asked_batches(server: &Scripted, count: usize) {
    for number in 0..count {
        server.asked(|seen| seen.method == "POST" && batch(seen) == number).await;
    }
}

/// Lets everything run that can run now: a request of its own goes to the server and back.
async fn settle() {
    let server = Scripted::start(|_, _| reply(204, &[], "")).await;
    for _ in 0..20 {
        soon(server.store().delete(&id("settled"))).await.unwrap();
    }
}

/// Polls the call until `event`, before which it must return nothing.
async fn reading<T>(answers: &mut Streaming<pb::DeleteManyResponse>, event: impl Future<Output = T>) -> T {
    tokio::select! {
        answer = answers.message() => panic!("the call returned {answer:?}"),
        value = soon(event) => value,
    }
}

/// The index, the key and the reason of each result.
async fn results(mut answers: Streaming<pb::DeleteManyResponse>) -> Vec<(i64, String, String)> {
    let mut results = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        results.extend(answer.results);
    }
    let told = results.into_iter().map(|result| {
        (result.index, result.key, result.error.map_or_else(String::new, |error| error.reason))
    });
    told.collect()
}

fn expected(count: usize, reason: impl Fn(usize) -> &'static str) -> Vec<(i64, String, String)> {
    (0..count).map(|index| (i64::try_from(index).unwrap(), key(index), reason(index).to_owned())).collect()
}

#[tokio::test]
async fn ten_batches_are_in_flight_together_and_results_are_in_order() {
    // The first batch is the last that ends.
    let server = Scripted::start(|_, seen| {
        let pause = Duration::from_millis(if batch(seen) == 0 { 50 } else { 0 });
        Answer::Behind(10, pause, deleted(seen))
    })
    .await;
    let answers = call(server.settings(), stream::iter([message(0..10 * BATCH)])).await;
    assert_eq!(results(answers).await, expected(10 * BATCH, |_| ""));
    assert_eq!(server.seen().len(), 10);
}

#[tokio::test]
async fn a_batch_and_a_key_that_fail_do_not_affect_the_others() {
    let server = Scripted::start(|_, seen| match batch(seen) {
        1 => error(403, "AccessDenied"),
        2 => Answer::Reply(deleted_except(seen, &key(2005), "AccessDenied")),
        _ => Answer::Reply(deleted(seen)),
    })
    .await;
    let messages = (0..4).map(|batch| message(batch * BATCH..(batch + 1) * BATCH));
    let answers = call(server.settings(), stream::iter(messages)).await;
    let denied = |index: usize| if index / BATCH == 1 || index == 2005 { "ACCESS_DENIED" } else { "" };
    assert_eq!(results(answers).await, expected(4 * BATCH, denied));
}

#[tokio::test]
async fn the_requests_of_all_batches_end_with_the_call() {
    let mut server = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let mut answers = call(server.settings(), stream::iter([message(0..3 * BATCH)])).await;
    reading(&mut answers, asked_batches(&server, 3)).await;
    drop(answers);
    soon(server.all_hung_up(3)).await;
}

#[tokio::test]
async fn the_requests_end_if_the_messages_end_with_a_cancellation() {
    let server = Arc::new(Scripted::start(|_, _| Answer::Hang(Vec::new())).await);
    let settings = server.settings();
    let first = Bytes::from(framed(&[message(0..2)]));
    let watched = Arc::clone(&server);
    let cancelled = stream::once(async move {
        asked_batches(&watched, 1).await;
        Err(Status::cancelled("the caller has left"))
    });
    let body = stream::iter([Ok(Frame::data(first))]).chain(cancelled);
    let request = http::Request::post("/longshore.v1.ObjectService/DeleteMany")
        .header("content-type", "application/grpc")
        .header("x-longshore-tenant", "acme")
        .body(tonic::body::Body::new(StreamBody::new(body)))
        .unwrap();
    // This layer is the one that tells a cancellation from the end of the messages.
    let service = MessagesLayer::new(LIMITS).layer(routes(settings, MemorySettings::default()));
    let response = soon(service.oneshot(request)).await.unwrap();
    let ended = soon(response.into_body().collect()).await.unwrap();
    let status = Status::from_header_map(ended.trailers().unwrap()).unwrap();
    assert_eq!(status.code(), Code::Cancelled);
    soon(Arc::into_inner(server).unwrap().hung_up()).await;
}

#[tokio::test]
async fn the_tasks_of_dropped_batches_end() {
    let mut server = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let tasks = Tasks::default();
    let budget = TenantBudget::default();
    let store =
        S3Store::new(server.settings(), &Providers::default(), Metrics::default(), tasks.clone(), budget)
            .unwrap();
    let mut batches = store.delete_batches();
    for number in 0..2 {
        assert!(send(&mut batches, number * BATCH..number * BATCH + 2));
    }
    soon(asked_batches(&server, 2)).await;
    drop(batches);
    soon(tasks.drained()).await;
    soon(server.all_hung_up(2)).await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_at_most_max_concurrency_batches() {
    let (release, released) = watch::channel(false);
    let long_key = |index| key(index) + &"-".repeat(40);
    // The last batch ends with a request of its own for one key.
    let server = Scripted::start(move |_, seen| match (seen.method.as_str(), batch(seen)) {
        ("POST", 9) => Answer::Once(released.clone(), deleted_except(seen, &long_key(9500), "SlowDown")),
        ("POST", _) => Answer::Once(released.clone(), deleted(seen)),
        _ => reply(204, &[], ""),
    })
    .await;
    // Each message is larger than the piece in which tonic sends small ones together.
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pulled);
    let endless = stream::iter(0..).map(move |number| {
        counter.fetch_add(1, Ordering::Relaxed);
        let mut message = message(number * BATCH..(number + 1) * BATCH);
        message
            .objects
            .iter_mut()
            .zip(number * BATCH..)
            .for_each(|(object, index)| object.key = long_key(index));
        message
    });
    let mut answers = call(server.settings(), endless).await;
    reading(&mut answers, asked_batches(&server, 10)).await;
    reading(&mut answers, settle()).await;
    assert_eq!(server.seen().len(), 10);
    // At most one message more has arrived, in part.
    assert!(pulled.load(Ordering::Relaxed) <= 11);

    // From here on, the response is not polled: the batches proceed, and no other begins.
    release.send(true).unwrap();
    server.asked(|seen| seen.method == "DELETE").await;
    settle().await;
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "POST").count(), 10);
    assert!(pulled.load(Ordering::Relaxed) <= 11);

    let first = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!((first.results.len(), first.results[0].index), (BATCH, 0));
    while soon(answers.message()).await.unwrap().unwrap().results[0].index < 10_000 {}
}

#[tokio::test]
async fn a_caller_may_wait_for_each_response() {
    let server = Scripted::start(|_, seen| Answer::Reply(deleted(seen))).await;
    let (send, mut receive) = mpsc::channel(1);
    let messages = stream::poll_fn(move |context| receive.poll_recv(context));
    let mut answers = call(server.settings(), messages).await;
    for index in 0..3 {
        send.send(message(index..index + 1)).await.unwrap();
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.results.len(), 1);
        assert_eq!(answer.results[0].key, key(index));
    }
    drop(send);
    assert!(soon(answers.message()).await.unwrap().is_none());
}

/// Deletes four batches and requires that each begins when the results of the one before it are ready to be taken.
async fn assert_one_at_a_time(change: impl FnOnce(&mut StoreSettings), memory: MemorySettings) {
    let taken = Arc::new(AtomicUsize::new(0));
    let began = Arc::<Mutex<BTreeMap<usize, usize>>>::default();
    let (seen_taken, record) = (Arc::clone(&taken), Arc::clone(&began));
    let server = Scripted::start(move |_, seen| {
        record.lock().unwrap().entry(batch(seen)).or_insert(seen_taken.load(Ordering::Relaxed));
        match seen.method.as_str() {
            "POST" => Answer::Reply(deleted(seen)),
            _ => reply(204, &[], ""),
        }
    })
    .await;
    let mut settings = server.settings();
    change(&mut settings);
    let messages = (0..4).map(|batch| message(batch * BATCH..(batch + 1) * BATCH));
    let mut answers = call_within(settings, memory, stream::iter(messages)).await;
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        assert!(answer.results.iter().all(|result| result.error.is_none()));
        taken.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(taken.load(Ordering::Relaxed), 4);
    // tonic polls for the next results while it sends a small response.
    for (batch, taken) in &*began.lock().unwrap() {
        assert!(*taken + 1 >= *batch, "batch {batch} began when {taken} results had been taken");
    }
}

#[tokio::test]
async fn batches_go_one_at_a_time_without_free_memory() {
    let memory = MemorySettings { budget: 64 * 1024, ..MemorySettings::default() };
    assert_one_at_a_time(|_| {}, memory).await;
}

#[tokio::test]
async fn a_batch_beside_another_one_holds_memory_until_its_results_are_taken() {
    let server = Scripted::start(|_, seen| Answer::Reply(deleted(seen))).await;
    let metrics = Metrics::default();
    let budget = MemoryBudget::new(MemorySettings::default(), metrics.clone());
    let mut batches = sharing(server.settings(), budget.share(None)).delete_batches();
    assert!(send(&mut batches, 0..2));
    assert_eq!(reserved(&metrics), 0);
    assert!(send(&mut batches, BATCH..BATCH + 2));
    assert_ne!(reserved(&metrics), 0);
    drop(soon(batches.next()).await.unwrap());
    let second = soon(batches.next()).await.unwrap();
    assert_ne!(reserved(&metrics), 0);
    drop(second);
    assert_eq!(reserved(&metrics), 0);
}

#[tokio::test]
async fn batches_go_one_at_a_time_with_max_concurrency_1() {
    assert_one_at_a_time(|settings| settings.transfer.max_concurrency = 1, MemorySettings::default()).await;
}

#[tokio::test]
async fn batches_go_one_at_a_time_without_bulk_deletes() {
    assert_one_at_a_time(|settings| settings.disable_bulk_delete = true, MemorySettings::default()).await;
}

/// Sends a batch if there is room for it. Returns whether there was.
fn send(batches: &mut DeleteBatches, indexes: std::ops::Range<usize>) -> bool {
    let Some(room) = batches.room(indexes.len(), 0) else { return false };
    batches.send(room, indexes.map(|index| id(&key(index))).collect());
    true
}

/// How many more batches of two keys there is room for. Sends them.
fn fill(batches: &mut DeleteBatches, next: &mut usize) -> usize {
    let before = *next;
    while send(batches, *next * BATCH..*next * BATCH + 2) {
        *next += 1;
    }
    *next - before
}

/// Requires that four batches are in flight until S3 throttles the first, then two, and then one more with each batch
/// that it does not throttle. `throttled` is the answer to the first batch's first request.
async fn assert_backs_off(throttled: fn(&Seen) -> Answer) {
    let is_first = AtomicBool::new(true);
    let server = Scripted::start(move |_, seen| match seen.method.as_str() {
        "POST" if batch(seen) == 0 && is_first.swap(false, Ordering::Relaxed) => throttled(seen),
        "POST" => Answer::Reply(deleted(seen)),
        _ => reply(204, &[], ""),
    })
    .await;
    let mut settings = server.settings();
    settings.transfer.max_concurrency = 4;
    let mut batches = store(settings).delete_batches();
    let mut next = 0;
    assert_eq!(fill(&mut batches, &mut next), 4);
    let mut began = Vec::new();
    for _ in 0..8 {
        let deleted = soon(batches.next()).await.unwrap();
        assert!(deleted.outcomes.iter().all(Result::is_ok), "{:?}", deleted.outcomes);
        began.push(fill(&mut batches, &mut next));
    }
    // With the fifth result, the first batch that was sent after the throttling has ended.
    assert_eq!(began, [0, 0, 1, 1, 2, 2, 1, 1]);
}

#[tokio::test]
async fn fewer_batches_are_in_flight_after_a_request_was_throttled() {
    assert_backs_off(|_| error(503, "SlowDown")).await;
    assert_backs_off(|_| reply(503, &[], "")).await;
}

#[tokio::test]
async fn fewer_batches_are_in_flight_after_a_key_was_throttled() {
    assert_backs_off(|seen| Answer::Reply(deleted_except(seen, &key(1), "SlowDown"))).await;
}

#[tokio::test]
async fn requests_for_single_keys_are_limited_for_all_batches_together() {
    let (release, released) = watch::channel(false);
    let server = Scripted::start(move |_, seen| match seen.method.as_str() {
        "POST" => error(501, "NotImplemented"),
        _ => Answer::Once(released.clone(), bytes(204, &[], b"")),
    })
    .await;
    let mut batches = server.store().delete_batches();
    for number in 0..3 {
        assert!(send(&mut batches, number * BATCH..number * BATCH + 20));
    }
    let singles = || server.seen().iter().filter(|seen| seen.method == "DELETE").count();
    soon(asked_batches(&server, 3)).await;
    soon(async {
        while singles() < 16 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    settle().await;
    assert_eq!(singles(), 16);
    release.send(true).unwrap();
    while let Some(deleted) = soon(batches.next()).await {
        assert!(deleted.outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(singles(), 60);
}

#[tokio::test]
async fn a_failure_of_the_call_follows_the_results_of_earlier_batches() {
    let (release, released) = watch::channel(false);
    let server = Scripted::start(move |_, seen| Answer::Once(released.clone(), deleted(seen))).await;
    let wrong = pb::DeleteManyRequest { store: "another".to_owned(), ..message(2 * BATCH..2 * BATCH + 1) };
    let messages = stream::iter([message(0..2 * BATCH), wrong]);
    // S3 answers after the wrong message has been read.
    let messages = messages.inspect(move |message| {
        if message.store == "another" {
            release.send(true).unwrap();
        }
    });
    let mut answers = call(server.settings(), messages).await;
    for number in 0..2 {
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.results[0].key, key(number * BATCH));
    }
    let status = soon(answers.message()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(server.seen().len(), 2);
}
