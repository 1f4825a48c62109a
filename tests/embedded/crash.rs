//! Kills a process repeatedly while it writes. Acknowledged writes must survive, and all other writes must be either
//! complete or absent.
//!
//! `CRASH_KILLS` sets the number of kills. `CRASH_SEED` repeats the random choices of an earlier run.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use futures::TryStreamExt;
use object_store::{
    Error, ObjectStore, ObjectStoreExt,
    aws::AmazonS3,
    multipart::{MultipartStore, PartId},
    path::Path as Key,
};

use crate::server::Process;

const WRITERS: usize = 6;
const KEYS_OF_A_WRITER: usize = 6;
/// S3's minimum size of a part that is not the last.
const PART: usize = 5 * 1024 * 1024;

/// The bytes of an object or a part, generated from a seed whenever they are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    seed: u64,
    size: usize,
}

impl Content {
    fn any(rng: &mut Rng) -> Self {
        Self { seed: rng.u64(..), size: if rng.u8(..) < 20 { 0 } else { rng.usize(..300_000) } }
    }

    fn bytes(self) -> Bytes {
        let mut bytes = vec![0; self.size];
        Rng::with_seed(self.seed).fill(&mut bytes);
        bytes.into()
    }
}

/// The parts of an object in order.
type Object = Vec<Content>;

fn bytes(object: &Object) -> Vec<u8> {
    object.iter().flat_map(|content| content.bytes()).collect()
}

/// What is known about a key.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The last acknowledged object. `None` if the key must not exist.
    acknowledged: Option<Object>,
    /// The object or delete that was requested but not acknowledged.
    unanswered: Option<Option<Object>>,
}

/// An upload with one acknowledged part. Its second part was not acknowledged.
#[derive(Debug, Clone)]
struct Upload {
    key: String,
    id: String,
    first: (Content, PartId),
}

#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<String, Known>,
    uploads: Vec<Upload>,
    /// The keys and ids of all uploads that were ever created.
    begun: Vec<(String, String)>,
}

type Shared = Arc<Mutex<Model>>;

/// Writes to keys of its own until the server stops responding.
struct Writer {
    s3: AmazonS3,
    model: Shared,
    keys: Vec<String>,
    rng: Rng,
}

impl Writer {
    async fn write(mut self) {
        while self.step().await.is_ok() {}
    }

    async fn step(&mut self) -> Result<(), Error> {
        let key = self.keys[self.rng.usize(..self.keys.len())].clone();
        match self.rng.u8(..100) {
            0..55 => self.put(key).await,
            55..70 => self.delete(key).await,
            70..90 => self.copy(key).await,
            _ => self.upload(key).await,
        }
    }

    async fn put(&mut self, key: String) -> Result<(), Error> {
        let content = Content::any(&mut self.rng);
        self.ask(&key, Some(vec![content]));
        self.s3.put(&Key::from(key.as_str()), content.bytes().into()).await?;
        self.answered(&key);
        Ok(())
    }

    async fn delete(&mut self, key: String) -> Result<(), Error> {
        self.ask(&key, None);
        self.s3.delete(&Key::from(key.as_str())).await?;
        self.answered(&key);
        Ok(())
    }

    async fn copy(&mut self, key: String) -> Result<(), Error> {
        let source = self.keys[self.rng.usize(..self.keys.len())].clone();
        let object = self.model.lock().unwrap().keys[&source].acknowledged.clone();
        if source == key || object.is_none() {
            return Ok(());
        }
        self.ask(&key, object);
        self.s3.copy(&Key::from(source), &Key::from(key.as_str())).await?;
        self.answered(&key);
        Ok(())
    }

    async fn upload(&mut self, key: String) -> Result<(), Error> {
        let path = Key::from(key.as_str());
        let first = Content { seed: self.rng.u64(..), size: PART };
        let second = Content::any(&mut self.rng);
        let id = self.s3.create_multipart(&path).await?;
        self.model.lock().unwrap().begun.push((key.clone(), id.clone()));
        let begun = self.s3.put_part(&path, &id, 0, first.bytes().into()).await?;
        let upload = Upload { key: key.clone(), id: id.clone(), first: (first, begun.clone()) };
        self.model.lock().unwrap().uploads.push(upload);
        let ended = self.s3.put_part(&path, &id, 1, second.bytes().into()).await?;
        // From here on the upload may be completed without an acknowledgement.
        self.model.lock().unwrap().uploads.retain(|upload| upload.id != id);
        self.ask(&key, Some(vec![first, second]));
        self.s3.complete_multipart(&path, &id, vec![begun, ended]).await?;
        self.answered(&key);
        Ok(())
    }

    fn ask(&self, key: &str, object: Option<Object>) {
        self.model.lock().unwrap().keys.get_mut(key).unwrap().unanswered = Some(object);
    }

    fn answered(&self, key: &str) {
        let mut model = self.model.lock().unwrap();
        let known = model.keys.get_mut(key).unwrap();
        known.acknowledged = known.unanswered.take().unwrap();
    }
}

