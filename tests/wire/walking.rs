//! Walks of listings that are long enough to be split. The estimates and the costs are tested in
//! `src/store/walk/simulation.rs`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _};
use longshore::{
    store::{Error, ErrorKind, MemoryBudget, MemorySettings, S3Store, WalkOptions},
    telemetry::Metrics,
};
use tokio::time::timeout;

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reserved, sharing, store};

/// The keys of a page.
const PAGE: usize = 10;

/// The value of a parameter of a request. Keys in these tests contain nothing but `/` that is encoded.
fn parameter(seen: &Seen, name: &str) -> Option<String> {
    let value = seen.target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.map(|value| value.replace("%2F", "/"))
}

/// A page of these keys, and the token of the next one.
fn page(keys: &[String], token: Option<&str>) -> Vec<u8> {
    let entries: String =
        keys.iter().map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).collect();
    let next = token.map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"));
    let truncated = next.is_some();
    let next = next.unwrap_or_default();
    let body =
        format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{next}{entries}</ListBucketResult>");
    bytes(200, &[], body.as_bytes())
}

/// The response of a server that has `keys` in this order. Its tokens are positions.
fn listed(keys: &[String], seen: &Seen) -> Vec<u8> {
    let from = match parameter(seen, "continuation-token") {
        Some(token) => token.parse().unwrap(),
        None => {
            let after = parameter(seen, "start-after").unwrap_or_default();
            keys.iter().position(|key| *key > after).unwrap_or(keys.len())
        }
    };
    let to = (from + PAGE).min(keys.len());
    page(&keys[from..to], (to < keys.len()).then(|| to.to_string()).as_deref())
}

fn flat(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("data/part-{n:09}.parquet")).collect()
}

/// The keys of a walk. Fails after two minutes.
async fn walked(store: &S3Store, options: WalkOptions) -> Result<Vec<String>, (Vec<String>, Error)> {
    let mut walk = std::pin::pin!(store.walk(options));
    let mut keys = Vec::new();
    let all = async {
        while let Some(page) = walk.next().await {
            match page {
                Ok(page) => keys.extend(page.objects.into_iter().map(|object| object.key)),
                Err(error) => return Some(error),
            }
        }
        None
    };
    match timeout(Duration::from_mins(2), all).await.expect("the walk hangs") {
        Some(error) => Err((keys, error)),
        None => Ok(keys),
    }
}

#[tokio::test]
async fn a_long_listing_is_split_and_returned_in_order() {
    let keys = flat(2_000);
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    assert_eq!(walked(&server.store(), WalkOptions::default()).await.unwrap(), keys);
    let requests = server.seen();
    assert!(requests.len() <= 211, "{} requests for 200 pages", requests.len());
    let split = |seen: &Seen| parameter(seen, "start-after").is_some();
    assert!(requests.iter().any(split));
}

#[tokio::test]
async fn a_walk_begins_after_a_key_and_ends_at_its_limit_and_its_prefix() {
    let keys: Vec<_> = (0..3_000).map(|n| format!("p/{}/{:03}", n / 1_000, n % 1_000)).collect();
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| {
        let prefix = parameter(seen, "prefix").unwrap();
        let keys: Vec<_> = all.iter().filter(|key| key.starts_with(&prefix)).cloned().collect();
        Answer::Reply(listed(&keys, seen))
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let store = store(settings);
    let below =
        WalkOptions { prefix: "1/".to_owned(), start_after: "1/099".to_owned(), ..WalkOptions::default() };
    let relative = |keys: &[String]| keys.iter().map(|key| key["p/".len()..].to_owned()).collect::<Vec<_>>();
    assert_eq!(walked(&store, below.clone()).await.unwrap(), relative(&keys[1_100..2_000]));
    let limited = WalkOptions { limit: Some(555), ..below };
    assert_eq!(walked(&store, limited).await.unwrap(), relative(&keys[1_100..1_655]));
}

#[tokio::test]
async fn as_many_requests_as_asked_for_are_in_flight() {
    const LATENCY: Duration = Duration::from_millis(50);
    for (asked, in_flight, pages) in
        [(None, 10, 300), (Some(4), 4, 60), (Some(1), 1, 12), (Some(500), 10, 300)]
    {
        let keys = flat(pages * PAGE);
        let (all, arrivals) = (keys.clone(), Arc::new(Mutex::new(Vec::new())));
        let arrived = Arc::clone(&arrivals);
        let server = Scripted::start(move |_, seen| {
            arrived.lock().unwrap().push(Instant::now());
            Answer::Later(LATENCY, listed(&all, seen))
        })
        .await;
        let options = WalkOptions { parallelism: asked, ..WalkOptions::default() };
        assert_eq!(walked(&server.store(), options).await.unwrap(), keys);
        // Requests that arrive within the time of one response are in flight at the same time.
        let arrivals = arrivals.lock().unwrap();
        let within =
            |start: &Instant| arrivals.iter().filter(|at| *at >= start && **at < *start + LATENCY).count();
        assert_eq!(arrivals.iter().map(within).max(), Some(in_flight), "{asked:?}");
    }
}

#[tokio::test]
async fn a_listing_that_is_not_in_order_is_walked_page_by_page() {
    let mut keys = flat(500);
    keys.reverse();
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    assert_eq!(walked(&server.store(), WalkOptions::default()).await.unwrap(), keys);
    assert_eq!(server.seen().len(), 50);
}

#[tokio::test]
async fn a_store_remembers_that_its_server_ignores_where_to_start() {
    let keys = flat(500);
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| {
        let without = Seen { target: seen.target.replace("start-after", "ignored"), ..seen.clone() };
        Answer::Reply(listed(&all, &without))
    })
    .await;
    let store = server.store();
    assert_eq!(walked(&store, WalkOptions::default()).await.unwrap(), keys);
    let first = server.seen().len();
    assert!((51..60).contains(&first), "{first}");
    assert_eq!(walked(&store, WalkOptions::default()).await.unwrap(), keys);
    assert_eq!(server.seen().len(), first + 50);
}

