use bytes::Bytes;
use longshore::{
    s3::{ChecksumAlgorithm, ErrorKind, FailedCondition, Field},
    store::{
        CopyIfNotExists, CopyOptions, MemoryBudget, MemorySettings, S3Store, UploadClaim, UploadOptions,
        Uploaded, WriteMode, WriteOptions,
    },
    telemetry::Metrics,
};

use crate::scripted::{Answer, Scripted, Seen, bytes, error, reply, reserved, sharing, store};

const MIB: usize = 1024 * 1024;
const CREATED: &str =
    "<InitiateMultipartUploadResult><UploadId>u/1</UploadId></InitiateMultipartUploadResult>";
const COMPLETED: &str =
    "<CompleteMultipartUploadResult><ETag>\"done-2\"</ETag></CompleteMultipartUploadResult>";
/// The MD5 of no bytes. The script returns it as the ETag of every part.
const PART_ETAG: &str = "\"d41d8cd98f00b204e9800998ecf8427e\"";
/// The ETag that S3 would give to an object of two such parts.
const TWO_PARTS: &str = "\"5873dd45edd01f09c1ef2e7819369e8e-2\"";

fn is_create(seen: &Seen) -> bool {
    seen.method == "POST" && seen.target.ends_with("?uploads=")
}

fn is_complete(seen: &Seen) -> bool {
    seen.method == "POST" && !is_create(seen)
}

/// A server that accepts a multipart upload. `complete` responds to the completion and to all other requests.
async fn multipart(complete: impl Fn(usize, &Seen) -> Answer + Send + Sync + 'static) -> Scripted {
    Scripted::start(move |number, seen| match seen.method.as_str() {
        "POST" if is_create(seen) => reply(200, &[], CREATED),
        "PUT" => reply(200, &[("etag", PART_ETAG)], ""),
        _ => complete(number, seen),
    })
    .await
}

async fn upload(server: &Scripted, write: WriteOptions) -> Result<Uploaded, longshore::s3::Error> {
    let options = UploadOptions { write, ..UploadOptions::default() };
    let mut upload = server.store().upload("k", options)?;
    for _ in 0..9 {
        upload.write(Bytes::from(vec![7; MIB])).await?;
    }
    upload.finish(UploadClaim::default()).await
}

#[tokio::test]
async fn an_upload_in_parts_sends_three_kinds_of_request() {
    let server = multipart(|_, _| reply(200, &[("x-amz-version-id", "v")], COMPLETED)).await;
    let write =
        WriteOptions { checksum_algorithm: Some(ChecksumAlgorithm::Crc32c), ..WriteOptions::default() };
    let uploaded = upload(&server, write).await.unwrap();
    let meta = &uploaded.meta;
    assert_eq!(
        (uploaded.parts, meta.size, meta.properties.etag.as_deref(), meta.properties.version.as_deref()),
        (2, 9 * MIB as u64, Some("\"done-2\""), Some("v"))
    );
    let mut lines = server.lines();
    lines[1..3].sort();
    let part = |number| format!("PUT /b/k?partNumber={number}&uploadId=u%2F1");
    assert_eq!(
        lines,
        ["POST /b/k?uploads=".to_owned(), part(1), part(2), "POST /b/k?uploadId=u%2F1".to_owned()]
    );
    let seen = server.seen();
    assert_eq!(seen[0].header("x-amz-checksum-algorithm"), Some("CRC32C"));
    assert_eq!(seen[0].header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    assert!(
        seen[1].header("x-amz-checksum-crc32c").is_some()
            && seen[2].header("x-amz-checksum-crc32c").is_some()
    );
    let complete = &seen[3];
    assert_eq!(complete.header("x-amz-checksum-type"), Some("FULL_OBJECT"));
    let whole = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &vec![7; 9 * MIB]);
    let expected = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &whole.to_be_bytes()[4..]);
    assert_eq!(complete.header("x-amz-checksum-crc32c"), Some(expected.as_str()));
    let parts = complete.text();
    assert!(parts.find("<PartNumber>1</PartNumber>") < parts.find("<PartNumber>2</PartNumber>"), "{parts}");
}

