//! Uploads while S3 holds back the response to their first request: their parts fill and wait.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use longshore::{
    store::{
        ErrorKind, Field, MemoryBudget, MemorySettings, ResumableUpload, S3Store, StoreSettings, UploadClaim,
        UploadOffsets, UploadOptions, WriteMode, WriteOptions,
    },
    telemetry::Metrics,
};
use tokio::{sync::watch, time::timeout};

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reply, reserved, sharing, store};

const MIB: usize = 1024 * 1024;
const PART: usize = 5 * MIB;

/// A timeout that only a failing test reaches.
const PATIENCE: Duration = Duration::from_secs(20);

const CREATED: &str = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str =
    "<CompleteMultipartUploadResult><ETag>\"done-4\"</ETag></CompleteMultipartUploadResult>";
const TWO_PARTS: &str = "<ListPartsResult><IsTruncated>false</IsTruncated><Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>5242880</Size></Part><Part><PartNumber>2</PartNumber><ETag>e</ETag><Size>5242880</Size></Part></ListPartsResult>";

/// A server that holds back the response to an upload's first request until it is released, and a store on this server
/// with parts of 5 MiB.
struct Held {
    server: Scripted,
    store: S3Store,
    metrics: Metrics,
    release: watch::Sender<bool>,
}

impl Held {
    async fn start(first: impl Fn(&Seen) -> bool + Send + Sync + 'static, answer: Vec<u8>) -> Self {
        Self::with_room(first, answer, 3).await
    }

    /// `room` is the number of parts that may be in flight.
    async fn with_room(
        first: impl Fn(&Seen) -> bool + Send + Sync + 'static,
        answer: Vec<u8>,
        room: usize,
    ) -> Self {
        let (release, released) = watch::channel(false);
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            _ if first(seen) => Answer::Once(released.clone(), answer.clone()),
            "POST" if is_create(seen) => reply(200, &[], CREATED),
            "POST" => reply(200, &[], COMPLETED),
            "DELETE" => reply(204, &[], ""),
            _ => reply(200, &[("etag", "\"p\"")], ""),
        })
        .await;
        let metrics = Metrics::default();
        let budget = MemoryBudget::new(MemorySettings::default(), metrics.clone());
        let store = sharing(settings(&server, room), budget.share(None));
        Self { server, store, metrics, release }
    }

    /// Waits until no memory is reserved.
    async fn all_is_given_back(&self) {
        let empty = async {
            while reserved(&self.metrics) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, empty).await.expect("memory stays reserved");
    }

    fn parts(&self) -> usize {
        self.server.lines().iter().filter(|line| line.starts_with("PUT ")).count()
    }
}

fn settings(server: &Scripted, room: usize) -> StoreSettings {
    let mut settings = server.settings();
    settings.transfer.part_size = PART as u64;
    settings.transfer.multipart_threshold = 0;
    settings.transfer.max_concurrency = room;
    settings
}

fn is_create(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("?uploads=")
}

fn is_listing(seen: &Seen) -> bool {
    seen.method == "GET"
}

fn part() -> Bytes {
    Bytes::from(vec![7; PART])
}

/// Three full parts and the start of a fourth.
fn chunks() -> [Bytes; 4] {
    [part(), part(), part(), Bytes::from_static(b"more")]
}

fn started() -> ResumableUpload {
    ResumableUpload {
        key: "k".to_owned(),
        s3_upload_id: "u".to_owned(),
        checksum_algorithm: None,
        size: None,
        part_size: PART as u64,
        parts_grow: true,
        max_in_flight_bytes: 128 * MIB as u64,
        write_id: String::new(),
    }
}

#[tokio::test]
async fn parts_wait_for_their_upload_and_are_sent_once_it_is_created() {
    let held = Held::start(is_create, bytes(200, &[], CREATED.as_bytes())).await;
    let mut upload = held.store.upload("k", UploadOptions::default()).unwrap();
    for chunk in chunks() {
        timeout(PATIENCE, upload.write(chunk)).await.expect("the upload takes no more bytes").unwrap();
    }
    assert_eq!(held.server.asked(is_create).await.target, "/b/k?uploads=");
    assert!(reserved(&held.metrics) >= 3 * PART as u64, "waiting parts count as reserved memory");
    assert_eq!(held.server.seen().len(), 1, "no part is sent before its upload exists");
    held.release.send(true).unwrap();
    let uploaded = upload.finish(UploadClaim::default()).await.unwrap();
    assert_eq!((uploaded.parts, uploaded.meta.size), (4, 3 * PART as u64 + 4));
    let mut lines = held.server.lines();
    lines[1..5].sort();
    let sent = |number| format!("PUT /b/k?partNumber={number}&uploadId=u");
    assert_eq!(lines[1..5], [sent(1), sent(2), sent(3), sent(4)]);
    held.all_is_given_back().await;
}

