use futures::FutureExt as _;
use longshore::{
    s3::{ByteRange, Error, ErrorKind},
    store::{ObjectReader, RangesOptions, ReadOptions},
};

use crate::scripted::{Answer, Scripted, bytes, error, reply, store};

async fn all(mut reader: ObjectReader) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece?);
    }
    Ok(data)
}

#[tokio::test]
async fn an_interrupted_read_resumes_at_the_byte_reached() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::Cut(bytes(200, &[("etag", "\"e\""), ("content-length", "10")], b"0123")),
        1 => Answer::Cut(bytes(
            206,
            &[("etag", "\"e\""), ("content-range", "bytes 4-9/10"), ("content-length", "6")],
            b"45",
        )),
        _ => reply(206, &[("etag", "\"e\""), ("content-range", "bytes 6-9/10")], "6789"),
    })
    .await;
    let reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap(), b"0123456789");
    let seen = server.seen();
    assert_eq!([seen[1].header("range"), seen[2].header("range")], [Some("bytes=4-9"), Some("bytes=6-9")]);
    assert_eq!([seen[1].header("if-match"), seen[2].header("if-match")], [Some("\"e\""); 2]);
}

#[tokio::test]
async fn an_interrupted_read_of_a_replaced_object_fails() {
    for second in [412, 404] {
        let server = Scripted::start(move |number, _| match number {
            0 => Answer::Cut(bytes(200, &[("etag", "\"e\""), ("content-length", "10")], b"0123")),
            _ => error(second, if second == 412 { "PreconditionFailed" } else { "NoSuchKey" }),
        })
        .await;
        let reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
        assert_eq!(all(reader).await.unwrap_err().kind(), ErrorKind::ObjectChanged);
    }
}

#[tokio::test]
async fn a_read_that_keeps_breaking_ends_after_its_download_attempts() {
    for attempts in [5, 2, 1] {
        let server = Scripted::start(|number, _| match number {
            0 => Answer::Cut(bytes(200, &[("etag", "\"e\""), ("content-length", "10")], b"0")),
            _ => Answer::Cut(bytes(
                206,
                &[("etag", "\"e\""), ("content-range", "bytes 1-9/10"), ("content-length", "9")],
                b"",
            )),
        })
        .await;
        let mut settings = server.settings();
        settings.transfer.download_attempts = attempts;
        let reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
        let error = all(reader).await.unwrap_err();
        assert_eq!((error.kind(), error.attempts()), (ErrorKind::ConnectionLost, attempts));
        assert_eq!(server.seen().len(), attempts as usize);
    }
}

#[tokio::test]
async fn progress_resets_download_attempts_and_these_are_separate_from_retries() {
    const PIECE: usize = 64 * 1024;
    for attempts in [1, 2] {
        let server = piecemeal(PIECE).await;
        let mut settings = server.settings();
        (settings.transfer.download_attempts, settings.retry_config.max_retries) = (attempts, 0);
        let reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
        let expected: Vec<_> = (0..10).flat_map(|number| vec![number; PIECE]).collect();
        assert!(all(reader).await.unwrap() == expected);
        assert_eq!(server.seen().len(), 10);
    }
}

#[tokio::test]
async fn a_connection_with_progress_does_not_count_against_the_download_attempts() {
    const PIECE: usize = 64 * 1024;
    let server = Scripted::start(|number, _| match number {
        0 => Answer::Cut(bytes(200, &[("etag", "\"e\""), ("content-length", "65537")], &[7; PIECE])),
        _ => Answer::Cut(bytes(
            206,
            &[("etag", "\"e\""), ("content-range", "bytes 65536-65536/65537"), ("content-length", "1")],
            b"",
        )),
    })
    .await;
    let mut settings = server.settings();
    settings.transfer.download_attempts = 3;
    let reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert_eq!(server.seen().len(), 1 + 3);
}