#[tokio::test]
async fn a_listing_that_is_not_in_order_beyond_a_boundary_fails_instead_of_losing_keys() {
    let mut keys = flat(2_000);
    keys.swap(1_981, 1_983);
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    let store = server.store();
    let (before, failed) = walked(&store, WalkOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
    assert!(failed.to_string().contains("parallelism: 1"), "{failed}");
    assert_eq!(before, keys[..before.len()]);
    // The next walk is not split.
    assert_eq!(walked(&store, WalkOptions::default()).await.unwrap(), keys);
}

#[tokio::test]
async fn a_directory_bucket_is_walked_page_by_page() {
    let keys = flat(500);
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    let mut settings = server.settings();
    settings.bucket.bucket = "b--usw2-az1--x-s3".to_owned();
    assert_eq!(walked(&store(settings), WalkOptions::default()).await.unwrap(), keys);
    assert!(server.seen().iter().all(|seen| parameter(seen, "start-after").is_none()));
    assert_eq!(server.seen().len(), 50);
}

#[tokio::test]
async fn empty_pages_in_the_middle_do_not_end_a_walk() {
    let keys = flat(1_000);
    let all = keys.clone();
    // Each page is preceded by an empty one.
    let server = Scripted::start(move |_, seen| {
        let token = parameter(seen, "continuation-token");
        if token.as_deref().is_some_and(|token| !token.starts_with('e')) {
            return Answer::Reply(page(&[], Some(&format!("e{}", token.unwrap()))));
        }
        let plain = Seen {
            target: seen.target.replace("continuation-token=e", "continuation-token="),
            ..seen.clone()
        };
        Answer::Reply(listed(&all, &plain))
    })
    .await;
    assert_eq!(walked(&server.store(), WalkOptions::default()).await.unwrap(), keys);
}

#[tokio::test]
async fn a_segment_whose_tokens_repeat_fails_the_walk_when_its_turn_comes() {
    let keys = flat(1_000);
    let server = Scripted::start(move |_, seen| {
        match parameter(seen, "continuation-token").and_then(|token| token.parse::<usize>().ok()) {
            Some(at @ 890..900) => Answer::Reply(page(&keys[at - PAGE..at], Some(&at.to_string()))),
            _ => Answer::Reply(listed(&keys, seen)),
        }
    })
    .await;
    let (before, failed) = walked(&server.store(), WalkOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
    assert_eq!(before, flat(1_000)[..before.len()]);
}

#[tokio::test]
async fn a_request_ahead_that_fails_is_repeated_when_its_turn_comes() {
    let keys = flat(2_000);
    let all = keys.clone();
    let failed = AtomicUsize::new(0);
    // More attempts fail than one request makes.
    let server = Scripted::start(move |number, seen| {
        if number > 100 && failed.fetch_add(1, Ordering::Relaxed) < 40 {
            return error(500, "InternalError");
        }
        Answer::Reply(listed(&all, seen))
    })
    .await;
    match walked(&server.store(), WalkOptions::default()).await {
        Ok(found) => assert_eq!(found, keys),
        // The request that the caller waited for was among those that failed.
        Err((found, _)) => assert_eq!(found, keys[..found.len()]),
    }

    let all = keys.clone();
    let broken = Arc::new(AtomicBool::new(true));
    let now_works = Arc::clone(&broken);
    let server = Scripted::start(move |_, seen| {
        let at = parameter(seen, "start-after").unwrap_or_default();
        let is_late = at > all[1_000];
        if is_late && broken.load(Ordering::Relaxed) {
            return error(403, "AccessDenied");
        }
        Answer::Reply(listed(&all, seen))
    })
    .await;
    let store = server.store();
    let mut walk = std::pin::pin!(store.walk(WalkOptions::default()));
    let mut found = Vec::new();
    while let Some(page) = timeout(Duration::from_mins(1), walk.next()).await.unwrap() {
        found.extend(page.unwrap().objects.into_iter().map(|object| object.key));
        if server.seen().iter().any(|seen| parameter(seen, "start-after").is_some_and(|at| at > keys[1_000]))
        {
            now_works.store(false, Ordering::Relaxed);
        }
    }
    assert_eq!(found, keys);
}

#[tokio::test]
async fn dropping_a_walk_cancels_its_requests() {
    let keys = flat(5_000);
    let mut server = Scripted::start(move |number, seen| match number {
        0..100 => Answer::Reply(listed(&keys, seen)),
        _ => Answer::Hang(Vec::new()),
    })
    .await;
    let store = server.store();
    let walk = tokio::spawn(async move { store.walk(WalkOptions::default()).try_collect::<Vec<_>>().await });
    server.asked(|_| server.seen().len() >= 103).await;
    walk.abort();
    assert!(walk.await.unwrap_err().is_cancelled());
    let hanging = server.seen().len() - 100;
    timeout(Duration::from_mins(1), server.all_hung_up(hanging)).await.expect("the requests go on");
}

#[tokio::test]
async fn a_slow_caller_holds_few_pages_in_the_end() {
    let keys = flat(50_000);
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&keys, seen))).await;
    let metrics = Metrics::default();
    let budget = MemoryBudget::new(MemorySettings::default(), metrics.clone());
    let store = sharing(server.settings(), budget.share(None));
    let mut walk = std::pin::pin!(store.walk(WalkOptions::default()));
    // A fast caller for a while.
    for _ in 0..300 {
        walk.next().await.unwrap().unwrap();
    }
    // Now a slow one, which finds a page ready whenever it asks for one.
    let mut least = usize::MAX;
    for taken in 301..600 {
        walk.next().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        least = least.min(server.seen().len().saturating_sub(taken));
        if least <= 3 {
            break;
        }
    }
    assert!(least <= 3, "{least} pages wait");
}

