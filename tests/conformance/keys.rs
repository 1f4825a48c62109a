use longshore::pb::{ListRequest, WalkRequest};

use super::limits::Ability;
use crate::support::{failure::field, harness::Harness};

/// Keys that every server supports and that naive clients get wrong.
const PLAIN: &[&str] = &[
    "a b",
    "a+b",
    "a%2Fb",
    "a%b",
    "a@b",
    "a&b=c?d#e",
    "a;b:c,d",
    "ü/ñ",
    "e\u{301}",
    "\u{e9}",
    "🚢/🦀",
    "<&>\"'",
    "~a",
    "SlowDown.txt",
    "<Error>",
    "a|b^c`d{e}",
    "a$b!c(d)*",
];

/// Keys that are not valid paths in a file system.
const ODD: &[&str] = &[
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a//b",
    "a/",
    "a",
    "a/b",
    "//",
    "a\u{1}b",
    "a\tb",
    "a\rb",
    "a\u{7f}b",
    " a ",
    "\u{feff}a",
];

async fn round_trip(harness: &Harness, keys: &[&str]) {
    for key in keys {
        harness.put(key, key.as_bytes().to_vec()).await;
    }
    let mut expected: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    assert_eq!(harness.walk(WalkRequest::default()).await.unwrap(), expected);
    for key in keys {
        let prefixed = ListRequest { prefix: (*key).to_owned(), ..ListRequest::default() };
        let found = harness.list(prefixed).await.unwrap().objects;
        assert!(found.iter().any(|object| object.key == *key), "{key:?} is listed by its prefix");
        assert_eq!(harness.get(key).await.unwrap().data, key.as_bytes(), "{key:?}");
        harness.copy(("", key), ("other", key)).await.unwrap();
        assert_eq!(harness.head_of("other", key).await.unwrap().meta.unwrap().key, *key);
    }
    let answers = harness.delete_many(keys).await.unwrap();
    let results: Vec<_> = answers.into_iter().flat_map(|answer| answer.results).collect();
    assert_eq!(results.len(), keys.len());
    for (result, key) in results.iter().zip(keys) {
        assert_eq!((result.key.as_str(), &result.error), (*key, &None));
    }
    assert!(harness.walk(WalkRequest::default()).await.unwrap().is_empty());
    let other = WalkRequest { store: "other".to_owned(), ..WalkRequest::default() };
    assert_eq!(harness.walk(other).await.unwrap(), expected, "deleted in one store only");
}

#[tokio::test]
async fn keys_are_not_normalised() {
    let harness = Harness::open().await;
    round_trip(&harness, PLAIN).await;
    harness.close().await;
}

#[tokio::test]
async fn keys_need_not_be_paths() {
    let harness = Harness::open().await;
    if harness.judges(Ability::OddKeys) {
        round_trip(&harness, ODD).await;
    }
    harness.close().await;
}

#[tokio::test]
async fn a_key_may_contain_a_line_feed() {
    let harness = Harness::open().await;
    if harness.judges(Ability::LineFeedInKey) {
        round_trip(&harness, &["a\nb"]).await;
    }
    harness.close().await;
}

#[tokio::test]
async fn a_key_may_begin_with_a_slash() {
    let harness = Harness::open_with(|store| store.prefix.insert(0, '/')).await;
    if harness.judges(Ability::LeadingSlash) {
        round_trip(&harness, &["a", "/b"]).await;
    }
    harness.close().await;
}

#[tokio::test]
async fn a_key_has_1_to_1024_bytes_including_the_stores_prefix() {
    let harness = Harness::open_with(|store| store.prefix = "0123456789/".to_owned()).await;
    let segments = "abcdefg/".repeat(126) + "1234X";
    assert_eq!(segments.len() + 11, 1024);
    harness.put(&segments, "x").await;
    harness.delete(&segments).await.unwrap();

    let too_long = format!("{segments}y");
    assert_eq!(field(harness.head(&too_long).await), "key");
    assert_eq!(field(harness.head("").await), "key");
    harness.close().await;
}
