//! Which S3 requests count as used by a caller.

use bytes::Bytes;
use longshore::{
    s3::ErrorKind,
    store::{ObjectId, ReadOptions, WriteOptions},
    telemetry::{CallerUsage, Totals},
};
use tokio::net::TcpListener;

use crate::scripted::{Answer, Scripted, error, reply, store};

fn totals(usage: &CallerUsage) -> ([u64; 3], u64) {
    let Totals { s3_requests, s3_retries, .. } = usage.totals();
    (s3_requests, s3_retries)
}

#[tokio::test]
async fn each_attempt_counts_by_its_class_and_each_retry_once() {
    let server = Scripted::start(|number, _| match number {
        0 => error(500, "InternalError"),
        1 => Answer::Cut(Vec::new()),
        _ => reply(200, &[("etag", "\"e\"")], ""),
    })
    .await;
    let (usage, other) = (CallerUsage::default(), CallerUsage::default());
    let store = server.store();
    store
        .clone()
        .counted_by(usage.clone())
        .put("k", Bytes::from_static(b"cargo"), WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(totals(&usage), ([3, 0, 0], 2));
    store.counted_by(other.clone()).delete(&ObjectId { key: "k".to_owned(), version: None }).await.unwrap();
    assert_eq!(totals(&other), ([0, 0, 1], 0));
    assert_eq!(totals(&usage), ([3, 0, 0], 2), "callers of one store are counted separately");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_request_that_reaches_no_connection_does_not_count_but_one_that_is_cancelled_does() {
    let usage = CallerUsage::default();
    let server = Scripted::start(|_, _| Answer::Hang(Vec::new())).await;
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut settings = server.settings();
    settings.bucket.endpoint = Some(format!("http://{refusing}"));
    let unreachable = store(settings).counted_by(usage.clone());
    let failed = unreachable.head("k", &ReadOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ConnectionFailed);
    assert_eq!(totals(&usage), ([0, 0, 0], 0), "neither do its retries");

    let store = server.store().counted_by(usage.clone());
    let options = ReadOptions::default();
    let head = store.head("k", &options);
    tokio::select! {
        _ = head => panic!("the server does not respond"),
        _ = server.asked(|_| true) => {}
    }
    assert_eq!(totals(&usage).0, [0, 1, 0]);
}
