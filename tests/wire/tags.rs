use longshore::{
    s3::ErrorKind,
    store::{ObjectId, Tags},
};

use crate::{
    deleting::id,
    scripted::{Scripted, error, reply, store},
};

const TAGGING: &str = "<Tagging><TagSet><Tag><Key>a</Key><Value>1 &amp; 2</Value></Tag></TagSet></Tagging>";

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn version(key: &str, version: &str) -> ObjectId {
    ObjectId { version: Some(version.to_owned()), ..id(key) }
}

#[tokio::test]
async fn tags_are_read_replaced_and_removed_below_the_prefix_and_by_version() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "GET" => reply(200, &[("x-amz-version-id", "v7")], TAGGING),
        "PUT" => reply(200, &[("x-amz-version-id", "v7")], ""),
        _ => reply(204, &[("x-amz-version-id", "v7")], ""),
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let store = store(settings);
    let found = store.tags(&version("k", "v/7")).await.unwrap();
    assert_eq!((found.tags, found.version.as_deref()), (tags(&[("a", "1 & 2")]), Some("v7")));
    let new = tags(&[("b", "x"), ("a", "1 = 2")]);
    assert_eq!(store.put_tags(&version("k", "v/7"), &new).await.unwrap().as_deref(), Some("v7"));
    assert_eq!(store.delete_tags(&version("k", "v/7")).await.unwrap().as_deref(), Some("v7"));
    store.put_tags(&id("k"), &Tags::new()).await.unwrap();
    store.delete_tags(&id("k")).await.unwrap();
    assert_eq!(
        server.lines(),
        [
            "GET /b/p/k?tagging=&versionId=v%2F7",
            "PUT /b/p/k?tagging=&versionId=v%2F7",
            "DELETE /b/p/k?tagging=&versionId=v%2F7",
            "PUT /b/p/k?tagging=",
            "DELETE /b/p/k?tagging=",
        ]
    );
    let put = &server.seen()[1];
    let set = "<Tag><Key>a</Key><Value>1 = 2</Value></Tag><Tag><Key>b</Key><Value>x</Value></Tag>";
    let document = format!(
        "<Tagging xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><TagSet>{set}</TagSet></Tagging>"
    );
    assert_eq!(put.text(), document);
    assert!(put.header("content-md5").is_some());
    assert!(server.seen()[3].text().contains("<TagSet></TagSet>"), "no tags is a set too");
}

#[tokio::test]
async fn a_store_with_tagging_disabled_sends_no_request_for_tags() {
    let server = Scripted::start(|_, _| reply(200, &[], TAGGING)).await;
    let mut settings = server.settings();
    settings.disable_tagging = true;
    let store = store(settings);
    let failures = [
        store.tags(&id("k")).await.unwrap_err(),
        store.put_tags(&id("k"), &Tags::new()).await.unwrap_err(),
        store.delete_tags(&id("k")).await.unwrap_err(),
    ];
    for failure in failures {
        assert_eq!(failure.kind(), ErrorKind::OperationNotSupported);
        assert!(failure.message().contains("disable_tagging"), "{failure}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn failures_of_requests_for_tags_are_classified() {
    let cases = [
        (error(404, "NoSuchKey"), None, ErrorKind::ObjectNotFound),
        (error(404, "NoSuchVersion"), Some("v"), ErrorKind::VersionNotFound),
        (reply(405, &[("x-amz-delete-marker", "true")], ""), Some("v"), ErrorKind::VersionNotFound),
        (reply(405, &[("x-amz-delete-marker", "true")], ""), None, ErrorKind::ObjectNotFound),
        (error(405, "MethodNotAllowed"), None, ErrorKind::OperationNotSupported),
        (error(501, "NotImplemented"), None, ErrorKind::OperationNotSupported),
        (error(403, "AccessDenied"), None, ErrorKind::AccessDenied),
        (error(400, "InvalidTag"), None, ErrorKind::InvalidRequest),
        (reply(200, &[], "<html/>"), None, ErrorKind::BackendProtocol),
    ];
    for (answer, version, kind) in cases {
        let crate::scripted::Answer::Reply(bytes) = answer else { unreachable!() };
        let server = Scripted::start(move |_, _| crate::scripted::Answer::Reply(bytes.clone())).await;
        let object = ObjectId { version: version.map(str::to_owned), ..id("k") };
        assert_eq!(server.store().tags(&object).await.unwrap_err().kind(), kind);
        if kind != ErrorKind::BackendProtocol {
            assert_eq!(server.store().put_tags(&object, &Tags::new()).await.unwrap_err().kind(), kind);
            assert_eq!(server.store().delete_tags(&object).await.unwrap_err().kind(), kind);
        }
    }
}

#[tokio::test]
async fn a_conflict_and_a_failure_are_retried_because_the_outcome_is_the_same() {
    for method in ["PUT", "DELETE"] {
        let server = Scripted::start(|number, _| match number {
            0 => error(409, "OperationAborted"),
            1 => error(500, "InternalError"),
            _ => reply(200, &[], ""),
        })
        .await;
        let store = server.store();
        let outcome = match method {
            "PUT" => store.put_tags(&id("k"), &tags(&[("a", "b")])).await,
            _ => store.delete_tags(&id("k")).await,
        };
        assert_eq!(outcome.unwrap(), None);
        assert_eq!(server.lines(), vec![format!("{method} /b/k?tagging="); 3]);
    }
}

#[tokio::test]
async fn a_server_that_reports_missing_tags_as_an_error_has_none() {
    for code in ["NoSuchTagSet", "NoSuchTagSetError"] {
        let server = Scripted::start(move |_, _| error(404, code)).await;
        assert!(server.store().tags(&id("k")).await.unwrap().tags.is_empty());
    }
}
