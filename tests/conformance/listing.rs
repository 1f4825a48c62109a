use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use longshore::pb::{ListRequest, WalkRequest};

use crate::support::{failure::field, harness::Harness};

const KEYS: [&str; 7] = ["a/1", "a/2", "a/b/3", "b", "c/4", "c/d/5", "e f+g"];

async fn filled() -> Harness {
    let harness = Harness::open().await;
    for key in KEYS {
        harness.put(key, key.as_bytes()).await;
    }
    harness
}

fn from(prefix: &str, delimiter: &str) -> ListRequest {
    ListRequest { prefix: prefix.to_owned(), delimiter: delimiter.to_owned(), ..ListRequest::default() }
}

#[tokio::test]
async fn a_page_has_keys_in_order_with_their_metadata() {
    let harness = filled().await;
    let page = harness.list(ListRequest::default()).await.unwrap();
    let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
    assert_eq!(keys, KEYS);
    assert_eq!(page.next_page_token, "");
    let meta = harness.head("e f+g").await.unwrap().meta.unwrap();
    let listed = &page.objects[6];
    assert_eq!(listed.size, 5);
    assert_eq!(listed.etag, meta.etag);

    // Times have milliseconds in listings, and only seconds in headers.
    assert_eq!(listed.last_modified.unwrap().seconds, meta.last_modified.unwrap().seconds);
    harness.close().await;
}

#[tokio::test]
async fn a_delimiter_groups_keys_into_common_prefixes() {
    let harness = filled().await;
    let page = harness.list(from("", "/")).await.unwrap();
    assert_eq!(page.common_prefixes, ["a/", "c/"]);
    assert_eq!(page.objects.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["b", "e f+g"]);
    let below = harness.list(from("a/", "/")).await.unwrap();
    assert_eq!(below.common_prefixes, ["a/b/"]);
    assert_eq!(below.objects.len(), 2);
    assert!(harness.list(from("nothing", "")).await.unwrap().objects.is_empty());
    harness.close().await;
}

#[tokio::test]
async fn pages_have_no_gaps_or_duplicates() {
    let harness = filled().await;
    let mut request = ListRequest { page_size: 2, ..ListRequest::default() };
    let (mut keys, mut pages) = (Vec::new(), 0);
    loop {
        let page = harness.list(request.clone()).await.unwrap();
        assert!(page.objects.len() <= 2);
        keys.extend(page.objects.into_iter().map(|object| object.key));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((keys, pages), (KEYS.map(str::to_owned).to_vec(), 4));
    harness.close().await;
}

#[tokio::test]
async fn a_page_token_is_valid_only_for_its_request() {
    let harness = filled().await;
    let request = ListRequest { page_size: 2, ..ListRequest::default() };
    let token = harness.list(request.clone()).await.unwrap().next_page_token;
    let other = ListRequest { prefix: "a".to_owned(), page_token: token.clone(), ..request.clone() };
    assert_eq!(field(harness.list(other).await), "page_token");
    let forged = ListRequest { page_token: "nonsense".to_owned(), ..request.clone() };
    assert_eq!(field(harness.list(forged).await), "page_token");
    assert_eq!(field(harness.list(ListRequest { page_size: -1, ..request.clone() }).await), "page_size");
    let another_size = ListRequest { page_size: 1, page_token: token, ..request };
    assert_eq!(harness.list(another_size).await.unwrap().objects[0].key, KEYS[2]);
    harness.close().await;
}

#[tokio::test]
async fn a_page_token_does_not_show_where_the_store_is() {
    let harness = filled().await;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text.as_bytes()).unwrap_or_default();
    for delimiter in ["", "/"] {
        let delimiter = delimiter.to_owned();
        let request = ListRequest { page_size: 1, delimiter, ..ListRequest::default() };
        let token = harness.list(request).await.unwrap().next_page_token;
        assert!(token.len() > 12);
        // A digest of the request comes first, and then what is sealed.
        let sealed = String::from_utf8_lossy(&bytes(&token[12..])).into_owned();
        for hidden in ["run-", harness.backend.bucket.as_str(), KEYS[0]] {
            assert!(!token.contains(hidden) && !sealed.contains(hidden), "{hidden}: {token}");
        }
    }
    harness.close().await;
}

#[tokio::test]
async fn a_listing_starts_after_the_given_key() {
    let harness = filled().await;
    let request = ListRequest { start_after: "b".to_owned(), ..ListRequest::default() };
    let keys: Vec<_> =
        harness.list(request).await.unwrap().objects.into_iter().map(|object| object.key).collect();
    assert_eq!(keys, KEYS[4..]);
    harness.close().await;
}

#[tokio::test]
async fn a_walk_returns_every_page_up_to_its_limit() {
    let harness = Harness::open().await;
    let keys: Vec<_> = (0..1_050).map(|n| format!("k/{n:05}")).collect();
    futures::future::join_all(keys.iter().map(|key| harness.put(key, ""))).await;
    assert_eq!(harness.walk(WalkRequest::default()).await.unwrap(), keys);
    let below = WalkRequest { prefix: "k/000".to_owned(), ..WalkRequest::default() };
    assert_eq!(harness.walk(below).await.unwrap(), keys[..100]);
    for limit in [1, 1_000, 1_001] {
        let limited = WalkRequest { limit, ..WalkRequest::default() };
        assert_eq!(harness.walk(limited).await.unwrap(), keys[..usize::try_from(limit).unwrap()]);
    }
    harness.close().await;
}

#[tokio::test]
async fn one_store_does_not_list_another() {
    let harness = filled().await;
    let request = ListRequest { store: "other".to_owned(), ..ListRequest::default() };
    assert!(harness.list(request).await.unwrap().objects.is_empty());
    harness.close().await;
}
