use longshore::pb::{DeleteManyRequest, ObjectId};

use crate::support::{failure::field, house::House};

#[tokio::test]
async fn deleting_what_is_missing_succeeds() {
    let house = House::open().await;
    house.put("k", "x").await;
    house.delete("k").await.unwrap();
    assert!(house.head("k").await.is_err());
    house.delete("k").await.unwrap();
    assert_eq!(field(house.delete("").await), "key");
    house.close().await;
}

#[tokio::test]
async fn many_keys_have_a_result_each_in_order() {
    let house = House::open().await;
    for key in ["a", "b", "d"] {
        house.put(key, "x").await;
    }
    let long = "x".repeat(1025);
    let answers = house.delete_many(&["b", "missing", "", &long, "a", "a"]).await.unwrap();
    let results: Vec<_> = answers.into_iter().flat_map(|answer| answer.results).collect();
    let told: Vec<_> = results
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
    assert_eq!(told, expected);
    assert!(house.head("a").await.is_err() && house.head("b").await.is_err());
    house.head("d").await.unwrap();
    house.close().await;
}

#[tokio::test]
async fn a_caller_that_waits_for_each_answer_gets_it() {
    let house = House::open().await;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let request = |key: &str| {
        let objects = vec![ObjectId { key: key.to_owned(), version: String::new() }];
        DeleteManyRequest { store: String::new(), objects }
    };
    house.put("a", "x").await;
    send.send(request("a")).await.unwrap();
    let mut answers = house.objects.clone().delete_many(requests).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().results[0].key, "a");
    for (index, key) in [(1, "b"), (2, "c")] {
        house.put(key, "x").await;
        send.send(request(key)).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.results[0].index, answer.results[0].key.as_str()), (index, key));
        assert!(house.head(key).await.is_err());
    }
    drop(send);
    assert!(answers.message().await.unwrap().is_none());
    house.close().await;
}

#[tokio::test]
async fn more_keys_than_a_batch_holds_are_deleted() {
    let house = House::open().await;
    let keys: Vec<_> = (0..1_100).map(|n| format!("{n}")).collect();
    futures::future::join_all(keys.iter().map(|key| house.put(key, ""))).await;
    let names: Vec<_> = keys.iter().map(String::as_str).collect();
    let answers = house.delete_many(&names).await.unwrap();
    let indexes: Vec<_> =
        answers.iter().flat_map(|answer| &answer.results).map(|result| result.index).collect();
    assert_eq!(indexes, (0..1_100).collect::<Vec<_>>());
    assert!(house.walk(longshore::pb::WalkRequest::default()).await.unwrap().is_empty());
    house.close().await;
}

#[tokio::test]
async fn a_message_of_too_many_keys_is_refused() {
    let house = House::open().await;
    let names = vec![""; 10_001];
    assert_eq!(field(house.delete_many(&names).await), "objects");
    house.close().await;
}