#[tokio::test]
async fn a_read_of_the_version_null_without_an_etag_is_not_resumed() {
    for (version, requests) in [("null", 1), ("v7", 2)] {
        let server = Scripted::start(move |number, _| match number {
            0 => Answer::Cut(bytes(200, &[("x-amz-version-id", version), ("content-length", "2")], b"0")),
            _ => reply(206, &[("x-amz-version-id", version), ("content-range", "bytes 1-1/2")], "1"),
        })
        .await;
        let options = ReadOptions { version: Some(version.to_owned()), ..ReadOptions::default() };
        let read = all(server.store().get("k", None, &options).await.unwrap()).await;
        assert_eq!((read.is_ok(), server.seen().len()), (requests == 2, requests), "{version}");
    }
}

/// A caller that takes everything at hand polls once and drops the future.
#[tokio::test]
async fn an_interruption_counts_once_however_often_the_read_is_polled() {
    const PIECE: usize = 64 * 1024;
    let server = piecemeal(PIECE).await;
    let mut settings = server.settings();
    settings.transfer.download_attempts = 1;
    let mut reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    let mut data = Vec::new();
    while let Some(piece) = reader.next().await {
        data.extend_from_slice(&piece.unwrap());
        for _ in 0..20 {
            // Time for bytes to arrive. The read must succeed with any pause.
            tokio::time::sleep(std::time::Duration::from_micros(100)).await;
            if let Some(Some(piece)) = reader.next().now_or_never() {
                data.extend_from_slice(&piece.unwrap());
            }
        }
    }
    assert_eq!((data.len(), server.seen().len()), (10 * PIECE, 10));
}

#[tokio::test]
async fn a_read_with_little_progress_on_each_connection_ends() {
    let server = piecemeal(1).await;
    let mut settings = server.settings();
    settings.transfer.download_attempts = 3;
    let reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap_err().kind(), ErrorKind::ConnectionLost);
    assert_eq!(server.seen().len(), 3);
}

/// An object of ten pieces. Each connection sends one piece and breaks.
async fn piecemeal(piece: usize) -> Scripted {
    Scripted::start(move |number, _| {
        let (start, total) = (number * piece, 10 * piece);
        let status = if number == 0 { 200 } else { 206 };
        let (range, length) = (format!("bytes {start}-{}/{total}", total - 1), (total - start).to_string());
        let headers = [("etag", "\"e\""), ("content-range", range.as_str()), ("content-length", &length)];
        Answer::Cut(bytes(status, &headers, &vec![u8::try_from(number).unwrap(); piece]))
    })
    .await
}

#[tokio::test]
async fn a_stalled_read_is_resumed() {
    let server = Scripted::start(|number, _| match number {
        0 => Answer::Hang(bytes(200, &[("etag", "\"e\""), ("content-length", "4")], b"01")),
        _ => reply(206, &[("etag", "\"e\""), ("content-range", "bytes 2-3/4")], "23"),
    })
    .await;
    let mut settings = server.settings();
    settings.client_options.read_timeout = std::time::Duration::from_millis(50);
    let reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap(), b"0123");
}

#[tokio::test]
async fn corrupted_bytes_fail_the_read_at_its_end() {
    // The CRC-32C of 123456789, sent with other bytes unless the key is `right`.
    let server = Scripted::start(|_, seen| {
        let headers = [
            ("etag", "\"e\""),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-checksum-type", "FULL_OBJECT"),
        ];
        reply(200, &headers, if seen.target.ends_with("right") { "123456789" } else { "123456780" })
    })
    .await;
    let read = async |key: &str| {
        let reader = server.store().get(key, None, &ReadOptions::default()).await.unwrap();
        all(reader).await
    };
    assert_eq!(read("right").await.unwrap(), b"123456789");
    assert_eq!(read("wrong").await.unwrap_err().kind(), ErrorKind::BytesDamaged);
}

#[tokio::test]
async fn a_range_can_be_read_from_a_server_without_ranges() {
    let server = Scripted::start(|_, _| reply(200, &[("etag", "\"e\"")], "0123456789")).await;
    let range = Some(ByteRange::Bounded { start: 3, end: 6 });
    let reader = server.store().get("k", range, &ReadOptions::default()).await.unwrap();
    assert_eq!((reader.info().start, reader.info().end, reader.info().meta.size), (3, 6, 10));
    assert_eq!(all(reader).await.unwrap(), b"345");
}

