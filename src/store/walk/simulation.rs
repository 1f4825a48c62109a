//! Simulates walks without I/O: every request takes one round, and the server has a sorted set of keys.

use proptest::{collection::vec, prelude::*, sample::select};

use super::plan::{Plan, Request};
use crate::store::{Error, ErrorKind, ListOptions, ListPage, ObjectMeta, PageMemory, TenantBudget};

/// How a server lists.
type Lists<'a> = &'a dyn Fn(&ListOptions) -> (Vec<String>, Vec<String>, Option<String>);

/// What a walk did.
#[derive(Debug, Default)]
struct Walked {
    keys: Vec<String>,
    requests: usize,
    rounds: usize,
    most_in_flight: usize,
    most_waiting: usize,
}

/// A server that lists as S3 does, with at most `page` keys on a page.
fn s3(keys: &[String], page: usize) -> impl Fn(&ListOptions) -> (Vec<String>, Vec<String>, Option<String>) {
    ordered_by(str::to_owned, keys, page)
}

/// The same for a server that orders its keys by `rank`.
fn ordered_by(
    rank: fn(&str) -> String,
    keys: &[String],
    page: usize,
) -> impl Fn(&ListOptions) -> (Vec<String>, Vec<String>, Option<String>) {
    move |options| {
        let after = options.continuation.as_ref().unwrap_or(&options.start_after);
        let (mut objects, mut prefixes) = (Vec::new(), Vec::<String>::new());
        let from = keys.partition_point(|key| rank(key) <= rank(after) && !after.is_empty());
        let mut last = None;
        for key in keys[from..].iter().filter(|key| key.starts_with(&options.prefix)) {
            let below = &key[options.prefix.len()..];
            let end = Some(&options.delimiter).filter(|delimiter| !delimiter.is_empty());
            let end = end.and_then(|delimiter| below.find(delimiter.as_str()));
            let prefix = end.map(|end| &key[..=options.prefix.len() + end]);
            if prefix.is_some() && prefixes.last().map(String::as_str) == prefix {
                continue;
            }
            if objects.len() + prefixes.len() == page.min(usize::from(options.page_size)) {
                return (objects, prefixes, last);
            }
            match prefix {
                Some(prefix) => prefixes.push(prefix.to_owned()),
                None => objects.push(key.clone()),
            }
            last = Some(key.clone());
        }
        (objects, prefixes, None)
    }
}

fn options(page_size: usize) -> ListOptions {
    ListOptions { page_size: u16::try_from(page_size).unwrap(), ..ListOptions::default() }
}

/// Walks, and answers the requests in an order that `seed` determines; 0 answers all of them in each round.
fn walk(plan: Plan, lists: Lists<'_>, seed: u64) -> Result<Walked, (Error, Walked)> {
    walk_with_pauses(plan, lists, seed, usize::MAX)
}

/// The same, where the caller stops after every `pages` pages for so long that the walk gives up what it holds.
fn walk_with_pauses(
    mut plan: Plan,
    lists: Lists<'_>,
    mut seed: u64,
    pages: usize,
) -> Result<Walked, (Error, Walked)> {
    let mut until_pause = pages;
    let budget = TenantBudget::default();
    let mut walked = Walked::default();
    let (mut in_flight, mut arrived) = (Vec::<Request>::new(), 0);
    loop {
        let mut taken = 0;
        while (seed == 0 || taken == 0)
            && let Some(page) = plan.take()
        {
            taken += 1;
            walked.keys.extend(page.objects.into_iter().map(|object| object.key));
            until_pause -= 1;
            if until_pause == 0 {
                until_pause = pages;
                plan.give_up();
                in_flight.retain(|request| plan.needs(request.id));
            }
        }
        arrived -= taken.min(arrived);
        if plan.is_done() {
            return Ok(walked);
        }
        let before = in_flight.len();
        if taken == 0 || seed == 0 {
            in_flight.extend(plan.request_next());
        }
        while in_flight.len() < plan.parallelism()
            && let Some(request) = plan.request_ahead(true)
        {
            in_flight.push(request);
        }
        walked.requests += in_flight.len() - before;
        walked.most_in_flight = walked.most_in_flight.max(in_flight.len());
        walked.rounds += 1;
        assert!(!in_flight.is_empty() || taken > 0, "the walk is stuck");
        let answered: Vec<_> = if seed == 0 {
            std::mem::take(&mut in_flight)
        } else if in_flight.is_empty() {
            Vec::new()
        } else {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            vec![in_flight.swap_remove(usize::try_from(seed >> 33).unwrap() % in_flight.len())]
        };
        for Request { id, options } in answered {
            if !plan.needs(id) {
                continue;
            }
            let (keys, common_prefixes, continuation) = lists(&options);
            let objects = keys.into_iter().map(|key| ObjectMeta { key, ..ObjectMeta::default() }).collect();
            let memory = PageMemory::none(&budget);
            let page = ListPage {
                objects,
                common_prefixes,
                skipped: 0,
                skipped_at: Vec::new(),
                continuation,
                memory,
            };
            arrived += 1;
            if let Err(error) = plan.listed(id, page) {
                return Err((error, walked));
            }
        }
        walked.most_waiting = walked.most_waiting.max(arrived);
        in_flight.retain(|request| plan.needs(request.id));
    }
}