#[tokio::test]
async fn no_more_parts_wait_than_may_be_in_flight() {
    let held = Held::with_room(is_create, bytes(200, &[], CREATED.as_bytes()), 2).await;
    let mut upload = held.store.upload("k", UploadOptions::default()).unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let writing = tokio::spawn(async move {
        for _ in 0..12 * PART / MIB {
            upload.write(Bytes::from(vec![7; MIB])).await.unwrap();
            count.fetch_add(MIB, SeqCst);
        }
        upload.finish(UploadClaim::default()).await
    });
    let filled = async {
        while written.load(SeqCst) < 3 * PART - MIB {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, filled).await.expect("two parts do not wait while the third fills");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(written.load(SeqCst), 3 * PART - MIB, "the third part filled up although two parts wait");
    held.release.send(true).unwrap();
    assert_eq!(writing.await.unwrap().unwrap().parts, 12);
    held.all_is_given_back().await;
}

#[tokio::test]
async fn an_upload_that_cannot_be_created_fails_and_drops_its_parts() {
    let denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
    for ends in ["while the caller is silent", "with the next bytes", "at its end"] {
        let held = Held::start(is_create, bytes(403, &[], denied)).await;
        let mut upload = held.store.upload("k", UploadOptions::default()).unwrap();
        for chunk in chunks() {
            upload.write(chunk).await.unwrap();
        }
        held.release.send(true).unwrap();
        let error = match ends {
            "while the caller is silent" => upload.failed().await,
            "with the next bytes" => loop {
                match upload.write(Bytes::from_static(b"x")).await {
                    Ok(()) => tokio::task::yield_now().await,
                    Err(error) => break error,
                }
            },
            _ => upload.finish(UploadClaim::default()).await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::AccessDenied, "{ends}");
        held.all_is_given_back().await;
        assert_eq!(held.server.lines(), ["POST /b/k?uploads="], "there is nothing to abort");
    }
}

#[tokio::test]
async fn an_upload_dropped_during_its_creation_is_aborted_and_sends_no_parts() {
    let held = Held::start(is_create, bytes(200, &[], CREATED.as_bytes())).await;
    let mut upload = held.store.upload("k", UploadOptions::default()).unwrap();
    for chunk in chunks() {
        upload.write(chunk).await.unwrap();
    }
    held.server.asked(is_create).await;
    drop(upload);
    held.all_is_given_back().await;
    assert_eq!(held.server.seen().len(), 1, "the upload's id is not known yet");
    held.release.send(true).unwrap();
    let aborted = held.server.asked(|seen| seen.method == "DELETE").await;
    assert_eq!(aborted.target, "/b/k?uploadId=u");
    assert_eq!(held.parts(), 0);
}

#[tokio::test]
async fn a_resumable_upload_whose_start_is_cancelled_is_aborted() {
    let held = Held::start(is_create, bytes(200, &[], CREATED.as_bytes())).await;
    let store = held.store.clone();
    let starting = tokio::spawn(async move { store.start_upload("k", UploadOptions::default()).await });
    held.server.asked(is_create).await;
    starting.abort();
    assert!(starting.await.unwrap_err().is_cancelled());
    held.release.send(true).unwrap();
    let aborted = held.server.asked(|seen| seen.method == "DELETE").await;
    assert_eq!(aborted.target, "/b/k?uploadId=u");
}

#[tokio::test]
async fn parts_wait_while_the_version_to_replace_is_checked() {
    let is_head = |seen: &Seen| seen.method == "HEAD";
    let other = bytes(200, &[("etag", "\"e\""), ("x-amz-version-id", "2"), ("content-length", "4")], b"");
    let held = Held::start(is_head, other).await;
    let mode = WriteMode::Update { etag: "e".to_owned(), version: Some("1".to_owned()) };
    let write = WriteOptions { mode, ..WriteOptions::default() };
    let options = UploadOptions { write, ..UploadOptions::default() };
    let mut upload = held.store.upload("k", options).unwrap();
    for chunk in chunks() {
        timeout(PATIENCE, upload.write(chunk)).await.expect("the upload takes no more bytes").unwrap();
    }
    held.release.send(true).unwrap();
    assert_eq!(upload.failed().await.kind(), ErrorKind::PreconditionFailed);
    drop(upload);
    held.all_is_given_back().await;
    assert_eq!(held.server.lines(), ["HEAD /b/k"], "no upload was created");
}

#[tokio::test]
async fn an_upload_dropped_before_its_creation_is_not_created() {
    let is_head = |seen: &Seen| seen.method == "HEAD";
    let same = bytes(200, &[("etag", "\"e\""), ("x-amz-version-id", "1"), ("content-length", "4")], b"");
    let held = Held::start(is_head, same).await;
    let mode = WriteMode::Update { etag: "e".to_owned(), version: Some("1".to_owned()) };
    let write = WriteOptions { mode, ..WriteOptions::default() };
    let options = UploadOptions { write, ..UploadOptions::default() };
    let mut upload = held.store.upload("k", options).unwrap();
    for chunk in chunks() {
        upload.write(chunk).await.unwrap();
    }
    held.server.asked(is_head).await;
    drop(upload);
    held.all_is_given_back().await;
    held.release.send(true).unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(held.server.lines(), ["HEAD /b/k"]);
}

#[tokio::test]
async fn a_resumed_upload_sends_parts_immediately_and_lists_them_at_its_end() {
    let held = Held::start(is_listing, bytes(200, &[], TWO_PARTS.as_bytes())).await;
    let mut writer = held.store.resume_upload(&started(), 0).await.unwrap();
    for chunk in chunks() {
        writer.write(chunk).await.unwrap();
    }
    let settled = tokio::spawn(writer.settle());
    held.server.asked(is_listing).await;
    assert_eq!(held.parts(), 3);
    assert!(held.server.lines().last().unwrap().starts_with("GET "), "{:?}", held.server.lines());
    held.release.send(true).unwrap();
    let persisted = settled.await.unwrap().unwrap();
    assert_eq!((persisted.size, persisted.ranges), (2 * PART as u64, Vec::new()), "only what S3 lists");
    held.all_is_given_back().await;
}

#[tokio::test]
async fn final_listings_of_resumed_uploads_do_not_deadlock_on_memory() {
    const UPLOADS: usize = 8;
    let held = Held::start(is_listing, bytes(200, &[], TWO_PARTS.as_bytes())).await;
    held.release.send(true).unwrap();
    let metrics = Metrics::default();
    let wait = Duration::from_hours(1);
    let memory = MemorySettings { budget: 16 * MIB as u64, wait, ..MemorySettings::default() };
    let store = sharing(settings(&held.server, 3), MemoryBudget::new(memory, metrics.clone()).share(None));
    let uploads = (0..UPLOADS).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut writer = store.resume_upload(&started(), 0).await.unwrap();
            // The last MiB does not fill a part, so its memory stays reserved until the listing.
            for _ in 0..PART / MIB + 1 {
                writer.write(Bytes::from(vec![7; MIB])).await.unwrap();
            }
            writer.settle().await.unwrap().size
        })
    });
    for upload in uploads.collect::<Vec<_>>() {
        let size = timeout(PATIENCE, upload).await.expect("uploads wait for each other").unwrap();
        assert_eq!(size, 2 * PART as u64);
    }
    assert_eq!(reserved(&metrics), 0);
}