#[tokio::test]
async fn a_completion_whose_response_was_lost_is_recognised_by_its_etag() {
    let server = multipart(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", TWO_PARTS), ("content-length", "9437184")], ""),
        "DELETE" => error(404, "NoSuchUpload"),
        _ if seen.header("x-amz-date").is_some() => Answer::Cut(Vec::new()),
        _ => unreachable!(),
    })
    .await;
    let uploaded = upload(&server, WriteOptions::default()).await.unwrap();
    assert_eq!(uploaded.meta.properties.etag.as_deref(), Some(TWO_PARTS));
    assert_eq!(server.seen().iter().filter(|seen| is_complete(seen)).count(), 4);
}

#[tokio::test]
async fn a_retry_of_a_completion_that_took_effect_succeeds() {
    let completions = std::sync::atomic::AtomicUsize::new(0);
    let server = multipart(move |_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", TWO_PARTS), ("content-length", "9437184")], ""),
        _ if completions.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => {
            reply(200, &[], "<Error><Code>InternalError</Code></Error>")
        }
        _ => error(404, "NoSuchUpload"),
    })
    .await;
    assert_eq!(
        upload(&server, WriteOptions::default()).await.unwrap().meta.properties.etag.as_deref(),
        Some(TWO_PARTS)
    );
}

#[tokio::test]
async fn a_missing_upload_is_an_error_even_if_another_object_exists() {
    let server = multipart(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"another\""), ("content-length", "1")], ""),
        _ => error(404, "NoSuchUpload"),
    })
    .await;
    assert_eq!(upload(&server, WriteOptions::default()).await.unwrap_err().kind(), ErrorKind::UploadNotFound);
}

#[tokio::test]
async fn a_failed_part_fails_the_upload_and_aborts_it() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" => reply(200, &[], CREATED),
        "DELETE" => reply(204, &[], ""),
        _ => error(403, "AccessDenied"),
    })
    .await;
    assert_eq!(upload(&server, WriteOptions::default()).await.unwrap_err().kind(), ErrorKind::AccessDenied);
    let aborted = server.asked(|seen| seen.method == "DELETE").await;
    assert_eq!(aborted.target, "/b/k?uploadId=u%2F1");
    assert!(!server.seen().iter().any(is_complete));
}

#[tokio::test]
async fn a_conditional_upload_sends_its_condition_with_the_completion() {
    let server = multipart(|_, _| reply(200, &[], COMPLETED)).await;
    upload(&server, WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() }).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.last().unwrap().header("if-none-match"), Some("*"));
    assert!(seen[0].header("x-amz-meta-longshore-write-id").is_some());
    let mode = WriteMode::Update { etag: "e".to_owned(), version: None };
    upload(&server, WriteOptions { mode, ..WriteOptions::default() }).await.unwrap();
    assert_eq!(server.seen().last().unwrap().header("if-match"), Some("\"e\""));
}

/// A server with a source object of `size` bytes, which has attributes and a tag. Copies succeed.
async fn with_source(size: &'static str) -> Scripted {
    Scripted::start(move |_, seen| match seen.method.as_str() {
        "HEAD" if seen.target == "/b/to" => reply(200, &[("etag", "\"c\""), ("content-length", size)], ""),
        "HEAD" => reply(
            200,
            &[("etag", "\"s\""), ("content-length", size), ("content-type", "a/b"), ("x-amz-meta-m", "1")],
            "",
        ),
        "GET" => {
            reply(200, &[], "<Tagging><TagSet><Tag><Key>t</Key><Value>v</Value></Tag></TagSet></Tagging>")
        }
        "POST" if is_create(seen) => reply(200, &[], CREATED),
        "POST" => reply(200, &[], COMPLETED),
        _ if seen.target.contains("partNumber") => {
            reply(200, &[], "<CopyPartResult><ETag>\"p\"</ETag></CopyPartResult>")
        }
        _ => reply(200, &[], "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>"),
    })
    .await
}

