use longshore::pb::{ListRequest, WalkRequest};

use crate::support::{failure::field, house::House};

const KEYS: [&str; 7] = ["a/1", "a/2", "a/b/3", "b", "c/4", "c/d/5", "e f+g"];

async fn filled() -> House {
    let house = House::open().await;
    for key in KEYS {
        house.put(key, key.as_bytes()).await;
    }
    house
}

fn from(prefix: &str, delimiter: &str) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), ..ListRequest::default() }
}

#[tokio::test]
async fn a_page_has_keys_in_order_with_their_metadata() {
    let house = filled().await;
    let page = house.list(ListRequest::default()).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, KEYS);
    assert_eq!(page.next_page_token, "");
    let meta = house.head("e f+g").await.unwrap().meta.unwrap();
    let listed = &page.objects[6];
    assert_eq!(listed.size, 5);
    assert_eq!(listed.etag, meta.etag);

    // Listings tell the time to the millisecond, headers to the second.
    assert_eq!(listed.last_modified.unwrap().seconds, meta.last_modified.unwrap().seconds);
    house.close().await;
}

#[tokio::test]
async fn a_delimiter_rolls_keys_up() {
    let house = filled().await;
    let page = house.list(from("", "/")).await.unwrap();
    assert_eq!(page.common_prefixes, ["a/", "c/"]);
    assert_eq!(page.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["b", "e f+g"]);
    let below = house.list(from("a/", "/")).await.unwrap();
    assert_eq!(below.common_prefixes, ["a/b/"]);
    assert_eq!(below.objects.len(), 2);
    assert!(house.list(from("nothing", "")).await.unwrap().objects.is_empty());
    house.close().await;
}

#[tokio::test]
async fn pages_follow_one_another_without_gap_or_double() {
    let house = filled().await;
    let mut request = ListRequest { page_size: 2, ..ListRequest::default() };
    let (mut keys, mut pages) = (Vec::new(), 0);
    loop {
        let page = house.list(request.clone()).await.unwrap();
        assert!(page.objects.len() <= 2);
        keys.extend(page.objects.into_iter().map(|object| object.key));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((keys, pages), (KEYS.map(str::to_owned).to_vec(), 4));
    house.close().await;
}

#[tokio::test]
async fn a_page_token_belongs_to_its_request() {
    let house = filled().await;
    let request = ListRequest { page_size: 2, ..ListRequest::default() };
    let token = house.list(request.clone()).await.unwrap().next_page_token;
    let other = ListRequest { prefix: "a".to_owned(), page_token: token.clone(), ..request.clone() };
    assert_eq!(field(house.list(other).await), "page_token");
    let forged = ListRequest { page_token: "nonsense".to_owned(), ..request.clone() };
    assert_eq!(field(house.list(forged).await), "page_token");
    assert_eq!(field(house.list(ListRequest { page_size: -1, ..request.clone() }).await), "page_size");
    let another_size = ListRequest { page_size: 1, page_token: token, ..request };
    assert_eq!(house.list(another_size).await.unwrap().objects[0].key, KEYS[2]);
    house.close().await;
}

#[tokio::test]
async fn a_listing_begins_after_a_key() {
    let house = filled().await;
    let request = ListRequest { start_after: "b".to_owned(), ..ListRequest::default() };
    let keys: Vec<_> =
        house.list(request).await.unwrap().objects.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, KEYS[4..]);
    house.close().await;
}

#[tokio::test]
async fn a_walk_goes_through_every_page_up_to_its_limit() {
    let house = House::open().await;
    let keys: Vec<_> = (0..1_050).map(|n| format!("k/{n:05}")).collect();
    futures::future::join_all(keys.iter().map(|key| house.put(key, ""))).await;
    assert_eq!(house.walk(WalkRequest::default()).await.unwrap(), keys);
    let below = WalkRequest { prefix: "k/000".to_owned(), ..WalkRequest::default() };
    assert_eq!(house.walk(below).await.unwrap(), keys[..100]);
    for limit in [1, 1_000, 1_001] {
        let limited = WalkRequest { limit, ..WalkRequest::default() };
        assert_eq!(house.walk(limited).await.unwrap(), keys[..usize::try_from(limit).unwrap()]);
    }
    house.close().await;
}

#[tokio::test]
async fn one_store_does_not_list_another() {
    let house = filled().await;
    let request = ListRequest { store: "other".to_owned(), ..ListRequest::default() };
    assert!(house.list(request).await.unwrap().objects.is_empty());
    house.close().await;
}
