use bytes::Bytes;
use longshore::{
    s3::ErrorKind,
    store::{CopyOptions, ReadOptions, WriteMode, WriteOptions},
};

use crate::scripted::{Answer, Scripted, error, reply, store};

#[tokio::test]
async fn a_failed_request_is_retried_with_the_same_bytes() {
    let server = Scripted::start(|number, _| match number {
        0 => error(500, "InternalError"),
        1 => error(503, "SlowDown"),
        2 => Answer::Cut(Vec::new()),
        _ => reply(200, &[("etag", "\"e\"")], ""),
    })
    .await;
    server.store().put("k", Bytes::from_static(b"cargo"), WriteOptions::default()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| seen.body == b"cargo" && seen.header("authorization").is_some()));
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for (status, code, kind) in [
        (403, "AccessDenied", ErrorKind::AccessDenied),
        (404, "NoSuchBucket", ErrorKind::BucketNotFound),
        (400, "InvalidArgument", ErrorKind::InvalidRequest),
        (501, "NotImplemented", ErrorKind::OperationNotSupported),
    ] {
        let server = Scripted::start(move |_, _| error(status, code)).await;
        let failed = server.store().put("k", Bytes::new(), WriteOptions::default()).await.unwrap_err();
        assert_eq!((failed.kind(), failed.attempts(), server.seen().len()), (kind, 1, 1), "{code}");
        assert_eq!(failed.service().unwrap().code, code);
    }
}

#[tokio::test]
async fn attempts_are_limited_and_counted_in_the_error() {
    let server = Scripted::start(|_, _| error(503, "SlowDown")).await;
    let failed = server.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!(
        (failed.kind(), failed.attempts()),
        (ErrorKind::BackendUnavailable, 4),
        "the response to HEAD has no body with a code"
    );
    let failed = server.store().put("k", Bytes::new(), WriteOptions::default()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.attempts()), (ErrorKind::Throttled, 4));
}

#[tokio::test]
async fn a_wrong_region_is_corrected_once_and_remembered() {
    let server = Scripted::start(|_, seen| {
        let right = seen.header("authorization").unwrap().contains("/eu-central-1/");
        if right {
            return reply(200, &[], "");
        }
        let body = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>";
        reply(400, &[], body)
    })
    .await;
    let store = server.store();
    for _ in 0..2 {
        store.put("k", Bytes::new(), WriteOptions::default()).await.unwrap();
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_wrong_region_is_corrected_for_concurrent_calls() {
    let server = Scripted::start(|_, seen| {
        if seen.header("authorization").unwrap().contains("/eu-central-1/") {
            return reply(200, &[], "");
        }
        reply(
            400,
            &[],
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-central-1</Region></Error>",
        )
    })
    .await;
    let store = server.store();
    let puts = (0..5).map(|_| store.put("k", Bytes::new(), WriteOptions::default()));
    assert!(futures::future::join_all(puts).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_endless_retry_after_is_not_waited_for() {
    let server = Scripted::start(|_, _| reply(503, &[("retry-after", "18446744073709551615")], "")).await;
    let failed = server.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!((failed.kind(), failed.attempts()), (ErrorKind::BackendUnavailable, 1));
}

#[tokio::test]
async fn a_region_that_stays_wrong_fails_with_wrong_region() {
    let server = Scripted::start(|number, _| {
        reply(301, &[("x-amz-bucket-region", if number == 0 { "eu-west-1" } else { "eu-west-2" })], "")
    })
    .await;
    let failed = server.store().head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!((failed.kind(), server.seen().len()), (ErrorKind::WrongRegion, 2));
}

#[tokio::test]
async fn a_wrong_clock_is_corrected_from_s3s_date() {
    let server = Scripted::start(|_, seen| {
        // The offset has whole seconds, so the corrected clock may be one second behind.
        let date = seen.header("x-amz-date").unwrap();
        if date.starts_with("20400101T") || date == "20391231T235959Z" {
            return reply(200, &[], "");
        }
        let body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
        reply(403, &[("date", "Sun, 01 Jan 2040 00:00:00 GMT")], body)
    })
    .await;
    server.store().put("k", Bytes::new(), WriteOptions::default()).await.unwrap();
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_corrupted_transfer_is_sent_again_once() {
    let server =
        Scripted::start(|number, _| if number == 0 { error(400, "BadDigest") } else { reply(200, &[], "") })
            .await;
    server.store().put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap();
    let stubborn = Scripted::start(|_, _| error(400, "BadDigest")).await;
    let failed =
        stubborn.store().put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap_err();
    assert_eq!((failed.kind(), stubborn.seen().len()), (ErrorKind::BytesDamaged, 2));
}

#[tokio::test]
async fn an_error_in_a_response_with_status_200_is_an_error() {
    let server = Scripted::start(|number, seen| match (seen.method.as_str(), number) {
        ("HEAD", _) => reply(200, &[("etag", "\"e\""), ("content-length", "5")], ""),
        (_, 1) => reply(200, &[], "<Error><Code>InternalError</Code></Error>"),
        (_, 2) => reply(200, &[], "<Error><Code>SlowDown</Code></Error>"),
        _ => reply(200, &[], "<CopyObjectResult><ETag>\"f\"</ETag></CopyObjectResult>"),
    })
    .await;
    let store = server.store();
    let copied = store.copy_from(&store, "SlowDown.txt", "to", CopyOptions::default()).await.unwrap();
    assert_eq!((copied.meta.properties.etag.as_deref(), server.seen().len()), (Some("\"f\""), 4));
    let denied = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "5")], ""),
        _ => reply(200, &[], "<Error><Code>AccessDenied</Code></Error>"),
    })
    .await;
    let store = denied.store();
    let failed = store.copy_from(&store, "k", "to", CopyOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::AccessDenied);
}

