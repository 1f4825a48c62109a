use std::time::Duration;

use longshore::{
    s3::{ByteRange, Error, ErrorKind},
    store::{
        MemoryBudget, MemorySettings, RangesOptions, RangesReader, ReadOptions, StoreSettings, TenantBudget,
    },
    telemetry::Metrics,
};

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reply, reserved, sharing, store};

const KIB: u64 = 1024;

/// The byte at an offset of every object.
fn byte(at: u64) -> u8 {
    u8::try_from(at % 251).unwrap()
}

/// Responds to a ranged GET of an object of `size` bytes.
fn object(size: u64, seen: &Seen) -> Vec<u8> {
    let (first, last) =
        seen.header("range").unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(size - 1)),
        (Ok(first), Err(_)) => (first, size - 1),
        (Err(_), length) => (size - length.unwrap(), size - 1),
    };
    let content_range = format!("bytes {first}-{last}/{size}");
    let data: Vec<_> = (first..=last).map(byte).collect();
    bytes(206, &[("etag", "\"e\""), ("content-range", content_range.as_str())], &data)
}

fn bounded(start: u64, end: u64) -> ByteRange {
    ByteRange::Bounded { start, end }
}

fn separate(ranges: Vec<ByteRange>) -> RangesOptions {
    RangesOptions { ranges, coalesce_bytes: 0, read: ReadOptions::default() }
}

/// The bytes of each range. Checks that the pieces arrive in order.
async fn all(reader: &mut RangesReader) -> Result<Vec<(usize, u64, Vec<u8>)>, Error> {
    let mut ranges: Vec<(usize, u64, Vec<u8>)> = Vec::new();
    while let Some(piece) = reader.next().await {
        let piece = piece?;
        match ranges.last_mut().filter(|range| range.0 == piece.index) {
            Some((_, start, data)) => {
                assert_eq!(piece.offset, *start + data.len() as u64);
                data.extend_from_slice(&piece.data);
            }
            None => ranges.push((piece.index, piece.offset, piece.data.to_vec())),
        }
    }
    assert!(ranges.windows(2).all(|pair| pair[0].0 < pair[1].0), "the ranges are in order");
    Ok(ranges)
}

/// What [`all`] returns for these ranges.
fn expected(ranges: &[(u64, u64)]) -> Vec<(usize, u64, Vec<u8>)> {
    let range =
        |(index, (start, end)): (usize, &(u64, u64))| (index, *start, (*start..*end).map(byte).collect());
    ranges.iter().enumerate().map(range).collect()
}

fn tenant(budget: u64) -> (TenantBudget, Metrics) {
    let metrics = Metrics::default();
    let memory = MemorySettings { budget, ..MemorySettings::default() };
    (MemoryBudget::new(memory, metrics.clone()).share(None), metrics)
}

fn settings(server: &Scripted, part_size: u64) -> StoreSettings {
    let mut settings = server.settings();
    settings.transfer.part_size = part_size;
    settings
}

/// Ranges of two bytes.
fn far_apart(ranges: u64) -> RangesOptions {
    separate((0..ranges).map(|number| bounded(10 * number, 10 * number + 2)).collect())
}