#[tokio::test]
async fn an_object_over_5_gib_is_copied_in_parts_with_its_attributes_and_tags() {
    let server = with_source("6442450945").await;
    let store = server.store();
    let copied = store.copy_from(&store, "from ?", "to", CopyOptions::default()).await.unwrap();
    assert_eq!(
        (copied.meta.size, copied.meta.properties.etag.as_deref()),
        (6_442_450_945, Some("\"done-2\""))
    );
    let seen = server.seen();
    let create = seen.iter().find(|seen| is_create(seen)).unwrap();
    assert_eq!(create.header("content-type"), Some("a/b"));
    assert_eq!(create.header("x-amz-meta-m"), Some("1"));
    assert_eq!(create.header("x-amz-tagging"), Some("t=v"));
    let mut parts: Vec<_> = seen.iter().filter(|seen| seen.target.contains("partNumber")).collect();
    parts.sort_by_key(|seen| seen.target.clone());
    assert_eq!(parts.len(), 7);
    assert!(parts.iter().all(|part| part.header("x-amz-copy-source") == Some("/b/from%20%3F")));
    assert!(parts.iter().all(|part| part.header("x-amz-copy-source-if-match") == Some("\"s\"")));
    assert_eq!(parts[0].header("x-amz-copy-source-range"), Some("bytes=0-1073741823"));
    assert_eq!(parts[6].header("x-amz-copy-source-range"), Some("bytes=6442450944-6442450944"));
}

#[tokio::test]
async fn a_copy_is_pinned_to_the_etag_of_its_source() {
    let server = with_source("5").await;
    let store = server.store();
    store.copy_from(&store, "from", "to", CopyOptions::default()).await.unwrap();
    let copy = server.seen().pop().unwrap();
    assert_eq!(copy.line(), "PUT /b/to");
    assert_eq!(copy.header("x-amz-copy-source-if-match"), Some("\"s\""));
    assert_eq!(copy.header("x-amz-metadata-directive"), None, "S3 copies the attributes");
}

#[tokio::test]
async fn a_copy_with_mode_create_follows_copy_if_not_exists() {
    let server = with_source("5").await;
    let create = || CopyOptions { mode: WriteMode::Create, ..CopyOptions::default() };
    let copy = async |how: CopyIfNotExists| {
        let mut settings = server.settings();
        settings.copy_if_not_exists = how;
        let store = store(settings);
        store.copy_from(&store, "from", "to", create()).await.unwrap();
        server.seen().pop().unwrap()
    };
    let by_multipart = copy(CopyIfNotExists::Multipart).await;
    assert!(is_complete(&by_multipart));
    assert_eq!(by_multipart.header("if-none-match"), Some("*"));
    let native = copy(CopyIfNotExists::Native).await;
    assert_eq!((native.line().as_str(), native.header("if-none-match")), ("PUT /b/to", Some("*")));
    assert_eq!(native.header("x-amz-metadata-directive"), Some("REPLACE"));
    assert_eq!((native.header("content-type"), native.header("x-amz-meta-m")), (Some("a/b"), Some("1")));
    let header = CopyIfNotExists::Header { name: "cf-create".to_owned(), value: "*".to_owned(), status: 412 };
    let by_header = copy(header).await;
    assert_eq!((by_header.header("cf-create"), by_header.header("if-none-match")), (Some("*"), None));
}

