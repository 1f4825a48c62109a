use std::collections::HashMap;

use longshore::pb::{Attributes, GetTagsRequest, PutRequest, SignRequest};
use tonic::Code;

use super::limits::Ability;
use crate::support::{
    calls::{create, noise, update},
    failure::{field, told},
    house::House,
};

fn metadata(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn attributes_come_back_as_they_were_written() {
    let house = House::open().await;
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
    house.try_put(request).await.unwrap();
    let read = house.head("k").await.unwrap().attributes.unwrap();
    assert_eq!(Attributes { storage_class: String::new(), ..read }, attributes);
    assert_eq!(house.get("k").await.unwrap().info.attributes.unwrap().metadata, attributes.metadata);
    house.close().await;
}

#[tokio::test]
async fn what_a_header_cannot_carry_is_refused_by_name() {
    let house = House::open().await;
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
        assert_eq!(field(house.try_put(with(attributes)).await), "attributes.metadata");
    }
    let newline = Attributes { content_type: "a\nb".to_owned(), ..Attributes::default() };
    assert_eq!(field(house.try_put(with(newline)).await), "attributes.content_type");
    assert!(house.head("k").await.is_err(), "nothing was written");
    house.close().await;
}

#[tokio::test]
async fn a_damaged_message_writes_nothing() {
    let house = House::open().await;
    let request =
        PutRequest { key: "k".to_owned(), data: "x".into(), crc32c: Some(1), ..PutRequest::default() };
    assert_eq!(told(house.try_put(request.clone()).await), (Code::DataLoss, "CHECKSUM_MISMATCH".to_owned()));
    assert!(house.head("k").await.is_err());
    let right = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, b"x");
    let right = PutRequest { crc32c: Some(u32::try_from(right).unwrap()), ..request };
    house.try_put(right).await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn create_and_update_hold_their_condition() {
    let house = House::open().await;
    if house.judges(Ability::ConditionalPut) {
        let put = |data: &'static str, mode| {
            house.try_put(PutRequest {
                key: "k".to_owned(),
                data: data.into(),
                mode,
                ..PutRequest::default()
            })
        };
        let first = put("1", Some(create())).await.unwrap();
        assert_eq!(told(put("2", Some(create())).await), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
        let second = put("22", Some(update(&first.etag))).await.unwrap();
        let stale = told(put("333", Some(update(&first.etag))).await);
        assert_eq!(stale, (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
        let read = house.get("k").await.unwrap();
        assert_eq!((read.data.as_slice(), read.info.meta.unwrap().etag), (b"22".as_slice(), second.etag));
        assert!(read.info.attributes.unwrap().metadata.is_empty(), "the write id is hidden");
    }
    house.close().await;
}

#[tokio::test]
async fn update_of_a_missing_object_fails() {
    let house = House::open().await;
    if house.judges(Ability::ConditionalPut) {
        let mode = Some(update("\"0123456789abcdef0123456789abcdef\""));
        let outcome = house.try_put(PutRequest { key: "no".to_owned(), mode, ..PutRequest::default() }).await;
        assert_eq!(told(outcome), (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));
        assert_eq!(
            field(
                house
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
    house.close().await;
}

#[tokio::test]
async fn a_store_without_conditions_refuses_them() {
    let house = House::open_with(|store| {
        store.conditional_put = longshore::store::ConditionalPut::Disabled;
    })
    .await;
    let outcome = house
        .try_put(PutRequest { key: "k".to_owned(), mode: Some(create()), ..PutRequest::default() })
        .await;
    assert_eq!(told(outcome), (Code::Unimplemented, "CONDITIONS_NOT_SUPPORTED".to_owned()));
    house.close().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_sent_to_upload() {
    let house = House::open().await;
    let request = PutRequest { key: "k".to_owned(), data: noise(5 * 1024 * 1024), ..PutRequest::default() };
    let status = house.try_put(request).await.unwrap_err();
    assert!(status.message().contains("Upload"), "{status:?}");
    assert_eq!(told::<()>(Err(status)), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()));
    house.close().await;
}

#[tokio::test]
async fn every_checksum_algorithm_is_sent_and_comes_back() {
    let house = House::open().await;
    let says_checksums = house.judges(Ability::ChecksumsOfPuts);
    for algorithm in 1..=5 {
        let request = PutRequest {
            key: "k".to_owned(),
            data: "123456789".into(),
            checksum_algorithm: algorithm,
            ..PutRequest::default()
        };
        let meta = house.try_put(request).await.unwrap();
        // A server that does not say which checksum it keeps is not spoken for.
        if says_checksums {
            assert_eq!(meta.checksums[0].algorithm, algorithm);
            assert!(!meta.checksums[0].value.is_empty());
        }
        assert_eq!(house.get("k").await.unwrap().data, b"123456789");
    }
    house.close().await;
}

#[tokio::test]
async fn what_comes_later_says_so() {
    let house = House::open().await;
    let later = (Code::Unimplemented, "NOT_IMPLEMENTED".to_owned());
    assert_eq!(told(house.objects.clone().sign(SignRequest::default()).await), later);
    assert_eq!(told(house.objects.clone().get_tags(GetTagsRequest::default()).await), later);
    house.close().await;
}