#[tokio::test]
async fn a_caller_that_stops_reading_loses_the_pages_ahead_if_another_walk_needs_the_memory() {
    let keys = flat(20_000);
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    let metrics = Metrics::default();
    // A sixth of the idle timeout is 0.1 s.
    let memory = MemorySettings {
        budget: 1 << 20,
        idle_timeout: Duration::from_millis(600),
        ..MemorySettings::default()
    };
    let store = sharing(server.settings(), MemoryBudget::new(memory, metrics.clone()).share(None));
    let mut stopped = std::pin::pin!(store.walk(WalkOptions::default()));
    let mut found = Vec::new();
    for _ in 0..300 {
        let page = stopped.next().await.unwrap().unwrap();
        found.extend(page.objects.into_iter().map(|object| object.key));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let held = reserved(&metrics);

    assert!(walked(&store, WalkOptions::default()).await.unwrap() == keys);
    let left = reserved(&metrics);
    assert!(left < held, "{held} bytes were held, and {left} are");
    while let Some(page) = stopped.next().await {
        found.extend(page.unwrap().objects.into_iter().map(|object| object.key));
    }
    assert!(found == keys, "what was given up is requested again");
}

#[tokio::test]
async fn many_walks_finish_with_little_memory() {
    let keys: Vec<_> = (0..600).map(|n| format!("{n:06}-{}", "k".repeat(900))).collect();
    let all = keys.clone();
    let server = Scripted::start(move |_, seen| Answer::Reply(listed(&all, seen))).await;
    let metrics = Metrics::default();
    let settings = MemorySettings { budget: 16 << 20, ..MemorySettings::default() };
    let budget = MemoryBudget::new(settings, metrics.clone()).share(None);
    let store = sharing(server.settings(), budget);
    let walks = (0..40).map(async |_| walked(&store, WalkOptions::default()).await.unwrap() == keys);
    assert!(futures::future::join_all(walks).await.into_iter().all(|all| all));
    assert_eq!(reserved(&metrics), 0);
}
