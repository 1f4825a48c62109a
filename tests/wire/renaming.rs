//! Renames and copies on servers with incomplete or wrong responses. Whatever a server omits, no byte is lost.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use longshore::store::{CopyOptions, S3Store, WriteMode};
use proptest::prelude::*;

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reply, store};

const DATA: &[u8] = b"the only copy";

/// A way in which a server differs from S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deviation {
    /// The responses to HEAD and GET omit this header.
    Without(&'static str),
    /// HEAD reports every object as empty.
    HeadSaysEmpty,
    /// `Content-Range` omits the total size.
    RangeOfUnknown,
    /// The server ignores conditions.
    NoConditions,
    /// The server ignores ranges.
    NoRanges,
    /// Results of writes have no ETag.
    ResultsWithoutEtag,
    /// Results of writes are empty documents of another kind.
    ResultsAreHtml,
    /// A proxy responds to writes with a page and status 200, and the writes are lost.
    WritesAreLost,
    /// The server responds to writes as S3 does but does not perform them.
    WritesAreClaimed,
    /// Uploads have an empty id.
    EmptyUploadId,
    /// The response to GetObjectTagging has no tag set.
    NoTagSet,
    /// The server ignores leading slashes and case in names.
    FoldsNames,
    /// The first request that writes fails with this status after it has taken effect.
    FailsAfterwards(u16),
}

const HABITS: [Deviation; 18] = [
    Deviation::WritesAreClaimed,
    Deviation::Without("content-length"),
    Deviation::Without("etag"),
    Deviation::Without("last-modified"),
    Deviation::Without("x-amz-version-id"),
    Deviation::Without("content-type"),
    Deviation::HeadSaysEmpty,
    Deviation::RangeOfUnknown,
    Deviation::NoConditions,
    Deviation::NoRanges,
    Deviation::ResultsWithoutEtag,
    Deviation::ResultsAreHtml,
    Deviation::WritesAreLost,
    Deviation::EmptyUploadId,
    Deviation::NoTagSet,
    Deviation::FoldsNames,
    Deviation::FailsAfterwards(500),
    Deviation::FailsAfterwards(403),
];

#[derive(Debug, Clone, Default)]
struct Object {
    data: Vec<u8>,
    etag: String,
    headers: Vec<(String, String)>,
}

/// The state of a server.
#[derive(Debug, Default)]
struct World {
    habits: Vec<Deviation>,
    objects: HashMap<String, Object>,
    uploads: HashMap<String, Object>,
    writes: usize,
    failed: usize,
}

impl World {
    fn has(&self, habit: Deviation) -> bool {
        self.habits.contains(&habit)
    }

    fn name(&self, path: &str) -> String {
        let path = path.trim_start_matches("/b/");
        if self.has(Deviation::FoldsNames) {
            path.trim_start_matches('/').to_lowercase()
        } else {
            path.to_owned()
        }
    }

    fn object(&self, key: &str) -> Option<&Object> {
        self.objects.get(&self.name(key))
    }

    fn written(&mut self, data: Vec<u8>, seen: &Seen) -> Object {
        self.writes += 1;
        let kept = |name: &str| name == "content-type" || name.starts_with("x-amz-meta-");
        let headers = seen.headers.iter().filter(|(name, _)| kept(name)).cloned().collect();
        Object { data, etag: format!("\"e{}\"", self.writes), headers }
    }

    fn answer(&mut self, seen: &Seen) -> Answer {
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let name = self.name(path);
        let reads = matches!(seen.method.as_str(), "GET" | "HEAD");
        if !reads && self.has(Deviation::WritesAreLost) {
            return reply(200, &[], "<html><body>Please log in</body></html>");
        }
        let answer = match seen.method.as_str() {
            "GET" if query.starts_with("tagging") => self.tags(),
            "GET" | "HEAD" => self.read(&name, seen),
            "DELETE" => self.delete(&name, query, seen),
            "POST" if query.starts_with("uploads") => {
                let started = self.written(Vec::new(), seen);
                let id = if self.has(Deviation::EmptyUploadId) {
                    String::new()
                } else {
                    format!("u{}", self.writes)
                };
                self.uploads.insert(id.clone(), started);
                result("InitiateMultipartUploadResult", &format!("<UploadId>{id}</UploadId>"))
            }
            "POST" => self.complete(&name, query, seen),
            _ => self.put(&name, query, seen),
        };
        for habit in self.habits.clone() {
            if let Deviation::FailsAfterwards(status) = habit
                && !reads
                && self.failed == 0
            {
                self.failed += 1;
                return error(status, if status == 403 { "AccessDenied" } else { "InternalError" });
            }
        }
        answer
    }

    fn tags(&self) -> Answer {
        if self.has(Deviation::NoTagSet) {
            reply(200, &[], "<Tagging/>")
        } else {
            reply(200, &[], "<Tagging><TagSet/></Tagging>")
        }
    }

