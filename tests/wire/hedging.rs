//! Hedged reads: a second request is sent because the response to the first has not begun.

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore::{
    credentials::Providers,
    s3::{Error, ErrorKind},
    store::{ListOptions, ReadOptions, S3Store, TenantBudget, WriteOptions},
    tasks::Tasks,
    telemetry::Metrics,
};

use crate::scripted::{Answer, Scripted, bytes, error, reply};

/// Long enough for everything that does not hang on purpose.
const AMPLE: Duration = Duration::from_secs(20);

/// The delay before a hedge, in tests that need one.
const SOON: Duration = Duration::from_millis(5);

fn object(data: &str) -> Vec<u8> {
    bytes(200, &[("etag", "\"e\"")], data.as_bytes())
}

fn failure(status: u16) -> Vec<u8> {
    bytes(status, &[], b"")
}

fn hedging(server: &Scripted, after: Duration) -> S3Store {
    counted(server, Some(after)).0
}

/// A store and its metrics. An attempt that hangs does not time out during a test.
fn counted(server: &Scripted, hedge_after: Option<Duration>) -> (S3Store, Metrics) {
    let mut settings = server.settings();
    settings.client_options.read_timeout = 100 * AMPLE;
    settings.transfer.hedge_after = hedge_after;
    let metrics = Metrics::default();
    let store = S3Store::new(
        settings,
        &Providers::default(),
        metrics.clone(),
        Tasks::default(),
        TenantBudget::default(),
    )
    .unwrap();
    (store, metrics)
}

async fn read(store: &S3Store) -> Result<String, Error> {
    let options = ReadOptions::default();
    let mut reader = tokio::time::timeout(AMPLE, store.get("k", None, &options)).await.unwrap()?;
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece?);
    }
    Ok(String::from_utf8(data).unwrap())
}

/// The value of a counter in `metrics`.
fn count(metrics: &Metrics, name: &str, label: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[tokio::test]
async fn a_slow_response_is_overtaken_and_its_connection_closed() {
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Hang(Vec::new()),
        _ => Answer::Reply(object("cargo")),
    })
    .await;
    let (store, metrics) = counted(&server, Some(SOON));
    assert_eq!(read(&store).await.unwrap(), "cargo");
    server.hung_up().await;
    assert_eq!(server.lines(), ["GET /b/k", "GET /b/k"]);
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_some()), "both are signed");
    assert_eq!(count(&metrics, "longshore_s3_hedges_total", "GetObject"), 1);
    assert_eq!(count(&metrics, "longshore_s3_attempts_total", "overtaken"), 1);
    assert_eq!(count(&metrics, "longshore_s3_attempts_total", "200"), 1);
    assert_eq!(count(&metrics, "longshore_s3_retries_total", ""), 0);
}

#[tokio::test]
async fn a_slow_head_is_overtaken_too() {
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Hang(Vec::new()),
        _ => reply(200, &[("etag", "\"e\""), ("content-length", "5")], ""),
    })
    .await;
    let head = hedging(&server, SOON).head("k", &ReadOptions::default()).await.unwrap();
    assert_eq!((head.meta.size, server.lines()), (5, vec!["HEAD /b/k".to_owned(); 2]));
    server.hung_up().await;
}

#[tokio::test]
async fn the_first_response_wins_if_it_arrives_before_that_of_the_hedge() {
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Behind(2, Duration::ZERO, object("cargo")),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap(), "cargo");
    server.hung_up().await;
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_fast_response_is_not_hedged_and_a_slow_one_only_if_enabled() {
    for (hedge_after, time) in [(Some(AMPLE), Duration::ZERO), (None, Duration::from_millis(50))] {
        let server = Scripted::start(move |_, _| Answer::Later(time, object("cargo"))).await;
        let (store, metrics) = counted(&server, hedge_after);
        assert_eq!(read(&store).await.unwrap(), "cargo");
        assert_eq!(server.seen().len(), 1);
        assert_eq!(count(&metrics, "longshore_s3_hedges_total", ""), 0);
    }
}

