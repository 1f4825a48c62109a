//! A comparison with a model of versions: a list for each key, the newest version first.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html>

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use longshore::embedded::Embedded;
use proptest::{collection::vec, prelude::*};

use crate::raw::{Answer, Raw};

const KEYS: [&str; 4] = ["a", "a/b", "b", "z"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versioning {
    Never,
    Enabled,
    Suspended,
}

/// What is done to one of the keys. Versions are chosen by their position, the newest first.
#[derive(Debug, Clone)]
enum Operation {
    Set(bool),
    Put(usize, u8),
    Delete(usize),
    DeleteVersion(usize, usize),
    Copy(usize, usize, usize),
    Tag(usize, usize, u8),
    Restart,
}

fn operations() -> impl Strategy<Value = Operation> {
    let key = || 0..KEYS.len();
    prop_oneof![
        2 => any::<bool>().prop_map(Operation::Set),
        6 => (key(), any::<u8>()).prop_map(|(key, data)| Operation::Put(key, data)),
        3 => key().prop_map(Operation::Delete),
        4 => (key(), 0..4_usize).prop_map(|(key, at)| Operation::DeleteVersion(key, at)),
        3 => (key(), 0..4_usize, key()).prop_map(|(from, at, to)| Operation::Copy(from, at, to)),
        2 => (key(), 0..4_usize, any::<u8>()).prop_map(|(key, at, tag)| Operation::Tag(key, at, tag)),
        1 => Just(Operation::Restart),
    ]
}

/// A version; without data it is a delete marker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version {
    id: String,
    data: Option<String>,
    tag: Option<u8>,
    /// Which of the versions have the same bytes on disk.
    body: u64,
}

struct World {
    folder: tempfile::TempDir,
    server: Embedded,
    raw: Raw,
    versioning: Versioning,
    keys: BTreeMap<&'static str, Vec<Version>>,
    bodies: u64,
}

