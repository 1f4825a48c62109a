use longshore::{
    s3::ErrorKind,
    store::{Deleted, Error, ObjectId, S3Store},
};

use crate::scripted::{Scripted, error, reply, store};

pub(crate) fn id(key: &str) -> ObjectId {
    ObjectId { key: key.to_owned(), version: None }
}

/// The outcomes of one batch.
async fn delete(store: S3Store, keys: &[ObjectId]) -> Vec<Result<Deleted, Error>> {
    let mut batches = store.delete_batches();
    let room = batches.room(keys.len(), 0).unwrap();
    batches.send(room, keys.to_vec());
    batches.next().await.unwrap().outcomes
}

#[tokio::test]
async fn results_are_matched_by_key_and_missing_ones_are_requested_separately() {
    let answer = "<DeleteResult><Error><Key>p/denied</Key><Code>AccessDenied</Code></Error><Deleted><Key>p/a</Key></Deleted>\
        <Error><Key>p/busy</Key><Code>SlowDown</Code></Error></DeleteResult>";
    let server = Scripted::start(move |_, seen| match seen.method.as_str() {
        "POST" => reply(200, &[], answer),
        _ => reply(204, &[], ""),
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let keys = ["a", "unnamed", "denied", "busy", "control\u{1}", "return\r", "a"].map(id);
    let outcomes = delete(store(settings), &keys).await;
    let kinds: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().map(longshore::s3::Error::kind)).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::AccessDenied), None, None, None, None]);
    let mut lines = server.lines();
    assert_eq!(lines.remove(0), "POST /b?delete=");
    lines.sort();
    assert_eq!(
        lines,
        ["DELETE /b/p/busy", "DELETE /b/p/control%01", "DELETE /b/p/return%0D", "DELETE /b/p/unnamed"]
    );
    let batch = &server.seen()[0];
    assert!(batch.text().contains("<Key>p/denied</Key>") && !batch.text().contains("control"));
    assert!(batch.header("content-md5").is_some());
}

#[tokio::test]
async fn a_server_without_bulk_delete_gets_one_request_per_key() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "POST" => error(501, "NotImplemented"),
        _ => reply(204, &[], ""),
    })
    .await;
    let keys = ["a", "b"].map(id);
    assert!(delete(server.store(), &keys).await.iter().all(Result::is_ok));
    assert_eq!(server.seen().len(), 3);
    let mut settings = server.settings();
    settings.disable_bulk_delete = true;
    assert!(delete(store(settings), &keys).await.iter().all(Result::is_ok));
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
}