#[tokio::test]
async fn the_status_in_copy_if_not_exists_means_that_the_key_exists() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"s\""), ("content-length", "5")], ""),
        _ => error(409, "KeyTaken"),
    })
    .await;
    let mut settings = server.settings();
    settings.copy_if_not_exists =
        CopyIfNotExists::Header { name: "x-create".to_owned(), value: "1".to_owned(), status: 409 };
    let store = store(settings);
    let options = CopyOptions { mode: WriteMode::Create, ..CopyOptions::default() };
    let failed = store.copy_from(&store, "from", "to", options).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn a_rename_deletes_only_what_it_copied() {
    let server = with_source("5").await;
    let store = server.store();
    store.rename_from(&store, "from", "to", WriteMode::Overwrite).await.unwrap();
    let deletion = server.seen().pop().unwrap();
    assert_eq!((deletion.line().as_str(), deletion.header("if-match")), ("DELETE /b/from", Some("\"s\"")));
    let changed = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" if seen.target == "/b/to" => reply(200, &[("etag", "\"c\""), ("content-length", "5")], ""),
        "HEAD" => reply(200, &[("etag", "\"s\""), ("content-length", "5")], ""),
        "DELETE" => error(412, "PreconditionFailed"),
        _ => reply(200, &[], "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>"),
    })
    .await;
    let store = changed.store();
    let failed = store.rename_from(&store, "from", "to", WriteMode::Overwrite).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::RenameSourceRemains);
    assert_eq!(failed.left_behind().unwrap().key, "to");
    assert_eq!(changed.seen().pop().unwrap().method, "DELETE");
}

#[tokio::test]
async fn a_rename_keeps_its_source_if_the_copy_cannot_be_verified() {
    for (etag, size) in [("\"c\"", "4"), ("\"other\"", "5")] {
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" if seen.target == "/b/to" => reply(200, &[("etag", etag), ("content-length", size)], ""),
            "HEAD" => reply(200, &[("etag", "\"s\""), ("content-length", "5")], ""),
            _ => reply(200, &[], "<CopyObjectResult><ETag>\"c\"</ETag></CopyObjectResult>"),
        })
        .await;
        let store = server.store();
        let failed = store.rename_from(&store, "from", "to", WriteMode::Overwrite).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::RenameSourceRemains);
        assert!(server.seen().iter().all(|seen| seen.method != "DELETE"));
    }
}

#[tokio::test]
async fn a_rename_onto_itself_is_detected_across_two_names_of_a_server() {
    let server = with_source("5").await;
    let (one, mut settings) = (server.store(), server.settings());
    settings.bucket.endpoint = Some(format!("http://localhost:{}", server.address.port()));
    let failed = store(settings).rename_from(&one, "k", "k", WriteMode::Overwrite).await.unwrap_err();
    assert_eq!(failed.field(), Some(Field::Destination));
    assert_eq!(server.lines(), ["HEAD /b/k", "HEAD /b/k", "HEAD /b/k"]);
}

#[tokio::test]
async fn a_check_finds_which_writes_ignore_conditions() {
    // The server honours conditions on PutObject and ignores those on CompleteMultipartUpload.
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "GET" => reply(200, &[], "<ListBucketResult></ListBucketResult>"),
        "DELETE" => reply(204, &[], ""),
        "POST" if is_create(seen) => reply(200, &[], CREATED),
        "POST" => reply(200, &[], COMPLETED),
        _ if seen.header("if-none-match").is_some() || seen.header("if-match").is_some() => {
            error(412, "PreconditionFailed")
        }
        _ => reply(200, &[("etag", PART_ETAG)], ""),
    })
    .await;
    let store = server.store();
    let steps = store.check(true).await.steps;
    let found: Vec<_> = steps.iter().map(|step| (step.name, step.outcome.is_ok())).collect();
    assert_eq!(
        found,
        [
            ("credentials", true),
            ("list", true),
            ("write", true),
            ("create_condition", true),
            ("update_condition", true),
            ("multipart_create_condition", false),
            ("delete", true),
        ]
    );
    let create = WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() };
    let put = store.put("k", Bytes::from_static(b"x"), create.clone()).await.unwrap_err();
    assert_eq!(put.kind(), ErrorKind::AlreadyExists, "the condition was sent to the server");
    let mut upload = store.upload("k", UploadOptions { write: create, ..UploadOptions::default() }).unwrap();
    let refused = upload.write(Bytes::from(vec![7; 9 * MIB])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConditionsNotSupported);
}

#[tokio::test]
async fn a_part_copy_of_a_replaced_source_fails_with_object_changed() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"s\""), ("content-length", "6442450944")], ""),
        "GET" => error(501, "NotImplemented"),
        "POST" => reply(200, &[], CREATED),
        "DELETE" => reply(204, &[], ""),
        _ => error(412, "PreconditionFailed"),
    })
    .await;
    let store = server.store();
    let failed = store.copy_from(&store, "from", "to", CopyOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ObjectChanged);
}