async fn start(folder: &Path) -> Embedded {
    Embedded::start(folder, "127.0.0.1:0".parse().unwrap(), &["test"]).await.unwrap()
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = start(folder.path()).await;
        let raw = Raw::of(&server);
        let keys = KEYS.iter().map(|key| (*key, Vec::new())).collect();
        Self { folder, server, raw, versioning: Versioning::Never, keys, bodies: 0 }
    }

    async fn ask(
        &self,
        method: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.raw.ask(method, key, query, headers, body.to_owned()).await
    }

    async fn apply(mut self, operation: Operation) -> Self {
        match operation {
            Operation::Set(enabled) => self.set(enabled).await,
            Operation::Put(key, data) => {
                let data = format!("{data}");
                let answer = self.ask("PUT", KEYS[key], "", &[], &data).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                self.bodies += 1;
                let body = self.bodies;
                self.written(
                    KEYS[key],
                    &answer,
                    Version { id: String::new(), data: Some(data), tag: None, body },
                );
            }
            Operation::Delete(key) => self.delete(KEYS[key]).await,
            Operation::DeleteVersion(key, at) => self.delete_version(KEYS[key], at).await,
            Operation::Copy(from, at, to) => self.copy(KEYS[from], at, KEYS[to]).await,
            Operation::Tag(key, at, tag) => self.tag(KEYS[key], at, tag).await,
            Operation::Restart => self = self.restart().await,
        }
        self.check_list().await;
        self
    }

    async fn set(&mut self, enabled: bool) {
        let status = if enabled { "Enabled" } else { "Suspended" };
        let body = format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        assert_eq!(self.ask("PUT", "", "?versioning=", &[], &body).await.status, 200);
        self.versioning = if enabled { Versioning::Enabled } else { Versioning::Suspended };
    }

    /// Adds a version to the model, which replaces the version `null` unless versioning is enabled.
    fn written(&mut self, key: &'static str, answer: &Answer, version: Version) {
        let told = answer.headers.get("x-amz-version-id").map(|id| id.to_str().unwrap().to_owned());
        let versions = self.keys.get_mut(key).unwrap();
        if self.versioning == Versioning::Enabled {
            assert!(told.as_deref().is_some_and(|id| id != "null"), "{told:?}");
        } else {
            let expected = (self.versioning == Versioning::Suspended).then(|| "null".to_owned());
            assert_eq!(told, expected);
            versions.retain(|version| version.id != "null");
        }
        versions.insert(0, Version { id: told.unwrap_or_else(|| "null".to_owned()), ..version });
    }

    async fn delete(&mut self, key: &'static str) {
        let answer = self.ask("DELETE", key, "", &[], "").await;
        assert_eq!(answer.status, 204);
        if self.versioning == Versioning::Never {
            self.keys.get_mut(key).unwrap().clear();
            return;
        }
        assert_eq!(answer.header("x-amz-delete-marker"), "true");
        self.written(key, &answer, Version { id: String::new(), data: None, tag: None, body: 0 });
    }

    fn chosen(&self, key: &str, at: usize) -> Option<Version> {
        self.keys[key].get(at).cloned()
    }

    async fn delete_version(&mut self, key: &'static str, at: usize) {
        let Some(version) = self.chosen(key, at) else { return };
        let query = format!("?versionId={}", version.id);
        let answer = self.ask("DELETE", key, &query, &[], "").await;
        assert_eq!(answer.status, 204);
        let marker = answer.headers.contains_key("x-amz-delete-marker");
        assert_eq!(marker, version.data.is_none());
        self.keys.get_mut(key).unwrap().remove(at);
    }

    async fn copy(&mut self, from: &'static str, at: usize, to: &'static str) {
        let Some(version) = self.chosen(from, at) else { return };
        let source = format!("/test/{from}?versionId={}", version.id);
        let answer = self.ask("PUT", to, "", &[("x-amz-copy-source", &source)], "").await;
        if version.data.is_none() {
            assert_eq!(answer.status, 405, "{}", answer.text());
        } else if from == to && self.versioning == Versioning::Never {
            assert_eq!(answer.status, 400, "{}", answer.text());
        } else {
            assert_eq!(answer.status, 200, "{}", answer.text());
            self.written(to, &answer, version);
        }
    }

    async fn tag(&mut self, key: &'static str, at: usize, tag: u8) {
        let Some(version) = self.chosen(key, at) else { return };
        let query = format!("?tagging=&versionId={}", version.id);
        let body = format!("<Tagging><TagSet><Tag><Key>k</Key><Value>{tag}</Value></Tag></TagSet></Tagging>");
        let answer = self.ask("PUT", key, &query, &[], &body).await;
        if version.data.is_none() {
            assert_eq!(answer.status, 405);
            return;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.keys.get_mut(key).unwrap()[at].tag = Some(tag);
    }

    /// Lists the versions in pages of a size that changes, and compares them with the model.
    async fn check_list(&self) {
        let expected: Vec<_> = self
            .keys
            .iter()
            .flat_map(|(key, versions)| {
                let row = |(at, version): (usize, &Version)| {
                    (version.data.is_none(), (*key).to_owned(), version.id.clone(), at == 0)
                };
                versions.iter().enumerate().map(row)
            })
            .collect();
        let size = 1 + expected.len() % 4;
        let (mut found, mut markers) = (Vec::new(), String::new());
        loop {
            let query = format!("?versions=&max-keys={size}{markers}");
            let answer = self.ask("GET", "", &query, &[], "").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            found.extend(rows(answer.text()));
            if answer.elements("IsTruncated") == ["false"] {
                break;
            }
            let (key, id) = (answer.elements("NextKeyMarker"), answer.elements("NextVersionIdMarker"));
            markers = format!("&key-marker={}&version-id-marker={}", key[0].replace('/', "%2F"), id[0]);
        }
        assert_eq!(found, expected);
        let objects = self.ask("GET", "", "?list-type=2", &[], "").await.elements("Key");
        let is_object = |versions: &[Version]| versions.first().is_some_and(|version| version.data.is_some());
        let expected: Vec<_> =
            self.keys.iter().filter(|(_, versions)| is_object(versions)).map(|(key, _)| *key).collect();
        assert_eq!(objects, expected);
    }

    async fn restart(self) -> Self {
        let Self { folder, server, versioning, keys, bodies, .. } = self;
        server.stop().await;
        let server = start(folder.path()).await;
        let raw = Raw::of(&server);
        Self { folder, server, raw, versioning, keys, bodies }
    }

    /// Checks that after a restart all versions can be read, and nothing else is on disk.
    async fn end(self) {
        let world = self.restart().await;
        world.check_list().await;
        for (key, versions) in &world.keys {
            for version in versions {
                let query = format!("?versionId={}", version.id);
                let answer = world.ask("GET", key, &query, &[], "").await;
                let Some(data) = &version.data else {
                    assert_eq!(answer.status, 405);
                    continue;
                };
                assert_eq!(
                    (answer.status.as_u16(), answer.text()),
                    (200, data.as_str()),
                    "{key} {version:?}"
                );
                let count = answer.headers.get("x-amz-tagging-count").map(|count| count.to_str().unwrap());
                assert_eq!(count, version.tag.map(|_| "1"));
            }
        }
        let versions = world.keys.values().flatten().filter(|version| version.data.is_some());
        let bodies: std::collections::BTreeSet<_> = versions.map(|version| version.body).collect();
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        while files(&world.folder.path().join("blobs")) != bodies.len() {
            assert!(std::time::Instant::now() < deadline, "expected {} files", bodies.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.server.stop().await;
    }
}

/// The rows of a page, in its order: whether it is a marker, the key, the id, and whether it is the latest.
fn rows(xml: &str) -> Vec<(bool, String, String, bool)> {
    let mut rows = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find("<Version>").into_iter().chain(rest.find("<DeleteMarker>")).min() {
        let marker = rest[at..].starts_with("<DeleteMarker>");
        let close = if marker { "</DeleteMarker>" } else { "</Version>" };
        let end = at + rest[at..].find(close).unwrap();
        let element = &rest[at..end];
        let text = |name: &str| {
            let after = element.split_once(&format!("<{name}>")).unwrap().1;
            after.split_once('<').unwrap().0.to_owned()
        };
        rows.push((marker, text("Key"), text("VersionId"), text("IsLatest") == "true"));
        rest = &rest[end..];
    }
    rows
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
    fn the_server_keeps_versions_like_a_list_for_each_key(operations in vec(operations(), 1..40)) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut world = World::new().await;
            for operation in operations {
                world = world.apply(operation).await;
            }
            world.end().await;
        });
    }
}
