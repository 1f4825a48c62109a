use std::{fs, io::Read as _, path::Path};

use serde_json::Value;

use super::*;

const BUFFER: u64 = 64 * 1024;

fn settings(path: &Path) -> AuditSettings {
    AuditSettings {
        log: Some(AuditTarget::File(path.to_owned())),
        wait: Duration::from_millis(50),
        buffer: BUFFER,
    }
}

fn open(path: &Path) -> AuditLog {
    AuditLog::open(&settings(path)).unwrap().unwrap()
}

fn call(log: &AuditLog) -> AuditedCall {
    let room = log.try_admit().expect("room for a call");
    AuditedCall::new(log.clone(), room, identity())
}

fn identity() -> CallIdentity {
    CallIdentity {
        method: "longshore.v1.ObjectService/Put".into(),
        request_id: "r1".into(),
        tenant: "acme".into(),
        caller: "billing".into(),
        peer: None,
    }
}

fn outcome() -> AuditOutcome {
    AuditOutcome { code: "OK", reason: None, bytes_in: 7, bytes_out: 0, elapsed: Duration::from_millis(2) }
}

async fn written(log: &AuditLog, path: &Path) -> Vec<Value> {
    assert_eq!(log.flush(Duration::from_secs(30)).await, 0);
    parsed(&fs::read_to_string(path).unwrap())
}

fn parsed(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A named pipe that accepts some bytes, and its reader, which reads nothing.
fn pipe(folder: &Path) -> (std::path::PathBuf, fs::File) {
    let path = folder.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let reader = fs::File::options().read(true).write(true).open(&path).unwrap();
    (path, reader)
}

#[tokio::test]
async fn a_call_has_two_lines_with_its_object_and_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let log = open(&path);
    let audited = call(&log);
    audited.set_source("archive", "from\n\"here\"", Some("v1"));
    audited.set_object(|| AuditedObject::store("default").with_key("a\u{1}ü").with_version(None));
    audited.set_object(|| AuditedObject::store("another"));
    audited.begin();
    audited.begin();
    audited.s3_requests().record(Some("S3ID"));
    audited.s3_requests().record(None);
    audited.end(&outcome());
    drop(audited);
    let lines = written(&log, &path).await;
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["key"], "a\u{1}ü");
        assert_eq!((&line["store"], &line["source_store"]), (&"default".into(), &"archive".into()));
        assert_eq!(line["source_key"], "from\n\"here\"");
        assert_eq!((&line["source_version"], line.get("version")), (&"v1".into(), None));
        assert_eq!((&line["tenant"], &line["caller"]), (&"acme".into(), &"billing".into()));
        assert_eq!((&line["request_id"], &line["call"]), (&"r1".into(), &lines[0]["call"]));
    }
    assert_eq!((&lines[0]["event"], lines[0].get("code")), (&"begin".into(), None));
    let end = &lines[1];
    assert_eq!((&end["event"], &end["code"]), (&"end".into(), &"OK".into()));
    assert_eq!((&end["bytes_in"], &end["elapsed_ms"]), (&7.into(), &2.0.into()));
    assert_eq!((&end["s3_responses"], &end["s3_request_ids"]), (&2.into(), &serde_json::json!(["S3ID"])));
    assert_eq!((log.bytes_in_use(), log.lines_written()), (0, 2));
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_can_be_read_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let _log = open(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn calls_in_flight_hold_room_so_that_their_last_lines_never_wait() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let log = open(&path);
    let calls: Vec<_> = (0..BUFFER / PER_CALL as u64).map(|_| call(&log)).collect();
    assert!(log.try_admit().is_none());
    assert_eq!(log.admit().await.unwrap_err(), AuditFull);
    for call in calls {
        call.end(&outcome());
    }
    assert_eq!(written(&log, &path).await.len(), 128);
    assert!(log.try_admit().is_some());
    assert_eq!(log.bytes_in_use(), 0);
}