#[tokio::test]
async fn a_slow_completion_is_not_retried() {
    let server = multipart(|_, _| {
        let Answer::Reply(bytes) = reply(200, &[], COMPLETED) else { unreachable!() };
        Answer::Later(std::time::Duration::from_millis(500), bytes)
    })
    .await;
    let mut settings = server.settings();
    settings.client_options.read_timeout = std::time::Duration::from_millis(200);
    let mut upload = store(settings).upload("k", UploadOptions::default()).unwrap();
    upload.write(Bytes::from(vec![7; 9 * MIB])).await.unwrap();
    assert_eq!(
        upload.finish(UploadClaim::default()).await.unwrap().meta.properties.etag.as_deref(),
        Some("\"done-2\"")
    );
    assert_eq!(server.seen().iter().filter(|seen| is_complete(seen)).count(), 1);
}

#[tokio::test]
async fn uploads_that_exceed_the_memory_wait_for_each_other_and_all_finish() {
    let server = multipart(|_, _| reply(200, &[], COMPLETED)).await;
    let metrics = Metrics::default();
    // Room for two parts. The eight uploads have three parts each.
    let budget = MemoryBudget::new(
        MemorySettings { budget: 11 * MIB as u64, ..MemorySettings::default() },
        metrics.clone(),
    );
    let mut settings = server.settings();
    (settings.transfer.part_size, settings.transfer.multipart_threshold) = (5 << 20, 0);
    let store = sharing(settings, budget.share(None));
    let upload = |store: S3Store| async move {
        let mut upload = store.upload("k", UploadOptions::default()).unwrap();
        for _ in 0..12 {
            upload.write(Bytes::from(vec![7; MIB])).await.unwrap();
            tokio::task::yield_now().await;
        }
        upload.finish(UploadClaim::default()).await.unwrap()
    };
    let uploads = futures::future::join_all((0..8).map(|_| upload(store.clone()))).await;
    assert!(uploads.iter().all(|uploaded| (uploaded.parts, uploaded.meta.size) == (3, 12 << 20)));
    assert_eq!(reserved(&metrics), 0);
}

#[tokio::test]
async fn an_update_that_names_a_version_of_a_missing_object_fails_like_any_other_unmet_condition() {
    let server = Scripted::start(|_, _| error(404, "NoSuchKey")).await;
    let mode = WriteMode::Update { etag: "e".to_owned(), version: Some("1".to_owned()) };
    let write = WriteOptions { mode, ..WriteOptions::default() };
    let failed = server.store().put("k", Bytes::from_static(b"data"), write).await.unwrap_err();
    assert_eq!((failed.kind(), failed.unmet()), (ErrorKind::PreconditionFailed, Some(FailedCondition::Mode)));
    assert!(server.seen().iter().all(|seen| seen.method != "PUT"), "{:?}", server.lines());
}

#[tokio::test]
async fn a_part_that_only_waits_for_its_response_does_not_keep_the_next_one_from_being_sent() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" if is_create(seen) => reply(200, &[], CREATED),
        // Four parts have arrived, although at most three may be sent at a time.
        "PUT" => Answer::Behind(5, std::time::Duration::ZERO, bytes(200, &[("etag", PART_ETAG)], b"")),
        _ => reply(200, &[], COMPLETED),
    })
    .await;
    let mut settings = server.settings();
    (settings.transfer.part_size, settings.transfer.max_concurrency) = (5 << 20, 3);
    let mut upload = store(settings).upload("k", UploadOptions::default()).unwrap();
    let uploading = async {
        for _ in 0..20 {
            upload.write(vec![0; MIB].into()).await.unwrap();
        }
        upload.finish(UploadClaim::default()).await
    };
    let patience = std::time::Duration::from_mins(1);
    let uploaded = tokio::time::timeout(patience, uploading).await.expect("the parts wait for responses");
    assert_eq!(uploaded.unwrap().parts, 4);
}