fn float(number: usize) -> f64 {
    super::pace::float(number as u128)
}

/// A source of numbers that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap() % end
    }

    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 12] =
            ["ba", "ra", "lo", "mi", "ke", "tan", "sor", "el", "an", "ver", "chi", "zet"];
        let syllables = 3 + self.below(3);
        (0..syllables).map(|_| SYLLABLES[self.below(12)]).collect()
    }
}

/// The set of about `count` keys that is called `name`, in order.
fn shape(name: &str, count: usize) -> Vec<String> {
    let mut random = Random(88_172_645_463_325_252);
    let tree = |per: usize| (0..count).map(move |n| format!("data/{:04}/{:06}.parquet", n / per, n % per));
    let mut keys: Vec<String> = match name {
        "flat" => (0..count).map(|n| format!("data/2026/11/part-{n:09}.parquet")).collect(),
        "tree" => tree((count / 1_000).max(1)).collect(),
        "uneven tree" => tree(count * 7 / 10_000 + 3).collect(),
        "large directories" => tree(count / 25).collect(),
        "hashes" => (0..count).map(|_| format!("{:016x}{:016x}", random.next(), random.next())).collect(),
        "uuids" => (0..count)
            .map(|_| {
                let (a, b) = (random.next(), random.next());
                format!("o/{:08x}-{:04x}-4{:03x}-{:016x}", a & 0xffff_ffff, a >> 48, a >> 36 & 0xfff, b)
            })
            .collect(),
        "unpadded" => (0..count).map(|n| format!("file-{n}.txt")).collect(),
        "times" => (0..count)
            .scan(1_700_000_000_000, |time, _| {
                *time += random.next() % 20_000;
                Some(format!("log-{time}"))
            })
            .collect(),
        "dates" => (0..count)
            .map(|n| {
                let minute = n * 200_000 / count;
                let (day, hour) = (minute / 1_440, minute / 60 % 24);
                let (month, day) = (day / 30 + 1, day % 30 + 1);
                format!("2026/{month:02}/{day:02}/{hour:02}/{:02}-{:08x}", minute % 60, random.next() >> 32)
            })
            .collect(),
        "names" => (0..count).map(|_| format!("{}-{}", random.word(), random.word())).collect(),
        "named directories" => {
            let names: Vec<_> = (0..count.div_ceil(1_000)).map(|_| random.word() + &random.word()).collect();
            (0..count).map(|n| format!("users/{}/{n:07}", names[random.below(names.len())])).collect()
        }
        "ideographs" => (0..count)
            .map(|n| {
                format!("文/{}/{n:05}", char::from_u32(u32::try_from(0x4e00 + n / 50).unwrap()).unwrap())
            })
            .collect(),
        "skewed" => (0..count)
            .map(|n| {
                let n = u64::try_from(n * 10_000 / count).unwrap();
                format!("k{:018}", n.pow(4) + random.next() % 9)
            })
            .collect(),
        _ => unreachable!(),
    };
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Walks over the whole set, and also returns its number of pages.
fn walk_shape(name: &str, count: usize, page: usize) -> (Walked, usize) {
    let keys = shape(name, count);
    let walked = walk(Plan::new(options(1_000), None, 10), &s3(&keys, page), 0).unwrap();
    assert!(walked.keys == keys, "{name}");
    (walked, keys.len().div_ceil(page))
}

#[test]
fn listings_of_1000_pages_are_faster_and_cost_little_more() {
    for (name, page, count, speed, cost) in [
        ("flat", 10, 10_000, 9.0, 1.015),
        ("flat", 100, 100_000, 9.0, 1.005),
        ("tree", 10, 10_000, 9.0, 1.015),
        ("tree", 100, 100_000, 9.0, 1.005),
        ("uneven tree", 100, 100_000, 7.0, 1.05),
        ("large directories", 100, 100_000, 7.0, 1.05),
        ("hashes", 100, 100_000, 6.0, 1.05),
        ("uuids", 100, 100_000, 6.0, 1.05),
        ("unpadded", 100, 100_000, 6.0, 1.05),
        ("times", 100, 100_000, 6.0, 1.05),
        ("dates", 100, 100_000, 3.0, 1.05),
        ("names", 100, 100_000, 1.5, 1.05),
        ("named directories", 100, 100_000, 1.5, 1.05),
        ("ideographs", 100, 100_000, 1.5, 1.05),
        ("skewed", 100, 100_000, 2.0, 1.05),
    ] {
        let (walked, pages) = walk_shape(name, count, page);
        let faster = float(pages) / float(walked.rounds);
        let Walked { requests, most_in_flight, most_waiting, .. } = walked;
        assert!(faster >= speed, "{name}: {faster}");
        assert!(
            float(requests) <= float(pages) * cost + 1.0,
            "{name}: {requests} requests for {pages} pages"
        );
        assert!(most_in_flight <= 10 && (speed < 6.0 || most_in_flight == 10), "{name}: {most_in_flight}");
        assert!(most_waiting <= 16 * 10 + 20, "{name}: {most_waiting}");
    }
}

#[test]
fn short_listings_take_hardly_more_requests() {
    for name in ["flat", "tree", "hashes", "names"] {
        for pages in 1..=4 {
            assert_eq!(walk_shape(name, pages * 10, 10).0.requests, pages, "{name}");
        }
        for pages in 5..25 {
            let (walked, pages) = walk_shape(name, pages * 10, 10);
            assert!(walked.requests <= pages + 2, "{name}: {} requests for {pages} pages", walked.requests);
        }
    }
}

#[test]
fn with_one_request_in_flight_the_pages_are_listed_one_after_the_other() {
    let keys = shape("flat", 1_000);
    let walked = walk(Plan::new(options(1_000), None, 1), &s3(&keys, 10), 0).unwrap();
    assert_eq!((walked.requests, walked.rounds, walked.most_in_flight), (100, 100, 1));
    assert_eq!(walked.keys, keys);
}

#[test]
fn a_limit_bounds_the_requests() {
    let keys = shape("flat", 100_000);
    for limit in [1, 10, 99, 1_000, 3_000, 9_000] {
        let walked = walk(Plan::new(options(10), Some(limit as u64), 10), &s3(&keys, 10), 0).unwrap();
        assert_eq!(walked.keys, keys[..limit]);
        let pages = limit.div_ceil(10);
        assert!(walked.requests <= pages + pages / 20 + 1, "{limit}: {}", walked.requests);
    }
    let walked = walk(Plan::new(options(10), Some(9_000), 10), &s3(&keys, 10), 0).unwrap();
    assert!(walked.rounds < 250, "{}", walked.rounds);
}

/// Lists `keys` in the given order, from the first one that is greater than `start_after`.
fn in_any_order(keys: Vec<String>) -> impl Fn(&ListOptions) -> (Vec<String>, Vec<String>, Option<String>) {
    move |options| {
        let from = match &options.continuation {
            Some(at) => at.parse().unwrap(),
            None => keys.iter().position(|key| *key > options.start_after).unwrap_or(keys.len()),
        };
        let to = (from + 10).min(keys.len());
        (keys[from..to].to_vec(), Vec::new(), (to < keys.len()).then(|| to.to_string()))
    }
}

#[test]
fn listings_that_are_not_in_order_are_not_split() {
    let mut keys = shape("flat", 1_000);
    keys.reverse();
    let walked = walk(Plan::new(options(1_000), None, 10), &in_any_order(keys.clone()), 0).unwrap();
    assert_eq!((walked.requests, walked.rounds), (100, 100));
    assert_eq!(walked.keys, keys);
}

#[test]
fn a_listing_that_turns_out_not_to_be_in_order_continues_page_by_page() {
    let mut keys = shape("flat", 1_000);
    keys.swap(81, 83);
    let walked = walk(Plan::new(options(1_000), None, 10), &in_any_order(keys.clone()), 0).unwrap();
    assert_eq!(walked.keys, keys);
    assert!(walked.requests <= 130, "{}", walked.requests);
}

#[test]
fn a_listing_that_turns_out_not_to_be_in_order_beyond_a_boundary_fails() {
    let mut keys = shape("flat", 1_000);
    keys.swap(981, 983);
    let lists = in_any_order(keys.clone());
    let (error, walked) = walk(Plan::new(options(1_000), None, 10), &lists, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendProtocol);
    assert!(error.to_string().contains("`parallelism: 1`"), "{error}");
    assert_eq!(walked.keys, keys[..walked.keys.len()]);
}

#[test]
fn if_the_server_ignores_where_to_start_the_listing_continues_page_by_page() {
    let keys = shape("flat", 1_000);
    let ordered = s3(&keys, 10);
    let lists =
        |options: &ListOptions| ordered(&ListOptions { start_after: String::new(), ..options.clone() });
    let walked = walk(Plan::new(options(1_000), None, 10), &lists, 0).unwrap();
    assert_eq!(walked.keys, keys);
    assert!(walked.requests <= 101, "{}", walked.requests);
    let after = ListOptions { start_after: keys[500].clone(), ..options(1_000) };
    assert_eq!(walk(Plan::new(after, None, 10), &lists, 0).unwrap().requests, 100);
}

fn sets() -> impl Strategy<Value = Vec<String>> {
    const SHAPES: [&str; 13] = [
        "flat",
        "tree",
        "uneven tree",
        "large directories",
        "hashes",
        "uuids",
        "unpadded",
        "times",
        "dates",
        "names",
        "named directories",
        "ideographs",
        "skewed",
    ];
    let shapes = (select(&SHAPES[..]), 25_usize..2_000).prop_map(|(name, count)| shape(name, count));
    let texts = vec("[a-c/0-3é\u{10ffff}-]{1,7}", 0..800);
    let numbers =
        vec(0_u32..5_000, 0..1_500).prop_map(|keys| keys.iter().map(|n| format!("{n:x}/f")).collect());
    prop_oneof![4 => shapes, 1 => texts, 1 => numbers].prop_map(|mut keys: Vec<String>| {
        keys.sort_unstable();
        keys.dedup();
        keys
    })
}

proptest! {
    #[test]
    fn a_walk_of_a_listing_that_is_not_in_order_loses_no_key(
        mut keys in sets().prop_filter("few keys", |keys| keys.len() > 50),
        (from, width) in (0_usize..2_000, 1_usize..30),
        seed in prop_oneof![Just(0), any::<u64>()],
    ) {
        let from = from % (keys.len() - 1);
        let to = (from + width).min(keys.len() - 1);
        keys[from..=to].reverse();
        match walk(Plan::new(options(1_000), None, 10), &in_any_order(keys.clone()), seed) {
            Ok(walked) => prop_assert_eq!(walked.keys, keys),
            Err((_, walked)) => prop_assert_eq!(&walked.keys[..], &keys[..walked.keys.len()]),
        }
    }

    #[test]
    fn a_walk_returns_every_key_once_and_in_order(
        keys in sets(),
        page in 1_usize..20,
        parallelism in 1_usize..=10,
        limit in proptest::option::of(1_usize..2_000),
        (start, prefix) in (0_usize..3_000, 0_usize..6),
        seed in prop_oneof![Just(0), any::<u64>()],
    ) {
        let start_after = keys.get(start).cloned().unwrap_or_default();
        let prefix = keys.get(start / 2).map_or("", |key| {
            key.char_indices().nth(prefix).map_or("", |(at, _)| &key[..at])
        });
        let expected: Vec<_> = keys
            .iter()
            .filter(|key| **key > start_after && key.starts_with(prefix))
            .take(limit.unwrap_or(usize::MAX))
            .cloned()
            .collect();
        let page_size = limit.map_or(1_000, |limit| limit.min(1_000));
        let first = ListOptions { prefix: prefix.to_owned(), start_after, ..options(page_size) };
        let plan = Plan::new(first, limit.map(|limit| limit as u64), parallelism);
        let walked = walk(plan, &s3(&keys, page), seed).unwrap();
        prop_assert_eq!(&walked.keys, &expected);
        let pages = expected.len().div_ceil(page.min(page_size)).max(1);
        let most = float(pages) * 1.05 + 1.0 + float(parallelism) / 2.0;
        prop_assert!(float(walked.requests) <= most, "{} requests for {} pages", walked.requests, pages);
        prop_assert!(walked.most_in_flight <= parallelism);
    }
}

proptest! {
    #[test]
    fn a_walk_that_gives_up_what_it_holds_still_returns_every_key_once_and_in_order(
        keys in sets(),
        page in 1_usize..20,
        pages in 1_usize..60,
        seed in prop_oneof![Just(0), any::<u64>()],
    ) {
        let walked = walk_with_pauses(Plan::new(options(1_000), None, 10), &s3(&keys, page), seed, pages).unwrap();
        prop_assert_eq!(walked.keys, keys);
    }
}

/// A server that ignores case returns the keys below `beta/` between `Alpha` and `Charlie`. By their bytes, they come
/// after `Echo/`.
#[test]
fn no_key_is_lost_between_the_segments_of_a_server_that_orders_keys_in_another_way() {
    let mut directories: Vec<_> = (0..60).map(|number| format!("Alpha{number:02}/")).collect();
    directories.extend(["beta/", "Charlie/", "delta/", "Echo/", "fox/"].map(str::to_owned));
    for (seed, keys_each) in [(0, 30), (1, 30), (0, 97), (7, 97), (0, 400), (3, 400)] {
        let below =
            |directory: &String| (0..keys_each).map(|key| format!("{directory}{key:05}")).collect::<Vec<_>>();
        let keys: Vec<_> = directories.iter().flat_map(below).collect();
        let server = ordered_by(str::to_lowercase, &keys, 10);
        match walk(Plan::new(options(10), None, 10), &server, seed) {
            Ok(walked) => assert!(walked.keys == keys, "{keys_each}: keys are missing or in another order"),
            Err((error, _)) => assert_eq!(error.kind(), ErrorKind::BackendProtocol),
        }
    }
}

/// If the first key of a segment has been deleted since it was listed, the walk continues without it.
#[test]
fn a_key_that_is_deleted_where_two_segments_meet_does_not_end_the_walk() {
    let keys: Vec<_> = (0..3_000).map(|key| format!("{key:06}")).collect();
    let deleted = std::cell::RefCell::new(Vec::new());
    let listed = std::cell::RefCell::new(std::collections::BTreeSet::new());
    // Deletes each key that has been listed once already.
    let server = |options: &ListOptions| {
        let (mut objects, prefixes, next) = s3(&keys, 10)(options);
        objects.retain(|key| {
            let is_new = listed.borrow_mut().insert(key.clone());
            if !is_new {
                deleted.borrow_mut().push(key.clone());
            }
            is_new
        });
        (objects, prefixes, next)
    };
    let walked = walk(Plan::new(options(10), None, 10), &server, 0).map_err(|(error, _)| error).unwrap();
    assert!(walked.keys.is_sorted_by(|a, b| a < b));
    let kept: Vec<_> = keys.iter().filter(|key| !deleted.borrow().contains(key)).collect();
    assert!(kept.iter().all(|key| walked.keys.binary_search(key).is_ok()), "no other key is missing");
}