#[tokio::test]
async fn an_object_with_hundreds_of_metadata_entries_costs_one_repeated_request_in_all() {
    let server = Scripted::start(|_, seen| {
        let entries = if seen.line().ends_with("few") { 1 } else { 400 };
        let names: Vec<_> = (0..entries).map(|number| format!("x-amz-meta-{number}")).collect();
        let headers: Vec<_> =
            names.iter().map(|name| (name.as_str(), "v")).chain([("etag", "\"e\"")]).collect();
        reply(200, &headers, "")
    })
    .await;
    let mut settings = server.settings();
    settings.retry_config.max_retries = 0;
    let store = store(settings);
    let entries = async |key: &str| {
        let info = store.head(key, &ReadOptions::default()).await.unwrap();
        info.attributes.metadata.len()
    };
    assert_eq!(entries("few").await, 1);
    assert_eq!(entries("many").await, 400);
    // Concurrent reads use several connections.
    assert_eq!(futures::future::join_all((0..5).map(|_| entries("many"))).await, [400; 5]);
    let lines = server.lines();
    assert_eq!(lines.iter().filter(|line| line.ends_with("many")).count(), 7, "{lines:?}");
}

#[tokio::test]
async fn a_suffix_of_an_empty_object_is_empty() {
    let server = Scripted::start(|number, _| match number {
        0 => error(416, "InvalidRange"),
        _ => reply(200, &[("etag", "\"e\""), ("content-length", "0")], ""),
    })
    .await;
    let reader = server.store().get("k", Some(ByteRange::Suffix(5)), &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap(), b"");
    assert_eq!(server.lines(), ["GET /b/k", "HEAD /b/k"]);
}

#[tokio::test]
async fn neighbouring_ranges_share_one_request() {
    let server = Scripted::start(|_, _| {
        reply(206, &[("etag", "\"e\""), ("content-range", "bytes 10-29/100")], "abcdefghijklmnopqrst")
    })
    .await;
    let bounded = |start, end| ByteRange::Bounded { start, end };
    let options = RangesOptions {
        ranges: vec![bounded(10, 13), bounded(20, 22), bounded(22, 30)],
        coalesce_bytes: 8,
        read: ReadOptions::default(),
    };
    let mut reader = server.store().get_ranges("k", options).await.unwrap();
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next().await {
        let piece = piece.unwrap();
        pieces.push((piece.index, piece.offset, piece.data));
    }
    assert_eq!(pieces, [(0, 10, "abc".into()), (1, 20, "kl".into()), (2, 22, "mnopqrst".into())]);
    assert_eq!((server.seen().len(), server.seen()[0].header("range")), (1, Some("bytes=10-29")));
}