#[tokio::test]
async fn a_reader_that_accepts_nothing_makes_calls_fail_and_loses_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mut reader) = pipe(folder.path());
    let log = open(&path);
    let mut admitted = 0;
    // The pipe itself holds 64 KiB.
    while let Ok(room) = log.admit().await {
        AuditedCall::new(log.clone(), room, identity()).end(&outcome());
        admitted += 1;
        assert!(admitted < 10_000);
    }
    assert!(log.notice().unwrap().contains("accepts nothing"), "{:?}", log.notice());
    assert!(log.flush(Duration::ZERO).await > 0);
    let reading = thread::spawn(move || {
        let (mut text, mut some) = (String::new(), [0; 4096]);
        while text.lines().count() < 2 * admitted || !text.ends_with('\n') {
            let read = reader.read(&mut some).unwrap();
            text.push_str(str::from_utf8(&some[..read]).unwrap());
        }
        text
    });
    assert_eq!(log.flush(Duration::from_secs(30)).await, 0);
    let lines = parsed(&reading.join().unwrap());
    assert_eq!((lines.len(), lines.last().unwrap()["event"].as_str()), (2 * admitted, Some("end")));
    assert_eq!((log.bytes_in_use(), log.notice()), (0, None));
}

#[tokio::test]
async fn a_pipe_that_no_process_reads_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (path, reader) = pipe(folder.path());
    drop(reader);
    assert_eq!(AuditLog::open(&settings(&path)).unwrap_err().raw_os_error(), Some(6));
}

#[tokio::test]
async fn a_waiting_call_is_admitted_when_room_becomes_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let log = AuditLog::open(&AuditSettings { wait: Duration::from_mins(10), ..settings(&path) });
    let log = log.unwrap().unwrap();
    let mut rooms: Vec<_> = (0..64).map(|_| log.try_admit().unwrap()).collect();
    let mut waiting = Box::pin(log.admit());
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    assert_eq!(log.calls_waiting(), 1);
    rooms.pop();
    assert!(waiting.await.is_ok());
    assert_eq!(log.calls_waiting(), 0);
}

#[tokio::test]
async fn keys_are_written_before_they_are_deleted_in_lines_of_limited_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    // Room for each line becomes free as the ones before are written.
    let log = AuditLog::open(&AuditSettings { wait: Duration::from_mins(10), ..settings(&path) });
    let log = log.unwrap().unwrap();
    let audited = call(&log);
    let keys: Vec<_> = (0..500).map(|number| format!("{number:01000}")).collect();
    let objects: Vec<_> = keys.iter().map(|key| (key.as_str(), "v")).collect();
    audited.keys(&objects).await.unwrap();
    audited.end(&outcome());
    drop(audited);
    let lines = written(&log, &path).await;
    let found: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "keys")
        .flat_map(|line| line["keys"].as_array().unwrap())
        .map(|key| (key["key"].as_str().unwrap(), key["version"].as_str().unwrap()))
        .collect();
    assert_eq!(found, objects);
    assert_eq!(lines.last().unwrap()["keys_sent"], 500);
}

#[tokio::test]
async fn a_renamed_file_gets_no_more_lines_after_it_was_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let log = open(&path);
    call(&log).end(&outcome());
    assert_eq!(written(&log, &path).await.len(), 2);
    fs::rename(&path, &old).unwrap();
    log.reopen();
    call(&log).end(&outcome());
    assert_eq!(log.flush(Duration::from_secs(30)).await, 0);
    for file in [&path, &old] {
        assert_eq!(parsed(&fs::read_to_string(file).unwrap()).len(), 2);
    }
}

#[tokio::test]
async fn a_file_that_ends_within_a_line_gets_a_line_feed_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    fs::write(&path, "{\"cut").unwrap();
    let log = open(&path);
    call(&log).end(&outcome());
    assert_eq!(log.flush(Duration::from_secs(30)).await, 0);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(parsed(text.strip_prefix("{\"cut\n").unwrap()).len(), 2);
}

#[tokio::test]
async fn lines_that_a_full_disk_rejects_are_kept() {
    let log = open(Path::new("/dev/full"));
    let audited = call(&log);
    audited.end(&outcome());
    assert_eq!(log.flush(Duration::from_millis(100)).await, 2);
    assert!(log.notice().unwrap().contains("No space left"), "{:?}", log.notice());
}

#[tokio::test]
async fn a_cancelled_wait_takes_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let log = open(&path);
    let rooms: Vec<_> = (0..64).map(|_| log.try_admit().unwrap()).collect();
    let mut waiting = Box::pin(log.admit());
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    drop(waiting);
    drop(rooms);
    assert_eq!((log.bytes_in_use(), log.calls_waiting()), (0, 0));
}

#[tokio::test]
async fn keys_for_which_there_is_no_room_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(&folder.path().join("audit.log"));
    let audited = call(&log);
    let rooms: Vec<_> = std::iter::from_fn(|| log.try_admit()).collect();
    assert_eq!(audited.keys(&[("a", "")]).await, Err(AuditFull));
    assert_eq!((rooms.len(), log.calls_waiting()), (63, 0));
}