fn create() -> WriteOptions {
    WriteOptions { mode: WriteMode::Create, ..WriteOptions::default() }
}

/// A server that responds with 500 to the first write and with 412 to the second. `ours` maps the write id that was
/// sent to the write id in the response to HEAD.
async fn unclear(ours: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Scripted {
    let sent = std::sync::Mutex::new(String::new());
    Scripted::start(move |number, seen| {
        if seen.method != "HEAD" {
            *sent.lock().unwrap() =
                seen.header("x-amz-meta-longshore-write-id").unwrap_or_default().to_owned();
            return if number == 0 { error(500, "InternalError") } else { error(412, "PreconditionFailed") };
        }
        match ours(&sent.lock().unwrap()) {
            Some(id) => reply(
                200,
                &[("etag", "\"e\""), ("x-amz-meta-longshore-write-id", id.as_str()), ("content-length", "1")],
                "",
            ),
            None => reply(200, &[("etag", "\"e\""), ("content-length", "1")], ""),
        }
    })
    .await
}

#[tokio::test]
async fn a_create_that_took_effect_although_it_appeared_to_fail_succeeds() {
    let server = unclear(|sent| Some(sent.to_owned())).await;
    let meta = server.store().put("k", Bytes::from_static(b"x"), create()).await.unwrap();
    assert_eq!(meta.properties.etag.as_deref(), Some("\"e\""));
    assert_eq!(server.lines(), ["PUT /b/k", "PUT /b/k", "HEAD /b/k"]);
}

#[tokio::test]
async fn a_create_that_lost_to_another_write_fails_with_already_exists() {
    let server = unclear(|_| None).await;
    let failed = server.store().put("k", Bytes::from_static(b"x"), create()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn without_a_write_id_an_unclear_create_stays_unclear() {
    let server = unclear(|_| None).await;
    let mut settings = server.settings();
    settings.write_id = false;
    let failed = store(settings).put("k", Bytes::from_static(b"x"), create()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::WriteUnclear);
    assert_eq!(server.lines(), ["PUT /b/k", "PUT /b/k"]);
}

#[tokio::test]
async fn a_412_on_the_first_attempt_needs_no_head_request() {
    let server = Scripted::start(|_, _| error(412, "PreconditionFailed")).await;
    let failed = server.store().put("k", Bytes::from_static(b"x"), create()).await.unwrap_err();
    assert_eq!((failed.kind(), server.seen().len()), (ErrorKind::AlreadyExists, 1));
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_causes_no_error() {
    let server = Scripted::start(|_, _| {
        let Answer::Reply(bytes) = reply(200, &[("content-length", "0")], "") else { unreachable!() };
        Answer::Cut(bytes)
    })
    .await;
    let store = server.store();
    for _ in 0..5 {
        store.head("k", &ReadOptions::default()).await.unwrap();
    }
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn no_retry_starts_after_the_callers_deadline() {
    let server = Scripted::start(|_, _| reply(503, &[("retry-after", "60")], "")).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    let failed = server.store().until(Some(deadline)).head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!((failed.attempts(), failed.retry_after()), (1, Some(std::time::Duration::from_secs(60))));
}

#[tokio::test]
async fn no_error_contains_a_secret() {
    let server = Scripted::start(|_, seen| {
        let echoed: Vec<_> = seen.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let body = format!(
            "<Error><Code>SignatureDoesNotMatch</Code><Message>{}</Message></Error>",
            echoed.join(" ")
        );
        reply(403, &[], &body)
    })
    .await;
    let store = server.store();
    let failed = store.put("k", Bytes::from_static(b"x"), WriteOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::CredentialsRejected);
    let shown = format!("{failed} {failed:?} {store:?} {:?}", store.settings());
    for secret in ["s3cret-key", "t0ken", "Signature="] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