#[tokio::test]
async fn an_upload_can_be_resumed_only_at_a_part_boundary() {
    let held = Held::start(is_listing, bytes(200, &[], TWO_PARTS.as_bytes())).await;
    held.release.send(true).unwrap();
    let part = PART as u64;
    for offset in [0, part, 2 * part, 5 * part] {
        held.store.resume_upload(&started(), offset).await.unwrap();
    }
    assert_eq!(held.server.lines(), [""; 0], "these offsets need no request");
    let sized = ResumableUpload { size: Some(part + 3), parts_grow: false, ..started() };
    let cases = [
        (started(), 7, 0, Some(part)),
        (started(), 2 * part + 7, 2 * part, Some(3 * part)),
        (sized.clone(), part + 1, part, Some(part + 3)),
        (sized, part + 4, part + 3, None),
    ];
    for (upload, offset, before, after) in cases {
        let error = held.store.resume_upload(&upload, offset).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UploadOffsetMismatch);
        let persisted_size = if upload.size.is_some() { part } else { 2 * part };
        let expected = UploadOffsets { persisted_size, before, after };
        assert_eq!(error.upload_offsets(), Some(expected), "{}", error.message());
    }
    assert_eq!(held.parts(), 0);
}

#[tokio::test]
async fn bytes_after_a_short_last_part_are_rejected() {
    let short = TWO_PARTS.replace(
        "<PartNumber>2</PartNumber><ETag>e</ETag><Size>5242880<",
        "<PartNumber>2</PartNumber><ETag>e</ETag><Size>7<",
    );
    let held = Held::start(is_listing, bytes(200, &[], short.as_bytes())).await;
    held.release.send(true).unwrap();
    let end = PART as u64 + 7;
    let mut writer = held.store.resume_upload(&started(), end).await.unwrap();
    writer.end().await.unwrap();
    assert_eq!(writer.settle().await.unwrap().size, end);
    let mut writer = held.store.resume_upload(&started(), end).await.unwrap();
    let more = writer.write(Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(more.kind(), ErrorKind::SizeMismatch);
    assert_eq!(held.parts(), 0);
}

#[tokio::test]
async fn a_missing_upload_fails_at_its_first_part_or_at_its_end() {
    let gone = Scripted::start(|_, _| error(404, "NoSuchUpload")).await;
    let mut writer = gone.store().resume_upload(&started(), 0).await.unwrap();
    writer.write(part()).await.unwrap();
    assert_eq!(writer.failed().await.kind(), ErrorKind::UploadNotFound);
    let writer = gone.store().resume_upload(&started(), 0).await.unwrap();
    assert_eq!(writer.settle().await.unwrap_err().kind(), ErrorKind::UploadNotFound);
}

#[tokio::test]
async fn progress_is_reported_up_to_the_first_part_that_s3_does_not_have() {
    let is_part_3 = |seen: &Seen| seen.method == "PUT" && seen.target.contains("partNumber=3&");
    let held = Held::start(is_part_3, bytes(200, &[("etag", "\"p\"")], b"")).await;
    let part_size = PART as u64;
    let mut writer = held.store.resume_upload(&started(), 2 * part_size).await.unwrap();
    let (listener, mut persisted_end) = watch::channel(0);
    writer.report_to(listener);
    for chunk in chunks() {
        writer.write(chunk).await.unwrap();
    }
    while held.parts() < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // S3 has parts 4 and 5, but progress cannot include them before part 3.
    assert!(timeout(Duration::from_millis(200), writer.failed()).await.is_err());
    assert!(!persisted_end.has_changed().unwrap());
    held.release.send(true).unwrap();
    tokio::select! {
        error = writer.failed() => panic!("{error}"),
        ended = timeout(PATIENCE, persisted_end.wait_for(|end| *end == 5 * part_size)) => drop(ended.unwrap().unwrap()),
    }
}

/// A store whose server lists `parts`, each with its number and its size in bytes.
async fn listing(parts: &[(u32, usize)]) -> (Scripted, S3Store) {
    let part = |(number, size): &(u32, usize)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>e</ETag><Size>{size}</Size></Part>")
    };
    let parts: String = parts.iter().map(part).collect();
    let listed = format!("<ListPartsResult><IsTruncated>false</IsTruncated>{parts}</ListPartsResult>");
    let server = Scripted::start(move |_, seen| match seen.method.as_str() {
        "GET" => reply(200, &[], &listed),
        _ => reply(200, &[("etag", "\"p\"")], ""),
    })
    .await;
    let store = store(settings(&server, 3));
    (server, store)
}

