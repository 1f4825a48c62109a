//! Reads that are asked for once more because their answer has not begun.

use std::{
    collections::HashSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore::{
    s3::{Error, ErrorKind},
    store::{ListOptions, ReadOptions, S3Store, TenantBudget, WriteOptions},
    telemetry::{Metrics, Tasks},
};

use crate::scripted::{Answer, Scripted, bytes, error, reply};

/// Long enough for anything that is not waited for on purpose.
const AMPLE: Duration = Duration::from_secs(20);

/// When a hedge is sent where one is wanted.
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

/// A store and what it counts. An attempt that nothing ends goes on for longer than any test.
fn counted(server: &Scripted, hedge_after: Option<Duration>) -> (S3Store, Metrics) {
    let mut settings = server.settings();
    settings.client_options.read_timeout = 100 * AMPLE;
    settings.transfer.hedge_after = hedge_after;
    let metrics = Metrics::default();
    let store = S3Store::new(settings, metrics.clone(), Tasks::default(), TenantBudget::default()).unwrap();
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

/// A counter's value among those of `metrics`.
fn count(metrics: &Metrics, name: &str, label: &str) -> u64 {
    let text = metrics.render();
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(label));
    line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[tokio::test]
async fn a_slow_answer_is_overtaken_and_its_connection_closed() {
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
async fn the_first_answer_wins_if_it_comes_before_that_of_the_hedge() {
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
async fn a_fast_answer_is_not_hedged_and_a_slow_one_only_where_that_is_set() {
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
async fn a_failure_of_either_waits_for_the_other() {
    let some_time = Duration::from_millis(50);
    // The first fails while the hedge is under way, then the other way round.
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
async fn where_both_fail_the_read_is_retried() {
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
async fn retries_end_with_their_number_however_often_they_are_hedged() {
    // Each attempt is answered when its hedge has come.
    let server =
        Scripted::start(|number, _| Answer::Behind((number + 2) & !1, Duration::ZERO, failure(503))).await;
    let failed = read(&hedging(&server, SOON)).await.unwrap_err();
    assert_eq!((failed.kind(), failed.attempts()), (ErrorKind::BackendUnavailable, 4));
    assert_eq!(server.seen().len(), 8);
}

#[tokio::test]
async fn what_s3_has_said_is_not_waited_for_again() {
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
async fn a_wrong_region_is_corrected_while_a_hedge_is_under_way() {
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
async fn a_dropped_read_drops_both_requests() {
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
async fn no_hedge_begins_after_the_callers_deadline() {
    let server = Scripted::start(|_, _| Answer::Later(Duration::from_millis(50), object("cargo"))).await;
    let store = hedging(&server, SOON).until(Some(Instant::now()));
    assert_eq!(read(&store).await.unwrap(), "cargo");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn no_hedge_takes_what_the_quota_needs_for_retries() {
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

/// A server that treats the first request for a key otherwise than those that follow.
async fn first_and_following(first: fn() -> Answer, following: fn() -> Answer) -> Scripted {
    let known = Mutex::new(HashSet::new());
    Scripted::start(
        move |_, seen| {
            if known.lock().unwrap().insert(seen.target.clone()) { first() } else { following() }
        },
    )
    .await
}

/// How many requests were made for a hundred reads of different keys.
async fn reads(server: &Scripted) -> usize {
    let store = hedging(server, Duration::from_millis(1));
    for key in 0..100 {
        let (key, options) = (key.to_string(), ReadOptions::default());
        tokio::time::timeout(AMPLE, store.get(&key, None, &options)).await.unwrap().unwrap();
    }
    server.seen().len()
}

#[tokio::test]
async fn hedges_go_on_while_they_help_and_not_where_everything_is_slow() {
    let reply = || Answer::Reply(object(""));
    let later = || Answer::Later(Duration::from_millis(5), object(""));
    let never = || Answer::Hang(Vec::new());
    let helped = first_and_following(never, reply).await;
    assert_eq!(reads(&helped).await, 200);
    let slow = first_and_following(later, never).await;
    // Half of 500 tokens at 5 each, and one for each success.
    let hedges = reads(&slow).await - 100;
    assert!((1..=50 + 20).contains(&hedges), "{hedges}");
}
