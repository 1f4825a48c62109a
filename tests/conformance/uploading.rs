use std::time::Duration;

use longshore::pb::{Attributes, UploadFinish, UploadRequest, UploadSpec};
use tonic::Code;

use super::limits::Ability;
use crate::support::{
    calls::{chunk, create, finish, noise, spec, update},
    failure::{code_and_reason, field},
    harness::Harness,
};

const MIB: usize = 1024 * 1024;

fn to(key: &str) -> UploadSpec {
    UploadSpec { key: key.to_owned(), ..UploadSpec::default() }
}

fn messages(first: UploadSpec, data: &bytes::Bytes, piece: usize) -> Vec<UploadRequest> {
    let chunks = (0..data.len()).step_by(piece).map(|at| chunk(data.slice(at..data.len().min(at + piece))));
    std::iter::once(spec(first)).chain(chunks).collect()
}

fn crc32c(data: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data)).unwrap()
}

#[tokio::test]
async fn a_small_upload_is_one_put() {
    let harness = Harness::open().await;
    for size in [0, 1, 8 * MIB] {
        let data = noise(size);
        let uploaded = harness.upload(messages(to("k"), &data, MIB)).await.unwrap();
        assert_eq!(uploaded.parts, 0);
        let meta = uploaded.meta.unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("k", i64::try_from(size).unwrap()));
        assert!(harness.get("k").await.unwrap().data == data);
    }
    harness.close().await;
}

#[tokio::test]
async fn a_large_upload_is_split_into_parts_with_messages_of_any_size() {
    let harness = Harness::open().await;
    let data = noise(20 * MIB + 1);
    for piece in [777_777, 2 * MIB] {
        let uploaded = harness.upload(messages(to("k"), &data, piece)).await.unwrap();
        assert_eq!(uploaded.parts, 3);
        let meta = uploaded.meta.unwrap();
        let read = harness.get("k").await.unwrap();
        assert!(read.data == data, "in pieces of {piece}");
        assert_eq!(read.info.meta.unwrap().etag, meta.etag);
    }
    harness.close().await;
}

#[tokio::test]
async fn size_and_part_size_are_honoured() {
    let harness = Harness::open().await;
    let data = noise(12 * MIB);
    let size = Some(i64::try_from(data.len()).unwrap());
    let given = UploadSpec { size, part_size: Some(5 * 1024 * 1024), ..to("k") };
    let uploaded = harness.upload(messages(given, &data, MIB)).await.unwrap();
    assert_eq!(uploaded.parts, 3);
    assert!(harness.get("k").await.unwrap().data == data);
    harness.close().await;
}

#[tokio::test]
async fn attributes_survive_a_multipart_upload() {
    let harness = Harness::open().await;
    let attributes = Attributes {
        content_type: "text/x-harbour".to_owned(),
        metadata: [("k".to_owned(), "ä".to_owned())].into(),
        ..Attributes::default()
    };
    let given = UploadSpec { attributes: Some(attributes.clone()), ..to("k") };
    harness.upload(messages(given, &noise(9 * MIB), MIB)).await.unwrap();
    let read = harness.head("k").await.unwrap().attributes.unwrap();
    assert_eq!(Attributes { storage_class: String::new(), ..read }, attributes);

    harness.close().await;
}

#[tokio::test]
async fn the_size_and_checksum_in_finish_are_verified() {
    let harness = Harness::open().await;
    for data in [noise(10), noise(9 * MIB)] {
        let size = i64::try_from(data.len()).unwrap();
        let wrong = [
            (UploadFinish { size: Some(size + 1), crc32c: None }, (Code::InvalidArgument, "SIZE_MISMATCH")),
            (
                UploadFinish { size: None, crc32c: Some(crc32c(&data) ^ 1) },
                (Code::DataLoss, "CHECKSUM_MISMATCH"),
            ),
        ];
        for (claim, (code, reason)) in wrong {
            let mut messages = messages(to("k"), &data, MIB);
            messages.push(finish(claim));
            assert_eq!(code_and_reason(harness.upload(messages).await), (code, reason.to_owned()));
            assert!(harness.head("k").await.is_err(), "nothing becomes visible");
        }
        let mut messages = messages(to("right"), &data, MIB);
        messages.push(finish(UploadFinish { size: Some(size), crc32c: Some(crc32c(&data)) }));
        harness.upload(messages).await.unwrap();
    }
    harness.close().await;
}

#[tokio::test]
async fn more_or_fewer_bytes_than_announced_fail() {
    let harness = Harness::open().await;
    for announced in [9, 11] {
        let given = UploadSpec { size: Some(announced), ..to("k") };
        let outcome = harness.upload(messages(given, &noise(10), 3)).await;
        assert_eq!(code_and_reason(outcome), (Code::InvalidArgument, "SIZE_MISMATCH".to_owned()));
    }
    assert!(harness.head("k").await.is_err());
    harness.close().await;
}

#[tokio::test]
async fn messages_out_of_order_are_rejected() {
    let harness = Harness::open().await;
    assert_eq!(field(harness.upload(vec![chunk("x")]).await), "spec");
    assert_eq!(field(harness.upload(vec![]).await), "spec");
    assert_eq!(field(harness.upload(vec![spec(to("k")), spec(to("k"))]).await), "spec");
    let late = vec![spec(to("k")), finish(UploadFinish::default()), chunk("x")];
    assert_eq!(field(harness.upload(late).await), "finish");
    assert_eq!(field(harness.upload(vec![spec(to(""))]).await), "spec.key");
    let tiny = UploadSpec { part_size: Some(1), ..to("k") };
    assert_eq!(field(harness.upload(vec![spec(tiny)]).await), "spec.part_size");
    assert!(harness.head("k").await.is_err());
    harness.close().await;
}

#[tokio::test]
async fn multipart_uploads_honour_create_and_update() {
    let harness = Harness::open().await;
    let data = noise(9 * MIB);
    if harness.judges(Ability::CreateByMultipart) {
        let given = || UploadSpec { mode: Some(create()), ..to("created") };
        harness.upload(messages(given(), &data, MIB)).await.unwrap();
        let again = code_and_reason(harness.upload(messages(given(), &data, MIB)).await);
        assert_eq!(again, (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    }
    if harness.judges(Ability::UpdateByMultipart) {
        let etag = harness.put("updated", "old").await.etag;
        let given = || UploadSpec { mode: Some(update(&etag)), ..to("updated") };
        harness.upload(messages(given(), &data, MIB)).await.unwrap();
        let again = code_and_reason(harness.upload(messages(given(), &data, MIB)).await);
        assert_eq!(again, (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
    }
    harness.close().await;
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_visible() {
    let harness = Harness::open().await;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let mut objects = harness.objects.clone();
    let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
    let call = tokio::task::spawn(async move { objects.upload(stream).await.map(drop) });
    send.send(spec(to("k"))).await.unwrap();
    for _ in 0..20 {
        send.send(chunk(noise(MIB))).await.unwrap();
    }
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    drop(send);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(code_and_reason(harness.head("k").await), (Code::NotFound, "OBJECT_NOT_FOUND".to_owned()));
    harness.close().await;
}
