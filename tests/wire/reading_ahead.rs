use std::time::Duration;

use futures::FutureExt as _;
use longshore::{
    s3::ErrorKind,
    store::{MemoryBudget, MemorySettings, ReadOptions, StoreSettings},
    telemetry::Metrics,
};

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reserved, sharing, store};

const PART: u64 = 1000;
const SIZE: usize = 10_000;

fn object() -> Vec<u8> {
    (0..SIZE).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// The first and the last byte requested.
fn range(seen: &Seen) -> Option<(usize, usize)> {
    let (first, last) = seen.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().unwrap(), last.parse().unwrap()))
}

/// A slow response, like those of S3, which limits the throughput of each connection.
fn slowly(seen: &Seen) -> Answer {
    let object = object();
    let bytes = match range(seen) {
        None => bytes(200, &[("etag", "\"e\"")], &object),
        Some((first, last)) => {
            let content_range = format!("bytes {first}-{last}/{SIZE}");
            let headers = [("etag", "\"e\""), ("content-range", content_range.as_str())];
            bytes(206, &headers, &object[first..=last])
        }
    };
    Answer::Slowly(Duration::from_millis(10), bytes)
}

fn settings(server: &Scripted, max_concurrency: usize) -> StoreSettings {
    let mut settings = server.settings();
    (settings.transfer.part_size, settings.transfer.max_concurrency) = (PART, max_concurrency);
    settings
}

/// The bytes of a read, and the ranges that it requested after its first request.
async fn read(server: &Scripted, max_concurrency: usize, budget: u64) -> (Vec<u8>, Vec<(usize, usize)>) {
    let budget =
        MemoryBudget::new(MemorySettings { budget, ..MemorySettings::default() }, Metrics::default())
            .share(None);
    let store = sharing(settings(server, max_concurrency), budget);
    let mut reader = store.get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece.unwrap());
    }
    let seen = server.seen();
    assert_eq!(range(&seen[0]), None);
    assert!(seen[1..].iter().all(|seen| seen.header("if-match") == Some("\"e\"")), "ranges are pinned");
    let mut ranges: Vec<_> = seen[1..].iter().filter_map(range).collect();
    ranges.sort_unstable();
    (data, ranges)
}

#[tokio::test]
async fn a_slow_read_uses_many_connections_without_gap_or_overlap() {
    let server = Scripted::start(|_, seen| slowly(seen)).await;
    let (data, ranges) = read(&server, 4, 1 << 20).await;
    assert!(data == object());
    assert!(ranges.len() > 4, "{ranges:?}");
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    assert_eq!(ranges.last().unwrap().1, SIZE - 1);
}

#[tokio::test]
async fn a_read_uses_one_connection_if_no_more_are_allowed_or_no_memory_is_left() {
    for (max_concurrency, budget) in [(1, 1 << 20), (4, 0)] {
        let server = Scripted::start(|_, seen| slowly(seen)).await;
        let (data, ranges) = read(&server, max_concurrency, budget).await;
        assert!(data == object());
        assert_eq!(ranges, []);
    }
}

#[tokio::test]
async fn a_read_that_runs_out_of_memory_continues_on_one_connection() {
    let server = Scripted::start(|_, seen| slowly(seen)).await;
    let memory = MemorySettings { budget: 8 * 1024, ..MemorySettings::default() };
    let budget = MemoryBudget::new(memory, Metrics::default()).share(None);
    let mut reader =
        sharing(settings(&server, 4), budget.clone()).get("k", None, &ReadOptions::default()).await.unwrap();
    let (mut data, mut held, mut waiting) = (Vec::new(), Vec::new(), None);
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece.unwrap());
        // Once the read uses several connections, another call waits for memory.
        while waiting.is_none() && server.seen().len() > 1 {
            let mut reserving = Box::pin(budget.reserve(u64::MAX));
            match (&mut reserving).now_or_never() {
                Some(reservation) => held.push(reservation.unwrap()),
                None => waiting = Some(reserving),
            }
        }
    }
    assert!(data == object());
    let ranges: Vec<_> = server.seen().iter().filter_map(range).collect();
    let (first, last) = *ranges.last().unwrap();
    assert!(waiting.is_some() && last == SIZE - 1 && last - first >= 2 * PART as usize, "{ranges:?}");
}

