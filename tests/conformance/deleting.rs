use longshore::pb::{DeleteManyRequest, ObjectId};

use crate::support::{failure::field, harness::Harness};

#[tokio::test]
async fn deleting_a_missing_object_succeeds() {
    let harness = Harness::open().await;
    harness.put("k", "x").await;
    harness.delete("k").await.unwrap();
    assert!(harness.head("k").await.is_err());
    harness.delete("k").await.unwrap();
    assert_eq!(field(harness.delete("").await), "key");
    harness.close().await;
}

#[tokio::test]
async fn delete_many_returns_one_result_per_key_in_order() {
    let harness = Harness::open().await;
    for key in ["a", "b", "d"] {
        harness.put(key, "x").await;
    }
    let long = "x".repeat(1025);
    let answers = harness.delete_many(&["b", "missing", "", &long, "a", "a"]).await.unwrap();
    let results: Vec<_> = answers.into_iter().flat_map(|answer| answer.results).collect();
    let code_and_reason: Vec<_> = results
        .iter()
        .map(|result| {
            (result.index, result.key.as_str(), result.error.as_ref().map(|error| error.reason.as_str()))
        })
        .collect();
    let invalid = Some("INVALID_FIELD");
    let expected = [
        (0, "b", None),
        (1, "missing", None),
        (2, "", invalid),
        (3, long.as_str(), invalid),
        (4, "a", None),
        (5, "a", None),
    ];
    assert_eq!(code_and_reason, expected);
    assert!(harness.head("a").await.is_err() && harness.head("b").await.is_err());
    harness.head("d").await.unwrap();
    harness.close().await;
}

#[tokio::test]
async fn a_caller_that_waits_for_each_response_receives_it() {
    let harness = Harness::open().await;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let request = |key: &str| {
        let objects = vec![ObjectId { key: key.to_owned(), version: String::new() }];
        DeleteManyRequest { store: String::new(), objects }
    };
    harness.put("a", "x").await;
    send.send(request("a")).await.unwrap();
    let mut answers = harness.objects.clone().delete_many(requests).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().results[0].key, "a");
    for (index, key) in [(1, "b"), (2, "c")] {
        harness.put(key, "x").await;
        send.send(request(key)).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.results[0].index, answer.results[0].key.as_str()), (index, key));
        assert!(harness.head(key).await.is_err());
    }
    drop(send);
    assert!(answers.message().await.unwrap().is_none());
    harness.close().await;
}

#[tokio::test]
async fn more_keys_than_a_batch_holds_are_deleted() {
    let harness = Harness::open().await;
    let keys: Vec<_> = (0..1_100).map(|n| format!("{n}")).collect();
    futures::future::join_all(keys.iter().map(|key| harness.put(key, ""))).await;
    let names: Vec<_> = keys.iter().map(String::as_str).collect();
    let answers = harness.delete_many(&names).await.unwrap();
    let indexes: Vec<_> =
        answers.iter().flat_map(|answer| &answer.results).map(|result| result.index).collect();
    assert_eq!(indexes, (0..1_100).collect::<Vec<_>>());
    assert!(harness.walk(longshore::pb::WalkRequest::default()).await.unwrap().is_empty());
    harness.close().await;
}

#[tokio::test]
async fn a_message_with_too_many_keys_is_rejected() {
    let harness = Harness::open().await;
    let names = vec![""; 10_001];
    assert_eq!(field(harness.delete_many(&names).await), "objects");
    harness.close().await;
}