#[tokio::test]
async fn ranges_far_apart_are_requested_together_and_returned_in_order() {
    let server = Scripted::start(|_, seen| Answer::Reply(object(1000, seen))).await;
    let mut settings = server.settings();
    settings.transfer.max_concurrency = 7;
    let mut reader = store(settings).get_ranges("k", far_apart(100)).await.unwrap();
    assert_eq!((reader.info().meta.size, reader.info().start, reader.info().end), (1000, 0, 2));
    // The caller takes nothing meanwhile.
    server.asked(|seen| seen.header("range") == Some("bytes=60-61")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(server.seen().len(), 7, "a caller that takes nothing causes no more requests");
    let ranges: Vec<_> = (0..100).map(|number| (10 * number, 10 * number + 2)).collect();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    let seen = server.seen();
    assert_eq!(seen.len(), 100);
    assert!(seen.iter().all(|seen| seen.method == "GET"));
    assert!(seen[7..].iter().all(|seen| seen.header("if-match") == Some("\"e\"")), "the object is pinned");
}

#[tokio::test]
async fn the_size_is_requested_only_if_no_range_has_bytes_or_one_is_not_satisfiable() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "1000")], ""),
        _ if seen.header("range") == Some("bytes=2000-2001") => error(416, "InvalidRange"),
        _ => Answer::Reply(object(1000, seen)),
    })
    .await;
    let read = async |ranges: Vec<ByteRange>| server.store().get_ranges("k", separate(ranges)).await;
    let mut nothing = read(vec![bounded(3, 3)]).await.unwrap();
    assert!(nothing.next().await.is_none());
    assert_eq!(server.lines(), ["HEAD /b/k"]);
    for ranges in [vec![bounded(2000, 2002), bounded(0, 2)], vec![bounded(0, 2), bounded(2000, 2002)]] {
        let at = ranges.iter().position(|range| *range == bounded(2000, 2002)).unwrap();
        let failed = read(ranges).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::RangeNotSatisfiable);
        assert!(failed.message().contains(&format!("range {at}")), "{failed:?}");
    }
    let heads = server.lines().iter().filter(|line| *line == "HEAD /b/k").count();
    assert_eq!(heads, 2, "one for the empty range, and one for the first range that is not satisfiable");
}

#[tokio::test]
async fn a_failed_request_for_a_later_range_is_repeated_when_its_turn_comes() {
    let server = Scripted::start(|number, seen| match seen.header("range") {
        Some("bytes=20-21" | "bytes=30-31" | "bytes=40-41") if number < 10 => error(503, "SlowDown"),
        _ => Answer::Reply(object(1000, seen)),
    })
    .await;
    let mut reader = server.store().get_ranges("k", far_apart(20)).await.unwrap();
    let ranges: Vec<_> = (0..20).map(|number| (10 * number, 10 * number + 2)).collect();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    assert_eq!(server.seen().len(), 23);
}

#[tokio::test]
async fn an_error_of_a_range_is_returned_after_the_ranges_before_it() {
    let server = Scripted::start(|_, seen| match seen.header("range") {
        Some("bytes=50-51") => error(500, "InternalError"),
        _ => Answer::Reply(object(1000, seen)),
    })
    .await;
    let mut reader = server.store().get_ranges("k", far_apart(20)).await.unwrap();
    for index in 0..5 {
        assert_eq!(reader.next().await.unwrap().unwrap().index, index);
    }
    assert_eq!(reader.next().await.unwrap().unwrap_err().kind(), ErrorKind::BackendUnavailable);
    assert!(reader.next().await.is_none());
    let failed = server.seen().iter().filter(|seen| seen.header("range") == Some("bytes=50-51")).count();
    assert_eq!(failed, 5, "one attempt before its turn, and then the first one and three retries");
}