#[tokio::test]
async fn a_read_fails_if_the_object_is_replaced_meanwhile() {
    let server = Scripted::start(|_, seen| match range(seen) {
        Some((first, _)) if first > 4000 => error(412, "PreconditionFailed"),
        _ => slowly(seen),
    })
    .await;
    let store = store(settings(&server, 4));
    let mut reader = store.get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    let failure = loop {
        match reader.next().await.unwrap() {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert_eq!(failure.kind(), ErrorKind::ObjectChanged);
    assert!(object().starts_with(&data));
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn an_interrupted_part_is_resumed() {
    let server = Scripted::start(|number, seen| match (slowly(seen), number) {
        (Answer::Slowly(_, bytes), 2) => Answer::Cut(bytes[..bytes.len() - 300].to_vec()),
        (answer, _) => answer,
    })
    .await;
    let store = store(settings(&server, 4));
    let mut reader = store.get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece.unwrap());
    }
    assert!(data == object());
}

#[tokio::test]
async fn a_read_from_a_slow_server_that_ignores_ranges_continues_on_one_connection() {
    let whole = bytes(200, &[("etag", "\"e\"")], &object());
    let server = Scripted::start(move |_, _| Answer::Slowly(Duration::from_millis(2), whole.clone())).await;
    let mut settings = settings(&server, 4);
    settings.transfer.part_size = 500;
    let mut reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece.unwrap());
    }
    assert!(data == object());
    assert!(server.seen().len() <= 5, "the first request, three parts, and the rest: {:?}", server.lines());
}

#[tokio::test]
async fn a_caller_that_never_waits_holds_two_parts() {
    let server = Scripted::start(|_, seen| slowly(seen)).await;
    let mut settings = settings(&server, 4);
    settings.transfer.part_size = 100;
    let mut reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    // The read learns that the server is slow.
    while server.seen().len() < 2 {
        data.extend_from_slice(&reader.next().await.unwrap().unwrap());
    }
    // From now on, all bytes have arrived before the caller takes them.
    let mut most = 0;
    while data.len() < SIZE {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let requested = server.seen().iter().filter_map(range).map(|(_, last)| last + 1).max().unwrap();
        if data.len() > SIZE / 2 {
            most = most.max(requested.saturating_sub(data.len()));
        }
        data.extend_from_slice(&reader.next().await.unwrap().unwrap());
    }
    assert!(data == object());
    assert!(most <= 300, "{most} bytes were requested ahead");
}

#[tokio::test]
async fn a_caller_that_stops_reading_loses_what_was_read_ahead_if_another_read_needs_the_memory() {
    let server = Scripted::start(|_, seen| slowly(seen)).await;
    let metrics = Metrics::default();
    // A sixth of the idle timeout is 0.1 s. Four parts may be held ahead.
    let memory = MemorySettings {
        budget: 16 * PART,
        idle_timeout: Duration::from_millis(600),
        ..MemorySettings::default()
    };
    let budget = MemoryBudget::new(memory, metrics.clone()).share(None);
    let store = sharing(settings(&server, 4), budget);
    let mut stopped = store.get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    while server.seen().len() < 2 {
        data.extend_from_slice(&stopped.next().await.unwrap().unwrap());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(reserved(&metrics) > 0, "no other call needs it");

    let mut other = store.get("k", None, &ReadOptions::default()).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = other.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert!(all == object());
    drop(other);
    assert_eq!(reserved(&metrics), 0, "the other read needs more than the stopped one has left");

    while let Some(piece) = stopped.next().await {
        data.extend_from_slice(&piece.unwrap());
    }
    assert!(data == object(), "what was given up is requested again");
}
