use std::collections::HashMap;

use longshore::pb::{
    Attributes, CopyDestination, CopyRequest, PutRequest, ReadConditions, RenameRequest, RenameSource,
};
use tonic::Code;

use super::limits::Ability;
use crate::support::{
    calls::{copying, create, noise},
    failure::{code_and_reason, field},
    harness::Harness,
};

fn attributes() -> Attributes {
    Attributes {
        content_type: "text/x-harbour".to_owned(),
        metadata: HashMap::from([("k".to_owned(), "ä".to_owned())]),
        ..Attributes::default()
    }
}

async fn with_source() -> Harness {
    let harness = Harness::open().await;
    let request = PutRequest {
        key: "from".to_owned(),
        data: "cargo".into(),
        attributes: Some(attributes()),
        ..PutRequest::default()
    };
    harness.try_put(request).await.unwrap();
    harness
}

async fn attributes_of(harness: &Harness, store: &str, key: &str) -> Attributes {
    let read = harness.head_of(store, key).await.unwrap().attributes.unwrap();
    Attributes { storage_class: String::new(), ..read }
}

#[tokio::test]
async fn a_copy_keeps_bytes_and_attributes_in_any_store() {
    let harness = with_source().await;
    for store in ["", "other", "elsewhere"] {
        let meta = harness.copy(("", "from"), (store, "to")).await.unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("to", 5), "{store}");
        let head = harness.head_of(store, "to").await.unwrap();
        assert_eq!(head.meta.unwrap().etag, meta.etag, "{store}");
        assert_eq!(attributes_of(&harness, store, "to").await, attributes(), "{store}");
        let back = harness.copy((store, "to"), ("", "back")).await.unwrap();
        assert_eq!((back.size, harness.get("back").await.unwrap().data), (5, b"cargo".to_vec()), "{store}");
    }
    harness.close().await;
}

#[tokio::test]
async fn a_copy_can_get_new_attributes() {
    let harness = with_source().await;
    let other = Attributes { content_type: "text/plain".to_owned(), ..Attributes::default() };
    for store in ["", "elsewhere"] {
        let request = CopyRequest { attributes: Some(other.clone()), ..copying(("", "from"), (store, "to")) };
        harness.try_copy(request).await.unwrap();
        assert_eq!(attributes_of(&harness, store, "to").await, other);
    }
    harness.close().await;
}

#[tokio::test]
async fn a_copy_with_create_never_overwrites() {
    let harness = with_source().await;
    harness.put("empty", "").await;
    if harness.judges(Ability::CreateByMultipart) {
        for source in ["from", "empty"] {
            let to = format!("to-{source}");
            let request = CopyRequest { mode: Some(create()), ..copying(("", source), ("", &to)) };
            harness.try_copy(request.clone()).await.unwrap();
            assert_eq!(
                code_and_reason(harness.try_copy(request).await),
                (Code::AlreadyExists, "ALREADY_EXISTS".to_owned())
            );
        }
        assert_eq!(attributes_of(&harness, "", "to-from").await, attributes());
        assert_eq!(harness.get("to-from").await.unwrap().data, b"cargo");
    }
    harness.close().await;
}

#[tokio::test]
async fn an_object_is_relayed_between_servers() {
    let harness = Harness::open().await;
    let data = noise(3_900_000);
    harness.put("from", data.clone()).await;
    harness.copy(("", "from"), ("elsewhere", "to")).await.unwrap();
    harness.copy(("elsewhere", "to"), ("", "back")).await.unwrap();
    assert!(harness.get("back").await.unwrap().data == data);
    harness.close().await;
}

#[tokio::test]
async fn the_source_must_exist_and_meet_its_conditions() {
    let harness = with_source().await;
    assert_eq!(
        code_and_reason(harness.copy(("", "no"), ("", "to")).await),
        (Code::NotFound, "OBJECT_NOT_FOUND".to_owned())
    );
    let conditions = ReadConditions { if_match: "\"other\"".to_owned(), ..ReadConditions::default() };
    let request = CopyRequest { source_conditions: Some(conditions), ..copying(("", "from"), ("", "to")) };
    let refused = code_and_reason(harness.try_copy(request).await);
    assert_eq!(refused, (Code::FailedPrecondition, "PRECONDITION_FAILED".to_owned()));

    assert!(harness.head("to").await.is_err());
    harness.close().await;
}

fn renaming(from: (&str, &str), to: (&str, &str)) -> RenameRequest {
    RenameRequest {
        source: Some(RenameSource { store: from.0.to_owned(), key: from.1.to_owned() }),
        destination: Some(CopyDestination { store: to.0.to_owned(), key: to.1.to_owned() }),
        mode: None,
    }
}

#[tokio::test]
async fn a_rename_moves_an_object() {
    let harness = with_source().await;
    for (from, to) in [
        (("", "from"), ("", "to")),
        (("", "to"), ("elsewhere", "far")),
        (("elsewhere", "far"), ("other", "near")),
    ] {
        harness.objects.clone().rename(renaming(from, to)).await.unwrap();
        assert!(harness.head_of(from.0, from.1).await.is_err(), "{from:?}");
        assert_eq!(attributes_of(&harness, to.0, to.1).await, attributes(), "{to:?}");
    }
    harness.close().await;
}

#[tokio::test]
async fn a_rename_onto_itself_is_rejected() {
    let harness = with_source().await;
    let outcome = harness.objects.clone().rename(renaming(("", "from"), ("default", "from"))).await;
    assert_eq!(field(outcome), "destination.key");
    assert_eq!(harness.get("from").await.unwrap().data, b"cargo");
    harness.close().await;
}