#[tokio::test]
async fn only_reads_of_objects_are_hedged() {
    let page = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";
    let server = Scripted::start(move |_, seen| {
        let body = if seen.method == "GET" { page } else { "" };
        Answer::Later(Duration::from_millis(50), bytes(200, &[("etag", "\"e\"")], body.as_bytes()))
    })
    .await;
    let store = hedging(&server, SOON);
    store.put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap();
    store.list(&ListOptions { page_size: 1, ..Default::default() }).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn if_one_attempt_fails_the_read_waits_for_the_other() {
    let some_time = Duration::from_millis(50);
    // First the original attempt fails while the hedge is in flight, then the other way round.
    let server = Scripted::start(move |number, _| match number {
        0 => Answer::Behind(2, Duration::ZERO, failure(503)),
        _ => Answer::Later(some_time, object("cargo")),
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap(), "cargo");
    assert_eq!(server.seen().len(), 2);
    let server = Scripted::start(move |number, _| match number {
        0 => Answer::Behind(2, some_time, object("cargo")),
        _ => Answer::Cut(Vec::new()),
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap(), "cargo");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn if_both_attempts_fail_the_read_is_retried() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::Behind(2, Duration::ZERO, failure(503)),
        1 => Answer::Reply(failure(500)),
        _ => Answer::Reply(object("cargo")),
    })
    .await;
    let (store, metrics) = counted(&server, Some(SOON));
    assert_eq!(read(&store).await.unwrap(), "cargo");
    assert!(server.seen().len() >= 3);
    assert_eq!(count(&metrics, "longshore_s3_retries_total", "GetObject"), 1);
}

#[tokio::test]
async fn hedges_do_not_add_retries() {
    // The server responds to each attempt once its hedge has arrived.
    let server =
        Scripted::start(|number, _| Answer::Behind((number + 2) & !1, Duration::ZERO, failure(503))).await;
    let failed = read(&hedging(&server, SOON)).await.unwrap_err();
    assert_eq!((failed.kind(), failed.attempts()), (ErrorKind::BackendUnavailable, 4));
    assert_eq!(server.seen().len(), 8);
}

#[tokio::test]
async fn a_conclusive_error_does_not_wait_for_the_other_attempt() {
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Behind(2, Duration::ZERO, failure(304)),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap_err().kind(), ErrorKind::NotModified);
    server.hung_up().await;
    let mut server = Scripted::start(|number, _| match number {
        0 => Answer::Hang(Vec::new()),
        _ => error(404, "NoSuchKey"),
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap_err().kind(), ErrorKind::ObjectNotFound);
    server.hung_up().await;
}

#[tokio::test]
async fn a_wrong_region_is_corrected_while_a_hedge_is_in_flight() {
    let server = Scripted::start(|number, seen| {
        if seen.header("authorization").unwrap().contains("/eu-central-1/") {
            return Answer::Reply(object("cargo"));
        }
        match number {
            0 => {
                Answer::Behind(2, Duration::ZERO, bytes(301, &[("x-amz-bucket-region", "eu-central-1")], b""))
            }
            _ => Answer::Hang(Vec::new()),
        }
    })
    .await;
    assert_eq!(read(&hedging(&server, SOON)).await.unwrap(), "cargo");
}

#[tokio::test]
async fn dropping_a_read_cancels_both_requests() {
    let mut server = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let store = hedging(&server, SOON);
    let reading = tokio::task::spawn(async move { read(&store).await });
    while server.seen().len() < 2 {
        tokio::time::sleep(SOON).await;
    }
    reading.abort();
    server.all_hung_up(2).await;
}

#[tokio::test]
async fn no_hedge_starts_after_the_callers_deadline() {
    let server = Scripted::start(|_, _| Answer::Later(Duration::from_millis(50), object("cargo"))).await;
    let store = hedging(&server, SOON).until(Some(Instant::now()));
    assert_eq!(read(&store).await.unwrap(), "cargo");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn hedges_leave_quota_for_retries() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => Answer::Reply(failure(503)),
        _ => Answer::Later(Duration::from_millis(50), object("cargo")),
    })
    .await;
    let store = hedging(&server, SOON);
    for _ in 0..20 {
        store.head("k", &ReadOptions::default()).await.unwrap_err();
    }
    assert_eq!(read(&store).await.unwrap(), "cargo");
    assert_eq!(server.lines().iter().filter(|line| *line == "GET /b/k").count(), 1);
}

/// A server that responds to the first request for a key differently from those that follow.
async fn first_and_following(first: fn() -> Answer, following: fn() -> Answer) -> Scripted {
    let known = Mutex::new(HashSet::new());
    Scripted::start(
        move |_, seen| {
            if known.lock().unwrap().insert(seen.target.clone()) { first() } else { following() }
        },
    )
    .await
}

/// Reads a hundred different keys, and returns the number of requests that the server received.
async fn reads(server: &Scripted) -> usize {
    let store = hedging(server, Duration::from_millis(1));
    for key in 0..100 {
        let (key, options) = (key.to_string(), ReadOptions::default());
        tokio::time::timeout(AMPLE, store.get(&key, None, &options)).await.unwrap().unwrap();
    }
    server.seen().len()
}

#[tokio::test]
async fn hedges_continue_while_they_help_and_stop_if_every_response_is_slow() {
    let reply = || Answer::Reply(object(""));
    let later = || Answer::Later(Duration::from_millis(5), object(""));
    let never = || Answer::Hang(Vec::new());
    let helped = first_and_following(never, reply).await;
    assert_eq!(reads(&helped).await, 200);
    let slow = first_and_following(later, never).await;
    // Half of 500 tokens at 5 per hedge, and one token back for each success.
    let hedges = reads(&slow).await - 100;
    assert!((1..=50 + 20).contains(&hedges), "{hedges}");
}