fn has_put(server: &Scripted) -> bool {
    server.lines().iter().any(|line| line.starts_with("PUT"))
}

#[tokio::test]
async fn an_end_elsewhere_than_the_objects_overwrites_no_part() {
    let part = PART as u64;
    let sized = ResumableUpload { size: Some(3 * part), parts_grow: false, ..started() };
    let whole = [(1, PART), (2, PART)];
    let cases = [
        // The size is known: only its last byte may be followed by the end.
        (&sized, &[][..], part, 1),
        (&sized, &[], part, 0),
        (&sized, &[], 2 * part, PART - 1),
        // The part is there, and larger; later ones are there.
        (&started(), &whole[..], part, 1),
        (&started(), &[(1, PART), (3, 7)], part, 1),
        (&started(), &whole, part, 0),
    ];
    for (upload, listed, offset, len) in cases {
        let (server, store) = listing(listed).await;
        let mut writer = store.resume_upload(upload, offset).await.unwrap();
        writer.write(vec![7; len].into()).await.unwrap();
        let error = writer.end().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (ErrorKind::SizeMismatch, Some(Field::End)),
            "{offset} {len}"
        );
        drop(writer);
        assert!(!has_put(&server), "{:?}", server.lines());
    }
    // The same end again, a later one, and ends where nothing is.
    let cases: [(&[(u32, usize)], usize); 4] =
        [(&[(1, PART), (2, 7)], 7), (&[(1, PART), (2, 7)], 8), (&[(1, PART)], 3), (&[(1, PART)], 0)];
    for (listed, len) in cases {
        let (server, store) = listing(listed).await;
        let mut writer = store.resume_upload(&started(), part).await.unwrap();
        writer.write(vec![7; len].into()).await.unwrap();
        writer.end().await.unwrap();
        writer.settle().await.unwrap();
        assert_eq!(has_put(&server), len > 0);
    }
}

