use longshore::pb::{ListRequest, WalkRequest};

use super::limits::Ability;
use crate::support::{failure::field, house::House};

/// Keys that any server can hold, and naive clients get wrong.
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

/// Keys that are no path in a file system.
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

async fn round_trip(house: &House, keys: &[&str]) {
    for key in keys {
        house.put(key, key.as_bytes().to_vec()).await;
    }
    let mut expected: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
    expected.sort();
    assert_eq!(house.walk(WalkRequest::default()).await.unwrap(), expected);
    for key in keys {
        let prefixed = ListRequest { prefix: (*key).to_owned(), ..ListRequest::default() };
        let found = house.list(prefixed).await.unwrap().objects;
        assert!(found.iter().any(|object| object.key == *key), "{key:?} is listed by its prefix");
        assert_eq!(house.get(key).await.unwrap().data, key.as_bytes(), "{key:?}");
        house.copy(("", key), ("other", key)).await.unwrap();
        assert_eq!(house.head_of("other", key).await.unwrap().meta.unwrap().key, *key);
    }
    let answers = house.delete_many(keys).await.unwrap();
    let results: Vec<_> = answers.into_iter().flat_map(|answer| answer.results).collect();
    assert_eq!(results.len(), keys.len());
    for (result, key) in results.iter().zip(keys) {
        assert_eq!((result.key.as_str(), &result.error), (*key, &None));
    }
    assert!(house.walk(WalkRequest::default()).await.unwrap().is_empty());
    let other = WalkRequest { store: "other".to_owned(), ..WalkRequest::default() };
    assert_eq!(house.walk(other).await.unwrap(), expected, "deleted in one store only");
}

#[tokio::test]
async fn keys_are_bytes_that_nobody_normalises() {
    let house = House::open().await;
    round_trip(&house, PLAIN).await;
    house.close().await;
}

#[tokio::test]
async fn keys_need_not_be_paths() {
    let house = House::open().await;
    if house.judges(Ability::OddKeys) {
        round_trip(&house, ODD).await;
    }
    house.close().await;
}

#[tokio::test]
async fn a_key_may_have_a_line_feed() {
    let house = House::open().await;
    if house.judges(Ability::LineFeedInKey) {
        round_trip(&house, &["a\nb"]).await;
    }
    house.close().await;
}

#[tokio::test]
async fn a_key_may_begin_with_a_slash() {
    let house = House::open_with(|store| store.prefix.insert(0, '/')).await;
    if house.judges(Ability::LeadingSlash) {
        round_trip(&house, &["a", "/b"]).await;
    }
    house.close().await;
}

#[tokio::test]
async fn a_key_has_1_to_1024_bytes_with_the_stores_prefix() {
    let house = House::open_with(|store| store.prefix = "0123456789/".to_owned()).await;
    let segments = "abcdefg/".repeat(126) + "1234X";
    assert_eq!(segments.len() + 11, 1024);
    house.put(&segments, "x").await;
    house.delete(&segments).await.unwrap();

    let too_long = format!("{segments}y");
    assert_eq!(field(house.head(&too_long).await), "key");
    assert_eq!(field(house.head("").await), "key");
    house.close().await;
}
