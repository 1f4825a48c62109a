use longshore::pb::{ByteRange, GetInfo, GetRangesRequest};
use tonic::Code;

use crate::support::{
    calls::{bounded, noise, offset, suffix},
    failure::{code_and_reason, field},
    harness::Harness,
};

fn extent(info: &GetInfo) -> (i64, i64) {
    let range = info.range.as_ref().expect("a range");
    (range.start, range.end)
}

#[tokio::test]
async fn a_read_returns_what_was_written() {
    let harness = Harness::open().await;
    for size in [0, 1, 65_536, 65_537, 3 * 1024 * 1024 + 1] {
        let data = noise(size);
        let written = harness.put("k", data.clone()).await;
        let read = harness.get("k").await.unwrap();
        assert!(read.data == data, "{size} bytes");
        let meta = read.info.meta.clone().unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("k", i64::try_from(size).unwrap()));
        assert_eq!(extent(&read.info), (0, meta.size));
        assert_eq!(meta.etag, written.etag);
        assert!(meta.etag.starts_with('"') && meta.last_modified.is_some(), "{meta:?}");
        assert_eq!(harness.head("k").await.unwrap().meta.unwrap(), meta);
    }
    harness.close().await;
}

#[tokio::test]
async fn ranges_are_clamped_to_the_object() {
    let harness = Harness::open().await;
    harness.put("k", "0123456789").await;
    let cases: [(ByteRange, &str, (i64, i64)); 7] = [
        (bounded(2, 5), "234", (2, 5)),
        (bounded(8, 100), "89", (8, 10)),
        (bounded(4, 4), "", (4, 4)),
        (bounded(10, 10), "", (10, 10)),
        (offset(7), "789", (7, 10)),
        (suffix(3), "789", (7, 10)),
        (suffix(100), "0123456789", (0, 10)),
    ];
    for (range, expected, whole) in cases {
        let read = harness.get_range("k", range).await.unwrap();
        assert_eq!(read.data, expected.as_bytes(), "{range:?}");
        assert_eq!((extent(&read.info), read.info.meta.unwrap().size), (whole, 10), "{range:?}");
    }
    harness.close().await;
}

#[tokio::test]
async fn a_range_beyond_the_object_is_rejected() {
    let harness = Harness::open().await;
    harness.put("k", "0123456789").await;
    for range in [offset(10), bounded(10, 12), bounded(11, 11)] {
        let refused = code_and_reason(harness.get_range("k", range).await);
        assert_eq!(refused, (Code::OutOfRange, "RANGE_NOT_SATISFIABLE".to_owned()), "{range:?}");
    }
    for (range, name) in [
        (bounded(5, 2), "range.bounded.end"),
        (bounded(-1, 2), "range.bounded.start"),
        (offset(-1), "range.offset"),
    ] {
        assert_eq!(field(harness.get_range("k", range).await), name);
    }
    harness.close().await;
}

#[tokio::test]
async fn an_empty_object_has_an_empty_suffix() {
    let harness = Harness::open().await;
    harness.put("k", "").await;
    assert!(harness.get("k").await.unwrap().data.is_empty());
    let read = harness.get_range("k", suffix(5)).await.unwrap();
    assert_eq!((read.data.len(), extent(&read.info)), (0, (0, 0)));
    harness.close().await;
}

#[tokio::test]
async fn missing_objects_and_stores_are_not_found() {
    let harness = Harness::open().await;
    assert_eq!(code_and_reason(harness.get("no").await), (Code::NotFound, "OBJECT_NOT_FOUND".to_owned()));
    assert_eq!(code_and_reason(harness.head("no").await), (Code::NotFound, "OBJECT_NOT_FOUND".to_owned()));
    assert_eq!(
        code_and_reason(harness.head_of("no-store", "k").await),
        (Code::NotFound, "STORE_NOT_FOUND".to_owned())
    );
    harness.close().await;
}

async fn pieces(
    harness: &Harness,
    ranges: Vec<ByteRange>,
    coalesce: Option<i64>,
) -> Vec<(i32, i64, Vec<u8>)> {
    let request = GetRangesRequest {
        key: "k".to_owned(),
        ranges,
        coalesce_bytes: coalesce,
        ..GetRangesRequest::default()
    };
    let mut stream = harness.objects.clone().get_ranges(request).await.unwrap().into_inner();
    let mut pieces: Vec<(i32, i64, Vec<u8>)> = Vec::new();
    let mut first = true;
    while let Some(message) = stream.message().await.unwrap() {
        assert_eq!(message.info.is_some(), first);
        first = false;
        let Some(chunk) = message.chunk else { continue };
        match pieces.last_mut() {
            Some((index, start, data)) if *index == message.range_index => {
                assert_eq!(*start + i64::try_from(data.len()).unwrap(), message.offset);
                data.extend_from_slice(&chunk.data);
            }
            _ => pieces.push((message.range_index, message.offset, chunk.data.to_vec())),
        }
    }
    pieces
}

#[tokio::test]
async fn several_ranges_arrive_in_the_requested_order() {
    let harness = Harness::open().await;
    let data = noise(2 * 1024 * 1024);
    harness.put("k", data.clone()).await;
    let last = i64::try_from(data.len()).unwrap();
    let ranges = vec![
        bounded(10, 20),
        bounded(25, 1_500_000),
        suffix(5),
        bounded(0, 3),
        bounded(7, 7),
        offset(last - 2),
    ];
    let expected = [(0, 10, 20), (1, 25, 1_500_000), (2, last - 5, last), (3, 0, 3), (5, last - 2, last)];
    for coalesce in [None, Some(0)] {
        let pieces = pieces(&harness, ranges.clone(), coalesce).await;
        assert_eq!(pieces.len(), expected.len());
        for ((index, offset, bytes), (want, start, end)) in pieces.iter().zip(expected) {
            assert_eq!((*index, *offset), (want, start));
            assert!(*bytes == data[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
        }
    }
    harness.close().await;
}