#[tokio::test]
async fn a_response_that_is_not_from_s3_is_rejected() {
    let page = "<html><body>502 Bad Gateway</body></html>";
    let server = Scripted::start(move |_, _| reply(200, &[], page)).await;
    let error = server
        .store()
        .list(&longshore::store::ListOptions { page_size: 1, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendProtocol);
    let garbage = Scripted::start(|_, _| Answer::Cut(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    let error = garbage.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendProtocol);
}

/// Reads bytes 10 to 12 and 80 to 82 of an object of 100 bytes, and returns the error.
async fn ranges_error(server: &Scripted) -> Error {
    let ranges = [10, 80].map(|start| ByteRange::Bounded { start, end: start + 3 }).to_vec();
    let options = RangesOptions { ranges, coalesce_bytes: 0, read: ReadOptions::default() };
    let mut reader = match server.store().get_ranges("k", options).await {
        Ok(reader) => reader,
        Err(error) => return error,
    };
    loop {
        if let Err(error) = reader.next().await.expect("an error before the end") {
            return error;
        }
    }
}

#[tokio::test]
async fn ranges_of_an_object_that_changes_between_them_are_rejected() {
    const V1: &str = "v1";
    let first = || reply(206, &[("x-amz-version-id", V1), ("content-range", "bytes 10-12/100")], "abc");
    type Change = fn() -> Answer;
    let changes: [(&str, Change); 5] = [
        ("it was replaced by a shorter object", || error(416, "InvalidRange")),
        ("its version was deleted", || error(404, "NoSuchVersion")),
        ("it was replaced by a longer object", || reply(206, &[("content-range", "bytes 80-82/200")], "xyz")),
        ("the server ignores the version", || {
            reply(206, &[("x-amz-version-id", "v2"), ("content-range", "bytes 80-82/100")], "xyz")
        }),
        ("it has an ETag now", || {
            reply(206, &[("etag", "\"other\""), ("content-range", "bytes 80-82/100")], "xyz")
        }),
    ];
    for (what, change) in changes {
        let server = Scripted::start(move |_, seen| match seen.header("range") {
            Some("bytes=10-12") => first(),
            _ => change(),
        })
        .await;
        assert_eq!(ranges_error(&server).await.kind(), ErrorKind::ObjectChanged, "{what}");
    }
}

#[tokio::test]
async fn other_bytes_than_the_requested_ones_are_rejected() {
    let etag = ("etag", "\"e\"");
    let server = Scripted::start(move |_, seen| match seen.header("range") {
        Some("bytes=10-12") => reply(206, &[etag, ("content-range", "bytes 10-12/100")], "abc"),
        _ => reply(206, &[etag, ("content-range", "bytes 81-83/100")], "bcd"),
    })
    .await;
    assert_eq!(ranges_error(&server).await.kind(), ErrorKind::BackendProtocol);
    // The same, where a read resumes.
    for (range, body) in [("bytes 5-9/10", "56789"), ("bytes 2-3/10", "23")] {
        let server = Scripted::start(move |number, _| match number {
            0 => Answer::Cut(bytes(200, &[etag, ("content-length", "10")], b"0123")),
            _ => reply(206, &[etag, ("content-range", range)], body),
        })
        .await;
        let reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
        assert_eq!(all(reader).await.unwrap_err().kind(), ErrorKind::BackendProtocol, "{range}");
    }
}

#[tokio::test]
async fn a_read_resumes_on_a_server_that_returns_fewer_bytes_than_requested() {
    let etag = ("etag", "\"e\"");
    let server = Scripted::start(move |number, _| match number {
        0 => Answer::Cut(bytes(200, &[etag, ("content-length", "10")], b"0123")),
        1 => reply(206, &[etag, ("content-range", "bytes 4-6/10")], "456"),
        _ => reply(206, &[etag, ("content-range", "bytes 7-9/10")], "789"),
    })
    .await;
    let reader = server.store().get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap(), b"0123456789");
}

#[tokio::test]
async fn an_empty_range_is_not_verified_against_the_checksum_of_the_object() {
    let headers = [
        ("etag", "\"e\""),
        // Some servers answer HEAD like this for objects that have bytes.
        ("content-length", "0"),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-type", "FULL_OBJECT"),
    ];
    let server = Scripted::start(move |_, _| reply(200, &headers, "")).await;
    let empty = Some(ByteRange::Bounded { start: 0, end: 0 });
    let reader = server.store().get("k", empty, &ReadOptions::default()).await.unwrap();
    assert_eq!(all(reader).await.unwrap(), b"");
}

#[tokio::test]
async fn a_range_whose_response_names_the_version_resumes_at_that_version() {
    let version = ("x-amz-version-id", "v1");
    let server = Scripted::start(move |_, seen| match seen.header("range") {
        Some("bytes=10-12") => Answer::Cut(bytes(
            206,
            &[version, ("content-range", "bytes 10-12/100"), ("content-length", "3")],
            b"a",
        )),
        Some("bytes=11-12") => reply(206, &[version, ("content-range", "bytes 11-12/100")], "bc"),
        _ => error(416, "InvalidRange"),
    })
    .await;
    assert_eq!(ranges_error(&server).await.kind(), ErrorKind::ObjectChanged);
    let resumed = server.asked(|seen| seen.header("range") == Some("bytes=11-12")).await;
    assert_eq!(resumed.target, "/b/k?versionId=v1");
    let last = server.seen().pop().unwrap();
    assert_eq!((last.header("range"), last.target.as_str()), (Some("bytes=80-82"), "/b/k?versionId=v1"));
}