fn keys_of(writer: usize) -> Vec<String> {
    (0..KEYS_OF_A_WRITER).map(|key| format!("writer-{writer}/key-{key}")).collect()
}

/// Writes, and kills the process at a random moment.
async fn write_until_killed(process: Process, model: &Shared, rng: &mut Rng) {
    let s3 = process.client();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let writer =
                Writer { s3: s3.clone(), model: Arc::clone(model), keys: keys_of(writer), rng: rng.fork() };
            tokio::spawn(writer.write())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(rng.u64(1..250))).await;
    process.kill();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Compares the stored objects with what is known about each key, then records them as acknowledged.
async fn check(s3: &AmazonS3, model: &Shared) {
    let keys = model.lock().unwrap().keys.clone();
    let mut there = BTreeMap::new();
    for (key, known) in keys {
        let found = match s3.get(&Key::from(key.as_str())).await {
            Ok(found) => Some(found.bytes().await.unwrap()),
            Err(Error::NotFound { .. }) => None,
            Err(error) => panic!("{key}: {error}"),
        };
        let size = found.as_ref().map(|found| found.len() as u64);
        let possible = [Some(known.acknowledged.clone()), known.unanswered.clone()];
        let is = possible
            .into_iter()
            .flatten()
            .find(|object| object.as_ref().map(bytes).as_deref() == found.as_deref())
            .unwrap_or_else(|| panic!("{key} has {:?} bytes, but {known:?}", size));
        there.extend(size.map(|size| (key.clone(), size)));
        model.lock().unwrap().keys.insert(key, Known { acknowledged: is, unanswered: None });
    }
    let listed: Vec<_> = s3.list(None).try_collect().await.unwrap();
    let listed: BTreeMap<_, _> =
        listed.into_iter().map(|meta| (meta.location.to_string(), meta.size)).collect();
    assert_eq!(listed, there);
}

/// Completes the uploads whose first part was acknowledged. This must succeed.
async fn finish_uploads(s3: &AmazonS3, model: &Shared, rng: &mut Rng) {
    let uploads = std::mem::take(&mut model.lock().unwrap().uploads);
    for Upload { key, id, first: (content, part) } in uploads {
        let (path, second) = (Key::from(key.as_str()), Content::any(rng));
        let last = s3.put_part(&path, &id, 1, second.bytes().into()).await.unwrap();
        s3.complete_multipart(&path, &id, vec![part, last]).await.unwrap();
        let object = vec![content, second];
        model.lock().unwrap().keys.insert(key, Known { acknowledged: Some(object), unanswered: None });
    }
}

/// Creates files as a kill could leave them: an unfinished one, and one without a row.
fn litter(folder: &Path) {
    fs::write(folder.join("blobs/unfinished/0000010000000fff.0.0000010000000fff"), "half").unwrap();
    let of_the_first_run = folder.join("blobs/0000010000000");
    fs::create_dir_all(&of_the_first_run).unwrap();
    fs::write(of_the_first_run.join("0000010000000ffe.0.0000010000000ffe"), "whole").unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(self::files(&entry.path())),
            false => files.push(entry.path().display().to_string()),
        }
    }
    files
}

async fn delete_everything(s3: &AmazonS3, model: &Shared) {
    for meta in s3.list(None).try_collect::<Vec<_>>().await.unwrap() {
        s3.delete(&meta.location).await.unwrap();
    }
    let begun = std::mem::take(&mut model.lock().unwrap().begun);
    for (key, id) in begun {
        match s3.abort_multipart(&Key::from(key), &id).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_acknowledged_write_and_leave_no_partial_one() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let kills = number("CRASH_KILLS").unwrap_or(20);
    let seed = number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    // Shown if the test fails.
    eprintln!("CRASH_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let model = Shared::default();
    for writer in 0..WRITERS {
        let keys = keys_of(writer).into_iter().map(|key| (key, Known::default()));
        model.lock().unwrap().keys.extend(keys);
    }
    for _ in 0..kills {
        write_until_killed(Process::start(folder.path()), &model, &mut rng).await;
        litter(folder.path());
        let process = Process::start(folder.path());
        let s3 = process.client();
        check(&s3, &model).await;
        if rng.bool() {
            finish_uploads(&s3, &model, &mut rng).await;
        }
        // Uploads that were not finished here are finished in a later round, or at the end.
        process.kill();
    }
    leaves_nothing(folder.path(), &model, &mut rng).await;
}

/// After everything has been deleted and swept, no file is left.
async fn leaves_nothing(folder: &Path, model: &Shared, rng: &mut Rng) {
    let process = Process::start(folder);
    let s3 = process.client();
    check(&s3, model).await;
    finish_uploads(&s3, model, rng).await;
    delete_everything(&s3, model).await;
    process.stop();
    let _process = Process::start(folder);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !files(&folder.join("blobs")).is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", files(&folder.join("blobs")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