#[tokio::test]
async fn dropping_the_reader_cancels_all_requests() {
    let mut server = Scripted::start(|_, seen| match seen.header("range") {
        Some("bytes=0-1") => Answer::Reply(object(1000, seen)),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    let reader = server.store().get_ranges("k", far_apart(20)).await.unwrap();
    server.asked(|seen| seen.header("range") == Some("bytes=90-91")).await;
    drop(reader);
    server.all_hung_up(9).await;
}

#[tokio::test]
async fn a_caller_that_takes_nothing_holds_little_memory() {
    const SIZE: u64 = 512 * KIB;
    let server = Scripted::start(|_, seen| Answer::Reply(object(16 * SIZE, seen))).await;
    let (budget, metrics) = tenant(64 * KIB * KIB);
    let ranges: Vec<_> = (0..8).map(|number| (2 * number * SIZE, (2 * number + 1) * SIZE)).collect();
    let options = separate(ranges.iter().map(|(start, end)| bounded(*start, *end)).collect());
    let mut reader = sharing(settings(&server, KIB * KIB), budget).get_ranges("k", options).await.unwrap();
    while server.seen().len() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(server.seen().len(), 3, "1 MiB is requested before the caller takes anything");
    assert!(reserved(&metrics) <= 2 * SIZE, "{}", reserved(&metrics));
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    drop(reader);
    assert_eq!(reserved(&metrics), 0);
}

#[tokio::test]
async fn ranges_of_all_sizes_are_read_with_and_without_memory() {
    const PART: u64 = 1000;
    let ranges =
        [(5, 10), (3000, 9000), (100, 900), (0, 1000), (9000, 12_000), (200, 300), (300, 350), (7000, 7003)];
    for (budget, max_concurrency) in
        [(0, 10), (16 * KIB, 10), (KIB * KIB, 10), (KIB * KIB, 2), (KIB * KIB, 1)]
    {
        let server = Scripted::start(|_, seen| Answer::Reply(object(12_000, seen))).await;
        let mut settings = settings(&server, PART);
        settings.transfer.max_concurrency = max_concurrency;
        let options = separate(ranges.iter().map(|(start, end)| bounded(*start, *end)).collect());
        let mut reader = sharing(settings, tenant(budget).0).get_ranges("k", options).await.unwrap();
        assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges), "{budget} {max_concurrency}");
    }
}

#[tokio::test]
async fn suffixes_and_ranges_to_the_end_need_no_head() {
    let server = Scripted::start(|_, seen| Answer::Reply(object(1000, seen))).await;
    let orders = [[0, 1, 2], [1, 2, 0], [2, 0, 1]];
    let known =
        [(ByteRange::Suffix(5), (995, 1000)), (bounded(3, 7), (3, 7)), (ByteRange::Offset(990), (990, 1000))];
    for order in orders {
        let options = separate(order.iter().map(|at| known[*at].0).collect());
        let mut reader = server.store().get_ranges("k", options).await.unwrap();
        let ranges = order.map(|at| known[at].1);
        assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    }
    assert!(server.seen().iter().all(|seen| seen.method == "GET"));
    assert_eq!(server.seen().len(), 9);
}