/// A server whose listings of one part have these ETags, one after the other, and that does not find the part a few times.
async fn replacing(etags: [&'static str; 2], failures: usize) -> Scripted {
    let (listings, completions) = (AtomicUsize::new(0), AtomicUsize::new(0));
    Scripted::start(move |_, seen| match seen.method.as_str() {
        "GET" => {
            let etag = etags[listings.fetch_add(1, SeqCst)];
            let size = if etag == "short" { 3 } else { PART };
            let part = format!("<PartNumber>1</PartNumber><ETag>{etag}</ETag><Size>{size}</Size>");
            let listed = "<ListPartsResult><IsTruncated>false</IsTruncated><Part>";
            reply(200, &[], &format!("{listed}{part}</Part></ListPartsResult>"))
        }
        _ if completions.fetch_add(1, SeqCst) < failures => error(400, "InvalidPart"),
        _ => reply(200, &[], COMPLETED),
    })
    .await
}

#[tokio::test]
async fn a_part_that_is_replaced_while_its_upload_is_finished_is_verified_before_the_object_is_made() {
    let cases = [
        (["e", "f"], 1, Ok(())),
        (["e", "e"], 1, Err(ErrorKind::InvalidRequest)),
        (["e", "f"], 2, Err(ErrorKind::Conflict)),
        (["e", "short"], 1, Err(ErrorKind::SizeMismatch)),
    ];
    for (etags, failures, expected) in cases {
        let server = replacing(etags, failures).await;
        let claim = UploadClaim { size: Some(PART as u64), crc32c: None };
        let store = store(settings(&server, 3));
        let finished = store.finish_upload(&started(), claim, &BTreeMap::new(), &WriteMode::Overwrite).await;
        assert_eq!(finished.map(|_| ()).map_err(|error| error.kind()), expected, "{:?}", server.lines());
    }
}

#[tokio::test]
async fn parts_that_are_taken_while_bytes_wait_for_memory_are_reported() {
    let is_other = |seen: &Seen| seen.method == "PUT" && seen.target.starts_with("/b/other");
    let held = Held::start(is_other, bytes(200, &[("etag", "\"p\"")], b"")).await;
    let wait = Duration::from_hours(1);
    let memory = MemorySettings { budget: 16 * MIB as u64, wait, ..MemorySettings::default() };
    let tenant = MemoryBudget::new(memory, Metrics::default()).share(None);
    let store = sharing(settings(&held.server, 3), tenant);
    let mut writer = store.resume_upload(&started(), 0).await.unwrap();
    let (listener, mut persisted_end) = watch::channel(0);
    writer.report_to(listener);
    writer.write(part()).await.unwrap();
    held.server.asked(|seen| seen.method == "PUT").await;
    let mut other =
        store.resume_upload(&ResumableUpload { key: "other".to_owned(), ..started() }, 0).await.unwrap();
    for _ in 0..3 {
        other.write(part()).await.unwrap();
    }
    tokio::select! {
        written = writer.write(part()) => panic!("there is no memory for it: {written:?}"),
        ended = timeout(PATIENCE, persisted_end.wait_for(|end| *end == PART as u64)) => drop(ended.unwrap().unwrap()),
    }
}

#[tokio::test]
async fn a_listing_of_parts_that_has_one_twice_is_not_believed() {
    let (_server, store) = listing(&[(1, PART), (1, 7)]).await;
    let error = store.upload_progress(&started()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BackendProtocol);
}

#[tokio::test]
async fn bytes_that_wait_for_their_checksum_have_a_place_in_the_object_and_memory() {
    let (server, _) = listing(&[]).await;
    let memory = MemorySettings { budget: 16 * MIB as u64, ..MemorySettings::default() };
    let tenant = MemoryBudget::new(memory, Metrics::default()).share(None);
    let store = sharing(settings(&server, 3), tenant);
    let sized = ResumableUpload { size: Some(1), parts_grow: false, ..started() };
    let mut writer = store.resume_upload(&sized, 0).await.unwrap();
    writer.hold(1).unwrap();
    let error = writer.hold(2).unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::SizeMismatch, Some(Field::Chunk)));
    let mut writers = Vec::new();
    let refused = loop {
        let mut writer = store.resume_upload(&started(), 0).await.unwrap();
        match writer.hold(3 * PART as u64) {
            Ok(()) => writers.push(writer),
            Err(error) => break error,
        }
        assert!(writers.len() < 8, "the budget does not bound what waits");
    };
    assert_eq!(refused.kind(), ErrorKind::MemoryExhausted);
    writers[0].hold(0).unwrap();
    let mut writer = store.resume_upload(&started(), 0).await.unwrap();
    writer.hold(3 * PART as u64).unwrap();
}

