use std::collections::HashMap;

use longshore::pb::{Attributes, PutRequest};
use tonic::Code;

use super::limits::Ability;
use crate::support::{
    calls::{create, noise, update},
    failure::{code_and_reason, field},
    harness::Harness,
};

fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn attributes_are_returned_as_they_were_written() {
    let harness = Harness::open().await;
    let attributes = Attributes {
        content_type: "text/x-harbour".to_owned(),
        content_encoding: "identity-ish".to_owned(),
        content_language: "de".to_owned(),
        content_disposition: "attachment; filename=\"a.txt\"".to_owned(),
        cache_control: "no-store".to_owned(),
        metadata: metadata(&[("plain", "a b"), ("other", "schön 🚢"), ("spaces", "x  y")]),
        ..Attributes::default()
    };
    let request = PutRequest {
        key: "k".to_owned(),
        data: "x".into(),
        attributes: Some(attributes.clone()),
        ..PutRequest::default()
    };
    harness.try_put(request).await.unwrap();
    let read = harness.head("k").await.unwrap().attributes.unwrap();
    assert_eq!(Attributes { storage_class: String::new(), ..read }, attributes);
    assert_eq!(harness.get("k").await.unwrap().info.attributes.unwrap().metadata, attributes.metadata);
    harness.close().await;
}

#[tokio::test]
async fn attributes_that_a_header_cannot_carry_are_rejected() {
    let harness = Harness::open().await;
    let with = |attributes: Attributes| PutRequest {
        key: "k".to_owned(),
        attributes: Some(attributes),
        ..PutRequest::default()
    };
    let cases = [
        Attributes { metadata: metadata(&[("not a name", "x")]), ..Attributes::default() },
        Attributes { metadata: metadata(&[("A", "x"), ("a", "y")]), ..Attributes::default() },
        Attributes { metadata: metadata(&[("longshore-write-id", "x")]), ..Attributes::default() },
        Attributes { metadata: metadata(&[("a", " x")]), ..Attributes::default() },
        Attributes { metadata: metadata(&[("a", "x\ny")]), ..Attributes::default() },
    ];
    for attributes in cases {
        assert_eq!(field(harness.try_put(with(attributes)).await), "attributes.metadata");
    }
    let newline = Attributes { content_type: "a\nb".to_owned(), ..Attributes::default() };
    assert_eq!(field(harness.try_put(with(newline)).await), "attributes.content_type");
    assert!(harness.head("k").await.is_err(), "nothing was written");
    harness.close().await;
}

#[tokio::test]
async fn a_damaged_message_writes_nothing() {
    let harness = Harness::open().await;
    let request =
        PutRequest { key: "k".to_owned(), data: "x".into(), crc32c: Some(1), ..PutRequest::default() };
    assert_eq!(
        code_and_reason(harness.try_put(request.clone()).await),
        (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned())
    );
    assert!(harness.head("k").await.is_err());
    let right = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, b"x");
    let right = PutRequest { crc32c: Some(u32::try_from(right).unwrap()), ..request };
    harness.try_put(right).await.unwrap();
    harness.close().await;
}

#[tokio::test]
async fn puts_honour_create_and_update() {
    let harness = Harness::open().await;
    if harness.judges(Ability::ConditionalPut) {
        let put = |data: &'static str, mode| {
            harness.try_put(PutRequest {
                key: "k".to_owned(),
                data: data.into(),
                mode,
                ..PutRequest::default()
            })
        };
        let first = put("1", Some(create())).await.unwrap();
        assert_eq!(
            code_and_reason(put("2", Some(create())).await),
            (Code::AlreadyExists, "ALREADY_EXISTS".to_owned())
        );
        let second = put("22", Some(update(&first.etag))).await.unwrap();
        let stale = code_and_reason(put("333", Some(update(&first.etag))).await);
        assert_eq!(stale, (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
        let read = harness.get("k").await.unwrap();
        assert_eq!((read.data.as_slice(), read.info.meta.unwrap().etag), (b"22".as_slice(), second.etag));
        assert!(read.info.attributes.unwrap().metadata.is_empty(), "the write id is hidden");
    }
    harness.close().await;
}

#[tokio::test]
async fn update_of_a_missing_object_fails() {
    let harness = Harness::open().await;
    if harness.judges(Ability::ConditionalPut) {
        let mode = Some(update("\"0123456789abcdef0123456789abcdef\""));
        let outcome =
            harness.try_put(PutRequest { key: "no".to_owned(), mode, ..PutRequest::default() }).await;
        assert_eq!(code_and_reason(outcome), (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
        assert_eq!(
            field(
                harness
                    .try_put(PutRequest {
                        key: "no".to_owned(),
                        mode: Some(update("")),
                        ..PutRequest::default()
                    })
                    .await
            ),
            "mode.update.etag"
        );
    }
    harness.close().await;
}

#[tokio::test]
async fn a_store_without_conditions_rejects_them() {
    let harness = Harness::open_with(|store| {
        store.conditional_put = longshore::store::ConditionalPut::Disabled;
    })
    .await;
    let outcome = harness
        .try_put(PutRequest { key: "k".to_owned(), mode: Some(create()), ..PutRequest::default() })
        .await;
    assert_eq!(code_and_reason(outcome), (Code::Unimplemented, "CONDITIONS_NOT_SUPPORTED".to_owned()));
    harness.close().await;
}

#[tokio::test]
async fn the_error_for_a_message_over_the_limit_suggests_upload() {
    let harness = Harness::open().await;
    let request = PutRequest { key: "k".to_owned(), data: noise(5 * 1024 * 1024), ..PutRequest::default() };
    let status = harness.try_put(request).await.unwrap_err();
    assert!(status.message().contains("Upload"), "{status:?}");
    assert_eq!(code_and_reason::<()>(Err(status)), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    harness.close().await;
}

#[tokio::test]
async fn every_checksum_algorithm_is_sent_and_returned() {
    let harness = Harness::open().await;
    let says_checksums = harness.judges(Ability::ChecksumsOfPuts);
    for algorithm in 1..=5 {
        let request = PutRequest {
            key: "k".to_owned(),
            data: "123456789".into(),
            checksum_algorithm: algorithm,
            ..PutRequest::default()
        };
        let meta = harness.try_put(request).await.unwrap();
        // Some servers do not return the checksum.
        if says_checksums {
            assert_eq!(meta.checksums[0].algorithm, algorithm);
            assert!(!meta.checksums[0].value.is_empty());
        }
        assert_eq!(harness.get("k").await.unwrap().data, b"123456789");
    }
    harness.close().await;
}