#[tokio::test]
async fn a_suffix_of_an_empty_object_is_an_empty_range() {
    let empty: [fn(&Seen) -> Answer; 3] = [
        |_| reply(200, &[("etag", "\"e\"")], ""),
        |_| reply(206, &[("etag", "\"e\"")], ""),
        |seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[("etag", "\"e\"")], ""),
            _ => error(416, "InvalidRange"),
        },
    ];
    for answer in empty {
        let server = Scripted::start(move |_, seen| answer(seen)).await;
        let mut reader = server.store().get_ranges("k", separate(vec![ByteRange::Suffix(3)])).await.unwrap();
        assert_eq!((reader.info().meta.size, reader.info().start, reader.info().end), (0, 0, 0));
        assert!(all(&mut reader).await.unwrap().is_empty());
        let both = separate(vec![ByteRange::Suffix(3), bounded(0, 1)]);
        let failed = server.store().get_ranges("k", both).await.unwrap_err();
        assert!(failed.message().contains("range 1"), "{failed:?}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_asked_for_one_range_at_a_time_once_that_is_known() {
    let data: Vec<_> = (0..1000).map(byte).collect();
    let whole = bytes(200, &[("etag", "\"e\"")], &data);
    let server = Scripted::start(move |_, _| Answer::Reply(whole.clone())).await;
    let mut reader = server.store().get_ranges("k", far_apart(5)).await.unwrap();
    let early = server.seen().len();
    assert!(early <= 5, "{early}");
    let ranges: Vec<_> = (0..5).map(|number| (10 * number, 10 * number + 2)).collect();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    let pinned = server.seen().iter().filter(|seen| seen.header("if-match").is_some()).count();
    assert_eq!(pinned, 4);
}

#[tokio::test]
async fn a_server_that_ignores_only_some_ranges_returns_the_right_bytes() {
    let data: Vec<_> = (0..1000).map(byte).collect();
    let whole = bytes(200, &[("etag", "\"e\"")], &data);
    let server = Scripted::start(move |number, seen| match number % 2 {
        0 => Answer::Reply(object(1000, seen)),
        _ => Answer::Reply(whole.clone()),
    })
    .await;
    let mut reader = server.store().get_ranges("k", far_apart(30)).await.unwrap();
    let ranges: Vec<_> = (0..30).map(|number| (10 * number, 10 * number + 2)).collect();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
}

#[tokio::test]
async fn a_range_of_the_whole_object_is_verified_and_others_have_no_checksum() {
    let whole = |seen: &Seen| {
        let headers = [
            ("etag", "\"e\""),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-type", "FULL_OBJECT"),
            (
                "content-range",
                if seen.header("range") == Some("bytes=0-2") { "bytes 0-2/3" } else { "bytes 1-2/3" },
            ),
        ];
        Answer::Reply(bytes(206, &headers, if headers[3].1 == "bytes 0-2/3" { b"abc" } else { b"bc" }))
    };
    let server = Scripted::start(move |_, seen| whole(seen)).await;
    let mut reader = server.store().get_ranges("k", separate(vec![bounded(0, 3)])).await.unwrap();
    assert_eq!(reader.info().meta.properties.checksums.len(), 1);
    assert_eq!(all(&mut reader).await.unwrap_err().kind(), ErrorKind::BytesDamaged);
    let mut reader = server.store().get_ranges("k", separate(vec![bounded(1, 3)])).await.unwrap();
    assert!(reader.info().meta.properties.checksums.is_empty(), "it may be that of a part");
    assert_eq!(all(&mut reader).await.unwrap(), [(0, 1, b"bc".to_vec())]);
}

#[tokio::test]
async fn the_first_ranges_are_requested_before_the_first_response() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Scripted::start(move |_, seen| Answer::Once(released.clone(), object(1000, seen))).await;
    let store = server.store();
    let reading = tokio::spawn(async move { store.get_ranges("k", far_apart(30)).await });
    server.asked(|seen| seen.header("range") == Some("bytes=90-91")).await;
    assert_eq!(server.seen().len(), 10);
    release.send(true).unwrap();
    let mut reader = reading.await.unwrap().unwrap();
    let ranges: Vec<_> = (0..30).map(|number| (10 * number, 10 * number + 2)).collect();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&ranges));
    assert_eq!(server.seen().len(), 30, "no range is requested twice");
}

#[tokio::test]
async fn a_range_of_another_object_is_not_returned() {
    let server = Scripted::start(|_, seen| match seen.header("range") {
        Some("bytes=10-11") if seen.header("if-match").is_some() => error(412, "PreconditionFailed"),
        Some("bytes=10-11") => {
            reply(206, &[("etag", "\"other\""), ("content-range", "bytes 10-11/1000")], "xx")
        }
        _ => Answer::Reply(object(1000, seen)),
    })
    .await;
    let mut reader = server.store().get_ranges("k", far_apart(3)).await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().index, 0);
    assert_eq!(reader.next().await.unwrap().unwrap_err().kind(), ErrorKind::ObjectChanged);
}

#[tokio::test]
async fn a_read_of_a_missing_object_fails_and_cancels_the_other_requests() {
    let mut server = Scripted::start(|_, seen| match seen.header("range") {
        Some("bytes=0-1") => Answer::Behind(
            10,
            Duration::ZERO,
            bytes(404, &[], b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>"),
        ),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    let failed = server.store().get_ranges("k", far_apart(30)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ObjectNotFound);
    server.all_hung_up(9).await;
}

#[tokio::test]
async fn a_range_beyond_the_end_that_was_requested_early_is_not_requested_again() {
    let server = Scripted::start(|_, seen| Answer::Reply(object(1000, seen))).await;
    let options = separate(vec![bounded(0, 2), bounded(990, 2000), bounded(20, 22)]);
    let mut reader = server.store().get_ranges("k", options).await.unwrap();
    assert_eq!(all(&mut reader).await.unwrap(), expected(&[(0, 2), (990, 1000), (20, 22)]));
    assert_eq!(server.seen().len(), 3);
}
