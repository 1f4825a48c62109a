//! Listings whose pages are larger than requested or than S3's.

use longshore::{
    store::{ErrorKind, ListOptions, MemoryBudget, MemorySettings, S3Store, WalkOptions},
    telemetry::Metrics,
};

use crate::scripted::{Scripted, reply, sharing};

fn entry(key: &str) -> String {
    format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")
}

/// A server that ignores `max-keys` and lists all keys of the store's prefix after `start-after`.
async fn listing_everything() -> Scripted {
    Scripted::start(|_, seen| {
        let after = seen.target.split(['?', '&']).find_map(|pair| pair.strip_prefix("start-after="));
        let after = after.unwrap_or_default().replace("%2F", "/");
        let keys = ["p/a", "p/b", "p/c", "p/d", "p/e"].into_iter().filter(|key| *key > after.as_str());
        let entries: String = keys.map(entry).collect();
        reply(200, &[], &format!("<ListBucketResult>{entries}</ListBucketResult>"))
    })
    .await
}

fn prefixed(server: &Scripted) -> S3Store {
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    crate::scripted::store(settings)
}

#[tokio::test]
async fn a_page_has_no_more_keys_than_requested_and_the_next_starts_after_the_last() {
    let server = listing_everything().await;
    let store = prefixed(&server);
    let (mut options, mut pages) = (ListOptions { page_size: 2, ..ListOptions::default() }, Vec::new());
    loop {
        let page = store.list(&options).await.unwrap();
        pages.push(page.objects.into_iter().map(|object| object.key).collect::<Vec<_>>());
        options.continuation = page.continuation;
        if options.continuation.is_none() {
            break;
        }
    }
    assert_eq!(pages, [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}

#[tokio::test]
async fn a_walk_returns_each_key_once() {
    use futures::TryStreamExt as _;
    let server = listing_everything().await;
    let walk = prefixed(&server).walk(WalkOptions { limit: Some(3), ..WalkOptions::default() });
    let pages: Vec<_> = walk.try_collect().await.unwrap();
    let keys: Vec<_> = pages.into_iter().flat_map(|page| page.objects).map(|object| object.key).collect();
    assert_eq!(keys, ["a", "b", "c"]);
}

#[tokio::test]
async fn an_oversized_page_is_rejected_without_a_retry_and_its_memory_is_released() {
    let key = entry(&"k".repeat(1024));
    for entries in [key.repeat(5_000), "<Contents/>".repeat(120_000)] {
        let page = format!("<ListBucketResult>{entries}</ListBucketResult>");
        let server = Scripted::start(move |_, _| reply(200, &[], &page)).await;
        let metrics = Metrics::default();
        let budget = MemoryBudget::new(MemorySettings::default(), metrics.clone());
        let store = sharing(server.settings(), budget.share(None));
        let error = store.list(&ListOptions { page_size: 1000, ..ListOptions::default() }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendProtocol);
        assert_eq!(server.seen().len(), 1, "the request is not retried");
        assert!(
            metrics.render().contains("longshore_memory_reserved_bytes{otel_scope_name=\"longshore\"} 0\n")
        );
    }
}

#[tokio::test]
async fn a_page_waits_for_memory_and_fails_without_it() {
    let server = listing_everything().await;
    let wait = std::time::Duration::from_millis(50);
    let settings = MemorySettings { budget: 16 << 20, wait, ..MemorySettings::default() };
    let budget = MemoryBudget::new(settings, Metrics::default()).share(Some(1 << 20));
    let store = sharing(server.settings(), budget.clone());
    let held = [budget.reserve(256 << 10).await.unwrap(), budget.reserve(128 << 10).await.unwrap()];
    let error = store.list(&ListOptions { page_size: 10, ..ListOptions::default() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MemoryExhausted);
    drop(held);
    assert!(store.list(&ListOptions { page_size: 10, ..ListOptions::default() }).await.is_ok());
}