    fn read(&self, name: &str, seen: &Seen) -> Answer {
        let Some(object) = self.objects.get(name) else { return error(404, "NoSuchKey") };
        let matches = seen.header("if-match").is_none_or(|etag| etag == object.etag);
        if !matches && !self.has(Deviation::NoConditions) {
            return error(412, "PreconditionFailed");
        }
        let size = object.data.len();
        let range = seen.header("range").filter(|_| !self.has(Deviation::NoRanges)).map(|range| {
            let (start, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
            (start.parse::<usize>().unwrap(), last.parse::<usize>().map_or(size, |last| size.min(last + 1)))
        });
        if range.is_some_and(|(start, _)| start >= size) {
            return error(416, "InvalidRange");
        }
        let (start, end) = range.unwrap_or((0, size));
        let total = if self.has(Deviation::RangeOfUnknown) { "*".to_owned() } else { size.to_string() };
        let head = seen.method == "HEAD";
        let length = if head && self.has(Deviation::HeadSaysEmpty) { 0 } else { end - start };
        let mut headers = vec![
            ("content-length".to_owned(), length.to_string()),
            ("etag".to_owned(), object.etag.clone()),
            ("last-modified".to_owned(), "Mon, 01 Jan 2024 00:00:00 GMT".to_owned()),
            ("x-amz-version-id".to_owned(), "null".to_owned()),
        ];
        if range.is_some() {
            headers.push(("content-range".to_owned(), format!("bytes {start}-{}/{total}", end - 1)));
        }
        headers.extend(object.headers.clone());
        // A response with a body keeps its length.
        let left_out = |name: &str| {
            self.habits.iter().any(|habit| matches!(habit, Deviation::Without(header) if *header == name))
                && (head || name != "content-length")
        };
        headers.retain(|(name, _)| !left_out(name));
        let mut text = format!("HTTP/1.1 {} x\r\n", if range.is_some() { 206 } else { 200 });
        for (name, value) in headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let body = if head { &[][..] } else { &object.data[start..end] };
        Answer::Reply([text.as_bytes(), b"\r\n", body].concat())
    }

    fn delete(&mut self, name: &str, query: &str, seen: &Seen) -> Answer {
        let id = query.strip_prefix("uploadId=");
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.uploads.remove(id);
            return reply(204, &[], "");
        }
        // Some servers treat an empty id as no id, and the request as one for the object.
        let current = self.objects.get(name).map(|object| object.etag.clone());
        let asked = seen.header("if-match").map(str::to_owned);
        if asked.is_some() && asked != current && !self.has(Deviation::NoConditions) {
            return error(412, "PreconditionFailed");
        }
        self.objects.remove(name);
        reply(204, &[], "")
    }

    fn put(&mut self, name: &str, query: &str, seen: &Seen) -> Answer {
        let id =
            query.split('&').find_map(|pair| pair.strip_prefix("uploadId=")).unwrap_or_default().to_owned();
        let is_part = query.contains("partNumber") && !id.is_empty();
        let source = seen.header("x-amz-copy-source").map(|source| self.name(source));
        let data = match &source {
            None => seen.body.clone(),
            Some(source) => match self.objects.get(source) {
                Some(object) => object.data.clone(),
                None => return error(404, "NoSuchKey"),
            },
        };
        if is_part {
            let Some(upload) = self.uploads.get_mut(&id) else { return error(404, "NoSuchUpload") };
            upload.data.extend(data);
            return match source {
                Some(_) => result("CopyPartResult", "<ETag>\"p\"</ETag>"),
                None => reply(200, &[("etag", "\"p\"")], ""),
            };
        }
        if let Some(refused) = self.refused(name, seen) {
            return refused;
        }
        let mut written = self.written(data, seen);
        if let Some(source) = &source
            && seen.header("x-amz-metadata-directive").is_none()
        {
            written.headers = self.objects[source].headers.clone();
        }
        let etag = written.etag.clone();
        if !self.has(Deviation::WritesAreClaimed) {
            self.objects.insert(name.to_owned(), written);
        }
        match source {
            Some(_) => self.written_result("CopyObjectResult", &etag),
            None if self.has(Deviation::ResultsWithoutEtag) => reply(200, &[], ""),
            None => reply(200, &[("etag", &etag)], ""),
        }
    }

    fn complete(&mut self, name: &str, query: &str, seen: &Seen) -> Answer {
        if let Some(refused) = self.refused(name, seen) {
            return refused;
        }
        let id = query.strip_prefix("uploadId=").unwrap_or_default();
        let Some(upload) = self.uploads.remove(id) else { return error(404, "NoSuchUpload") };
        self.writes += 1;
        let etag = format!("\"e{}\"", self.writes);
        if !self.has(Deviation::WritesAreClaimed) {
            self.objects.insert(name.to_owned(), Object { etag: etag.clone(), ..upload });
        }
        self.written_result("CompleteMultipartUploadResult", &etag)
    }

    fn refused(&self, name: &str, seen: &Seen) -> Option<Answer> {
        let taken = seen.header("if-none-match") == Some("*") && self.objects.contains_key(name);
        (taken && !self.has(Deviation::NoConditions)).then(|| error(412, "PreconditionFailed"))
    }

