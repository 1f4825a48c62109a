use std::collections::HashMap;

use longshore::pb::{
    Attributes, CopyDestination, CopyRequest, PutRequest, ReadConditions, RenameRequest, RenameSource,
};
use tonic::Code;

use super::limits::Ability;
use crate::support::{
    calls::{copying, create, noise},
    failure::{field, told},
    house::House,
};

fn attributes() -> Attributes {
    Attributes {
        content_type: "text/x-harbour".to_owned(),
        metadata: HashMap::from([("k".to_owned(), "ä".to_owned())]),
        ..Attributes::default()
    }
}

async fn with_source() -> House {
    let house = House::open().await;
    let request = PutRequest {
        key: "from".to_owned(),
        data: "cargo".into(),
        attributes: Some(attributes()),
        ..PutRequest::default()
    };
    house.try_put(request).await.unwrap();
    house
}

async fn attributes_of(house: &House, store: &str, key: &str) -> Attributes {
    let read = house.head_of(store, key).await.unwrap().attributes.unwrap();
    Attributes { storage_class: String::new(), ..read }
}

#[tokio::test]
async fn a_copy_keeps_bytes_and_attributes_in_any_store() {
    let house = with_source().await;
    for store in ["", "other", "elsewhere"] {
        let meta = house.copy(("", "from"), (store, "to")).await.unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("to", 5), "{store}");
        let head = house.head_of(store, "to").await.unwrap();
        assert_eq!(head.meta.unwrap().etag, meta.etag, "{store}");
        assert_eq!(attributes_of(&house, store, "to").await, attributes(), "{store}");
        let back = house.copy((store, "to"), ("", "back")).await.unwrap();
        assert_eq!((back.size, house.get("back").await.unwrap().data), (5, b"cargo".to_vec()), "{store}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_copy_gets_other_attributes_if_they_are_given() {
    let house = with_source().await;
    let other = Attributes { content_type: "text/plain".to_owned(), ..Attributes::default() };
    for store in ["", "elsewhere"] {
        let request = CopyRequest { attributes: Some(other.clone()), ..copying(("", "from"), (store, "to")) };
        house.try_copy(request).await.unwrap();
        assert_eq!(attributes_of(&house, store, "to").await, other);
    }
    house.close().await;
}

#[tokio::test]
async fn a_copy_that_creates_never_overwrites() {
    let house = with_source().await;
    house.put("empty", "").await;
    if house.judges(Ability::CreateByMultipart) {
        for source in ["from", "empty"] {
            let to = format!("to-{source}");
            let request = CopyRequest { mode: Some(create()), ..copying(("", source), ("", &to)) };
            house.try_copy(request.clone()).await.unwrap();
            assert_eq!(
                told(house.try_copy(request).await),
                (Code::AlreadyExists, "ALREADY_EXISTS".to_owned())
            );
        }
        assert_eq!(attributes_of(&house, "", "to-from").await, attributes());
        assert_eq!(house.get("to-from").await.unwrap().data, b"cargo");
    }
    house.close().await;
}

#[tokio::test]
async fn a_large_object_is_relayed_in_parts() {
    let house = House::open().await;
    let data = noise(3_900_000);
    house.put("from", data.clone()).await;
    house.copy(("", "from"), ("elsewhere", "to")).await.unwrap();
    house.copy(("elsewhere", "to"), ("", "back")).await.unwrap();
    assert!(house.get("back").await.unwrap().data == data);
    house.close().await;
}

#[tokio::test]
async fn the_source_has_to_be_there_and_hold_its_conditions() {
    let house = with_source().await;
    assert_eq!(
        told(house.copy(("", "no"), ("", "to")).await),
        (Code::NotFound, "OBJECT_NOT_FOUND".to_owned())
    );
    let conditions = ReadConditions { if_match: "\"other\"".to_owned(), ..ReadConditions::default() };
    let request = CopyRequest { source_conditions: Some(conditions), ..copying(("", "from"), ("", "to")) };
    let refused = told(house.try_copy(request).await);
    assert_eq!(refused, (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));

    assert!(house.head("to").await.is_err());
    house.close().await;
}

fn renaming(from: (&str, &str), to: (&str, &str)) -> RenameRequest {
    RenameRequest {
        source: Some(RenameSource { store: from.0.to_owned(), key: from.1.to_owned() }),
        destination: Some(CopyDestination { store: to.0.to_owned(), key: to.1.to_owned() }),
        mode: None,
    }
}

#[tokio::test]
async fn a_rename_moves() {
    let house = with_source().await;
    for (from, to) in [
        (("", "from"), ("", "to")),
        (("", "to"), ("elsewhere", "far")),
        (("elsewhere", "far"), ("other", "near")),
    ] {
        house.objects.clone().rename(renaming(from, to)).await.unwrap();
        assert!(house.head_of(from.0, from.1).await.is_err(), "{from:?}");
        assert_eq!(attributes_of(&house, to.0, to.1).await, attributes(), "{to:?}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_rename_onto_itself_is_refused() {
    let house = with_source().await;
    let outcome = house.objects.clone().rename(renaming(("", "from"), ("default", "from"))).await;
    assert_eq!(field(outcome), "destination.key");
    assert_eq!(house.get("from").await.unwrap().data, b"cargo");
    house.close().await;
}
