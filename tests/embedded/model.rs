//! Applies random operations on unusual keys to the server and to a `BTreeMap`, and compares the two.
//!
//! `PROPTEST_CASES` sets the number of sequences.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

use fastrand::Rng;
use longshore::embedded::Embedded;
use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::raw::{Answer, Raw, encoded};

const KEYS: [&str; 24] = [
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a//b",
    "a/../b",
    "./x",
    "..",
    ".",
    "/",
    "//",
    "/x",
    "b c",
    "b+c",
    "b%2Fc",
    "b%20c",
    "b?c#d&e=f",
    "\u{1}\u{1f}",
    "c\r\nd\t",
    "c<&>\"'",
    "\u{e9}",
    "e\u{301}",
    "🚢/🚢",
    "\u{7f}\u{10ffff}",
];

/// Sizes around the limits of a single read or write.
const SIZES: [usize; 9] = [0, 1, 1_000, 262_143, 262_144, 262_145, 1_048_575, 1_048_576, 1_100_000];

#[derive(Debug, Clone)]
enum Condition {
    New,
    Current,
    Stale,
}

#[derive(Debug, Clone)]
enum Operation {
    Put(&'static str, usize, Option<Condition>),
    Upload(&'static str, Vec<usize>),
    Get(&'static str, usize, usize),
    Suffix(&'static str, usize),
    Delete(&'static str),
    DeleteAll(Vec<&'static str>),
    Copy(&'static str, &'static str),
    Tag(&'static str, u8),
    List { prefix: &'static str, cut: usize, delimiter: bool, after: Option<&'static str>, max: usize },
    Restart,
}

fn operations() -> impl Strategy<Value = Operation> {
    let key = || select(&KEYS[..]);
    let size = || select(&SIZES[..]);
    let condition = prop_oneof![Just(Condition::New), Just(Condition::Current), Just(Condition::Stale)];
    prop_oneof![
        8 => (key(), size(), proptest::option::of(condition)).prop_map(|(key, size, condition)| Operation::Put(key, size, condition)),
        1 => (key(), vec(size(), 1..4)).prop_map(|(key, sizes)| Operation::Upload(key, sizes)),
        4 => (key(), 0..1_200_000_usize, 0..600_000_usize).prop_map(|(key, from, length)| Operation::Get(key, from, length)),
        2 => (key(), 0..2_000_000_usize).prop_map(|(key, length)| Operation::Suffix(key, length)),
        3 => key().prop_map(Operation::Delete),
        // The keys that XML can represent.
        1 => vec(select(&KEYS[..17]), 1..5).prop_map(Operation::DeleteAll),
        4 => (key(), key()).prop_map(|(from, to)| Operation::Copy(from, to)),
        2 => (key(), any::<u8>()).prop_map(|(key, value)| Operation::Tag(key, value)),
        3 => (key(), 0..3_usize, any::<bool>(), proptest::option::of(key()), 1..9_usize).prop_map(
            |(prefix, cut, delimiter, after, max)| Operation::List { prefix, cut, delimiter, after, max }
        ),
        1 => Just(Operation::Restart),
    ]
}

/// The expected state of an object.
#[derive(Debug, Clone)]
struct Object {
    data: Vec<u8>,
    etag: String,
    tag: Option<u8>,
    /// Identifies its bytes on disk. Copies share them.
    body: usize,
    /// The number of files that hold these bytes.
    parts: usize,
}

/// The server and its expected contents.
struct World {
    folder: tempfile::TempDir,
    server: Embedded,
    raw: Raw,
    objects: BTreeMap<String, Object>,
    bodies: usize,
    rng: Rng,
}

async fn start(folder: &Path) -> Embedded {
    Embedded::start(folder, "127.0.0.1:0".parse().unwrap(), &["test"]).await.unwrap()
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

impl World {
    async fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let raw = Raw::of(&server);
        Self { folder, server, raw, objects: BTreeMap::new(), bodies: 0, rng: Rng::with_seed(seed) }
    }

    async fn ask(
        &self,
        method: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.raw.ask(method, key, query, headers, body.to_vec()).await
    }

    fn data(&mut self, size: usize) -> Vec<u8> {
        let mut data = vec![0; size];
        self.rng.fill(&mut data);
        data
    }

    fn insert(&mut self, key: &str, data: Vec<u8>, etag: String, parts: usize) {
        self.bodies += 1;
        self.objects.insert(key.to_owned(), Object { data, etag, tag: None, body: self.bodies, parts });
    }

    async fn apply(mut self, operation: Operation) -> Self {
        match operation {
            Operation::Put(key, size, condition) => self.put(key, size, condition).await,
            Operation::Upload(key, sizes) => self.upload(key, &sizes).await,
            Operation::Get(key, from, length) => {
                let range = format!("bytes={from}-{}", from + length);
                self.get(key, &range, |size| (from < size).then(|| from..size.min(from + length + 1))).await;
            }
            Operation::Suffix(key, length) => {
                let range = format!("bytes=-{length}");
                self.get(key, &range, |size| (length > 0).then(|| size.saturating_sub(length)..size)).await;
            }
            Operation::Delete(key) => {
                assert_eq!(self.ask("DELETE", key, "", &[], b"").await.status, 204);
                self.objects.remove(key);
            }
            Operation::DeleteAll(keys) => self.delete_all(&keys).await,
            Operation::Copy(from, to) => self.copy(from, to).await,
            Operation::Tag(key, value) => self.tag(key, value).await,
            Operation::List { prefix, cut, delimiter, after, max } => {
                let prefix: String = prefix.chars().take(cut).collect();
                self.list(&prefix, delimiter, after, max).await;
            }
            Operation::Restart => self = self.restart().await,
        }
        self
    }

    async fn put(&mut self, key: &str, size: usize, condition: Option<Condition>) {
        let data = self.data(size);
        let there = self.objects.get(key).map(|object| object.etag.clone());
        let (headers, expected) = match (condition, &there) {
            (None, _) => (None, 200),
            (Some(Condition::New), None) => (Some(("if-none-match", "*")), 200),
            (Some(Condition::New), Some(_)) => (Some(("if-none-match", "*")), 412),
            (Some(Condition::Current), Some(etag)) => (Some(("if-match", etag.as_str())), 200),
            (Some(Condition::Stale), Some(_)) => (Some(("if-match", "\"0\"")), 412),
            (Some(Condition::Current | Condition::Stale), None) => (Some(("if-match", "\"0\"")), 404),
        };
        let headers: Vec<_> = headers.into_iter().collect();
        let answer = self.ask("PUT", key, "", &headers, &data).await;
        assert_eq!(answer.status, expected, "{}", answer.text());
        if expected == 200 {
            let etag = format!("\"{}\"", hex::encode(md5(&data)));
            assert_eq!(answer.header("etag"), etag);
            self.insert(key, data, etag, 1);
        }
    }

    /// Uploads several parts and completes the upload with only one of them. The parts are too small to be anything but
    /// the last part.
    async fn upload(&mut self, key: &str, sizes: &[usize]) {
        let begun = self.ask("POST", key, "?uploads", &[], b"").await;
        let id = begun.elements("UploadId").remove(0);
        let mut last = None;
        for (index, size) in sizes.iter().enumerate() {
            let (data, number) = (self.data(*size), sizes.len() - index);
            let query = format!("?partNumber={number}&uploadId={id}");
            let etag = self.ask("PUT", key, &query, &[], &data).await.header("etag").to_owned();
            last = Some((data, number, etag));
        }
        let (data, number, etag) = last.unwrap();
        let list = format!(
            "<CompleteMultipartUpload><Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
        );
        let done = self.ask("POST", key, &format!("?uploadId={id}"), &[], list.as_bytes()).await;
        assert_eq!(done.status, 200, "{}", done.text());
        let etag = format!("\"{}-1\"", hex::encode(md5(&md5(&data))));
        self.insert(key, data, etag, 1);
    }

    async fn get(&self, key: &str, range: &str, wanted: impl Fn(usize) -> Option<std::ops::Range<usize>>) {
        let answer = self.ask("GET", key, "", &[("range", range)], b"").await;
        let head = self.ask("HEAD", key, "", &[], b"").await;
        let Some(object) = self.objects.get(key) else {
            assert_eq!((answer.status.as_u16(), head.status.as_u16()), (404, 404));
            return;
        };
        assert_eq!(head.header("content-length"), object.data.len().to_string());
        assert_eq!(head.header("etag"), object.etag);
        match wanted(object.data.len()) {
            None => assert_eq!(answer.status, 416),
            // As in S3, a suffix of an empty object gets 200, not 206.
            Some(range) if range.is_empty() => {
                assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0))
            }
            Some(range) => {
                assert_eq!(answer.status, 206);
                assert!(answer.body == object.data[range.clone()]);
                let said = format!("bytes {}-{}/{}", range.start, range.end - 1, object.data.len());
                assert_eq!(answer.header("content-range"), said);
            }
        }
    }

    async fn delete_all(&mut self, keys: &[&str]) {
        let escaped = |key: &str| {
            key.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
        };
        let objects: String =
            keys.iter().map(|key| format!("<Object><Key>{}</Key></Object>", escaped(key))).collect();
        let list = format!("<Delete>{objects}</Delete>");
        let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, md5(list.as_bytes()));
        let answer = self.ask("POST", "", "?delete", &[("content-md5", &digest)], list.as_bytes()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.elements("Deleted").len()),
            (200, keys.len()),
            "{}",
            answer.text()
        );
        for key in keys {
            self.objects.remove(*key);
        }
    }

    async fn copy(&mut self, from: &str, to: &str) {
        let source = format!("/test/{}", encoded(from));
        let mut headers = vec![("x-amz-copy-source", source.as_str())];
        if from == to {
            headers.push(("x-amz-metadata-directive", "REPLACE"));
        }
        let answer = self.ask("PUT", to, "", &headers, b"").await;
        let Some(object) = self.objects.get(from).cloned() else {
            assert_eq!(answer.status, 404);
            return;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        // The ETag of a copy is the MD5 of the whole object, even if the source was uploaded in parts.
        let etag = format!("\"{}\"", hex::encode(md5(&object.data)));
        self.objects.insert(to.to_owned(), Object { etag, ..object });
    }

    async fn tag(&mut self, key: &str, value: u8) {
        let set =
            format!("<Tagging><TagSet><Tag><Key>k</Key><Value>{value}</Value></Tag></TagSet></Tagging>");
        let answer = self.ask("PUT", key, "?tagging", &[], set.as_bytes()).await;
        let there = self.objects.get_mut(key).map(|object| object.tag = Some(value));
        assert_eq!(answer.status, if there.is_some() { 200 } else { 404 });
        let tags = self.ask("GET", key, "?tagging", &[], b"").await;
        assert_eq!(tags.elements("Value"), Vec::from_iter(there.map(|()| value.to_string())));
    }

    /// Reads all pages of a listing.
    async fn list(&self, prefix: &str, delimiter: bool, after: Option<&str>, max: usize) {
        let mut query = format!("?list-type=2&encoding-type=url&max-keys={max}&prefix={}", encoded(prefix));
        query += if delimiter { "&delimiter=%2F" } else { "" };
        query += &after.map(|after| format!("&start-after={}", encoded(after))).unwrap_or_default();
        let (mut keys, mut common, mut token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = self.ask("GET", "", &format!("{query}{token}"), &[], b"").await;
            let text = |text: &String| {
                percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
            };
            let found: Vec<String> = page.elements("Key").iter().map(text).collect();
            // The first prefix is that of the request.
            let rolled: Vec<String> = page.elements("Prefix").iter().skip(1).map(text).collect();
            assert!(found.len() + rolled.len() <= max);
            keys.extend(found);
            common.extend(rolled);
            match page.elements("NextContinuationToken").first() {
                Some(next) => token = format!("&continuation-token={}", encoded(next)),
                None => break,
            }
        }
        let (expected, rolled) = self.listed(prefix, delimiter, after);
        assert_eq!((keys, common), (expected, rolled));
    }

    /// Lists objects from a random position within the existing keys.
    async fn list_somewhere(&mut self) {
        let Some(key) = self.rng.choice(self.objects.keys().cloned().collect::<Vec<_>>()) else { return };
        let (cut, max) = (self.rng.usize(..4), self.rng.usize(1..4));
        let prefix: String = key.chars().take(self.rng.usize(..2)).collect();
        let after: String = key.chars().take(cut).collect();
        let delimiter = self.rng.u8(..4) > 0;
        self.list(&prefix, delimiter, (!after.is_empty()).then_some(&after), max).await;
    }

    fn listed(&self, prefix: &str, delimiter: bool, after: Option<&str>) -> (Vec<String>, Vec<String>) {
        let (mut keys, mut common) = (Vec::new(), BTreeSet::new());
        for key in self.objects.keys().filter(|key| key.starts_with(prefix)) {
            let end = key[prefix.len()..].find('/').filter(|_| delimiter).map(|at| prefix.len() + at + 1);
            let name = end.map_or(key.as_str(), |end| &key[..end]);
            let before = after
                .is_some_and(|after| key.as_str() <= after || (end.is_some() && after.starts_with(name)));
            match end {
                _ if before => {}
                Some(_) => drop(common.insert(name.to_owned())),
                None => keys.push(name.to_owned()),
            }
        }
        (keys, common.into_iter().collect())
    }

    async fn restart(self) -> Self {
        let Self { folder, server, objects, bodies, rng, .. } = self;
        server.stop().await;
        let server = start(folder.path()).await;
        let raw = Raw::of(&server);
        Self { folder, server, raw, objects, bodies, rng }
    }

    /// Checks that after a restart all objects are there, and nothing else is on disk.
    async fn end(self) {
        let mut world = self.restart().await;
        world.list("", false, None, 1_000).await;
        for (key, object) in &world.objects {
            let answer = world.ask("GET", key, "", &[], b"").await;
            assert!(answer.body == object.data, "{key:?}");
            let count = answer.headers.get("x-amz-tagging-count").map(|count| count.to_str().unwrap());
            assert_eq!(count, object.tag.map(|_| "1"));
        }
        for _ in 0..30 {
            world.list_somewhere().await;
        }
        let bodies: BTreeMap<_, _> =
            world.objects.values().map(|object| (object.body, object.parts)).collect();
        let needed: usize = bodies.values().sum();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while files(&world.folder.path().join("blobs")) != needed {
            assert!(std::time::Instant::now() < deadline, "expected {needed} files");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.server.stop().await;
    }
}

fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { files(&entry.path()) } else { 1 }).sum()
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").map_or(24, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_server_behaves_like_a_map(seed in any::<u64>(), operations in vec(operations(), 1..60)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut world = World::new(seed).await;
            for operation in operations {
                world = world.apply(operation).await;
            }
            world.end().await;
        });
    }
}