#[tokio::test]
async fn a_finish_that_another_one_overtook_is_verified_against_the_object_that_is_there() {
    let complete_ok = COMPLETED;
    let gone = "<Error><Code>NoSuchUpload</Code></Error>";
    // The response to the completion, the size of the object that is there, and whose write id it has.
    let cases = [
        (200, complete_ok, PART, "w", Ok(PART as u64)),
        (200, complete_ok, 7, "w", Err(ErrorKind::SizeMismatch)),
        (200, complete_ok, 7, "another", Ok(PART as u64)),
        (404, gone, PART, "w", Ok(PART as u64)),
        (404, gone, 7, "w", Err(ErrorKind::SizeMismatch)),
        (404, gone, PART, "another", Err(ErrorKind::UploadNotFound)),
    ];
    for (status, completion, size, write_id, expected) in cases {
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "GET" => reply(
                200,
                &[],
                "<ListPartsResult><Part><PartNumber>1</PartNumber><ETag>e</ETag><Size>5242880</Size></Part></ListPartsResult>",
            ),
            "HEAD" => reply(
                200,
                &[
                    ("etag", "\"other\""),
                    ("last-modified", "Sat, 10 Jan 2026 00:00:00 GMT"),
                    ("content-length", &size.to_string()),
                    ("x-amz-meta-longshore-write-id", write_id),
                ],
                "",
            ),
            _ => reply(status, &[], completion),
        })
        .await;
        let upload = ResumableUpload { write_id: "w".to_owned(), ..started() };
        let claim = UploadClaim { size: Some(PART as u64), crc32c: None };
        let store = store(settings(&server, 3));
        let finished = store.finish_upload(&upload, claim, &BTreeMap::new(), &WriteMode::Overwrite).await;
        let case = (status, size, write_id);
        if let Ok(finished) = &finished {
            assert_eq!(finished.meta.properties.last_modified, None, "{case:?}");
        }
        assert_eq!(
            finished.map(|finished| finished.meta.size).map_err(|error| error.kind()),
            expected,
            "{case:?}"
        );
    }
}

#[tokio::test]
async fn a_response_404_that_does_not_say_what_is_missing_says_nothing_of_an_upload() {
    let server = Scripted::start(|_, _| reply(404, &[], "")).await;
    let store = server.store();
    let progress = store.upload_progress(&started()).await.unwrap_err();
    let cancelled = store.cancel_upload("k", "u").await.unwrap_err();
    assert_eq!([progress.kind(), cancelled.kind()], [ErrorKind::BackendProtocol; 2]);
}

#[tokio::test]
async fn uploads_that_could_not_be_cancelled_are_not_listed() {
    let long = "u".repeat(3000);
    let upload = |key: &str, id: &str| format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId></Upload>");
    let uploads = [upload("p/", "u1"), upload("p/k", &long), upload("p/k", "u2")].concat();
    let page = format!("<ListMultipartUploadsResult>{uploads}</ListMultipartUploadsResult>");
    let server = Scripted::start(move |_, _| reply(200, &[], &page)).await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let page = store(settings).list_uploads("", None, 1000).await.unwrap();
    let ids: Vec<_> = page.uploads.iter().map(|upload| upload.s3_upload_id.as_str()).collect();
    assert_eq!((ids, page.skipped), (vec!["u2"], 2));
}