    fn written_result(&self, root: &str, etag: &str) -> Answer {
        if self.has(Deviation::ResultsAreHtml) {
            return reply(200, &[], "<html/>");
        }
        if self.has(Deviation::ResultsWithoutEtag) {
            result(root, "")
        } else {
            result(root, &format!("<ETag>{etag}</ETag>"))
        }
    }
}

fn result(root: &str, content: &str) -> Answer {
    Answer::Reply(bytes(200, &[], format!("<{root}>{content}</{root}>").as_bytes()))
}

/// Starts a server with these habits and an object at `from`.
async fn server(habits: &[Deviation], from: &str, data: &[u8]) -> (Scripted, Arc<Mutex<World>>) {
    let mut world = World { habits: habits.to_vec(), ..World::default() };
    let headers =
        vec![("content-type".to_owned(), "a/b".to_owned()), ("x-amz-meta-m".to_owned(), "1".to_owned())];
    let name = world.name(from);
    world.objects.insert(name, Object { data: data.to_vec(), etag: "\"e0\"".to_owned(), headers });
    let world = Arc::new(Mutex::new(world));
    let shared = Arc::clone(&world);
    (Scripted::start(move |_, seen| shared.lock().unwrap().answer(seen)).await, world)
}

/// A store on the same server, reached by another name.
fn elsewhere(server: &Scripted) -> S3Store {
    let mut settings = server.settings();
    settings.bucket.endpoint = Some(format!("http://localhost:{}", server.address.port()));
    settings.retry_config.max_retries = 1;
    store(settings)
}

#[derive(Debug, Clone, Copy)]
enum Way {
    /// Within one store.
    Within,
    /// Between two names of one server, so that Longshore relays the bytes.
    Between,
}

async fn attempt(
    habits: &[Deviation],
    (from, to): (&str, &str),
    way: Way,
    mode: WriteMode,
    data: &[u8],
    (rename, taken): (bool, bool),
) {
    let (server, world) = server(habits, from, data).await;
    if taken && from != to {
        let mut world = world.lock().unwrap();
        let name = world.name(to);
        // The same size as the source.
        let other =
            Object { data: vec![b'o'; data.len()], etag: "\"other\"".to_owned(), headers: Vec::new() };
        world.objects.entry(name).or_insert(other);
    }
    let mut settings = server.settings();
    settings.retry_config.max_retries = 1;
    let source = store(settings);
    let destination = match way {
        Way::Within => source.clone(),
        Way::Between => elsewhere(&server),
    };
    let outcome = if rename {
        destination.rename_from(&source, from, to, mode).await
    } else {
        destination.copy_from(&source, from, to, CopyOptions { mode, ..CopyOptions::default() }).await
    };
    let world = world.lock().unwrap();
    let has = |key: &str| world.object(key).is_some_and(|object| object.data == data);
    assert!(has(from) || rename && has(to), "the bytes are lost: {outcome:?} {world:?}");
    // A copy trusts a response that S3 would send. A rename verifies the object.
    let believed = world.has(Deviation::WritesAreClaimed) && !rename;
    if outcome.is_ok() && !believed {
        let copied = world.object(to).unwrap();
        assert_eq!(copied.data, data);
        assert_eq!(copied.headers.iter().find(|(name, _)| name == "x-amz-meta-m").unwrap().1, "1");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Set `PROPTEST_CASES` to run more cases.
    #[test]
    fn renames_and_copies_lose_no_byte_whatever_a_server_omits(
        habits in proptest::sample::subsequence(HABITS.to_vec(), 0..4),
        keys in prop_oneof![Just(("from", "to")), Just(("k", "k")), Just(("/k", "k")), Just(("Logo", "logo"))],
        way in prop_oneof![Just(Way::Within), Just(Way::Between)],
        create in any::<bool>(),
        empty in any::<bool>(),
        rename in any::<bool>(),
        taken in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mode = if create { WriteMode::Create } else { WriteMode::Overwrite };
        let data = if empty { &[][..] } else { DATA };
        runtime.block_on(attempt(&habits, keys, way, mode, data, (rename, taken)));
    }
}

#[tokio::test]
async fn a_rename_on_a_server_without_habits_moves_everything() {
    for way in [Way::Within, Way::Between] {
        for mode in [WriteMode::Overwrite, WriteMode::Create] {
            let (server, world) = server(&[], "from", DATA).await;
            let source = server.store();
            let destination = if matches!(way, Way::Within) { source.clone() } else { elsewhere(&server) };
            let renamed = destination.rename_from(&source, "from", "to", mode).await.unwrap();
            assert_eq!((renamed.meta.key.as_str(), renamed.meta.size), ("to", DATA.len() as u64));
            let world = world.lock().unwrap();
            assert!(world.object("from").is_none());
            let moved = world.object("to").unwrap();
            assert_eq!(moved.data, DATA);
            assert!(moved.headers.contains(&("content-type".to_owned(), "a/b".to_owned())));
        }
    }
}
