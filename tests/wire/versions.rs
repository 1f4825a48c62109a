//! Lists of versions, restores of archived objects, and copies of older versions.

use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _};
use longshore::{
    s3::ErrorKind,
    store::{
        CopyOptions, Error, ObjectId, ReadOptions, RestoreOptions, RestoreStatus, RestoreTier, Restoring,
        S3Store, VersionsOptions, VersionsPage, WalkVersionsOptions,
    },
};

use crate::{
    deleting::id,
    scripted::{Answer, Scripted, Seen, error, reply, store},
};

/// The versions of the server: key, version id and kind of element.
const VERSIONS: [(&str, &str, &str); 5] = [
    ("p/a", "a2", "DeleteMarker"),
    ("p/a", "a1", "Version"),
    ("p/b%0A", "null", "Version"),
    ("p/c", "c3", "Version"),
    ("p/c", "c2", "Version"),
];

/// The value of a parameter of a request.
fn parameter(seen: &Seen, name: &str) -> String {
    let value = seen.target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_default().replace("%2F", "/")
}

fn page(versions: &[(&str, &str, &str)], truncated: bool) -> String {
    let entries: String = versions
        .iter()
        .map(|(key, id, kind)| {
            format!("<{kind}><Key>{key}</Key><VersionId>{id}</VersionId><Size>1</Size></{kind}>")
        })
        .collect();
    let next = versions.last().filter(|_| truncated).map(|(key, id, _)| {
        format!("<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>{id}</NextVersionIdMarker>")
    });
    let next = next.unwrap_or_default();
    format!(
        "<ListVersionsResult><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>{next}{entries}</ListVersionsResult>"
    )
}

/// The response of a server that has [`VERSIONS`].
fn listed(seen: &Seen) -> Answer {
    let (key, version) = (parameter(seen, "key-marker"), parameter(seen, "version-id-marker"));
    let after = |&(other, id, _): &(&str, &str, &str)| match version.as_str() {
        "" => other <= key.as_str(),
        version => other == key && id == version,
    };
    let from = VERSIONS.iter().rposition(after).map_or(0, |at| at + 1);
    let most: usize = parameter(seen, "max-keys").parse().unwrap();
    let to = (from + most.min(2)).min(VERSIONS.len());
    reply(200, &[], &page(&VERSIONS[from..to], to < VERSIONS.len()))
}

async fn below_prefix() -> (Scripted, S3Store) {
    let server = Scripted::start(|_, seen| listed(seen)).await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let store = store(settings);
    (server, store)
}

fn ids(page: &VersionsPage) -> Vec<String> {
    let id = |version: &longshore::store::ObjectVersion| version.meta.properties.version.clone().unwrap();
    page.versions.iter().map(id).collect()
}

async fn walked(store: &S3Store, options: WalkVersionsOptions) -> Result<Vec<String>, Error> {
    let pages = store.walk_versions(options).map_ok(|page| ids(&page));
    Ok(pages.try_collect::<Vec<_>>().await?.concat())
}

#[tokio::test]
async fn pages_of_versions_continue_after_a_version_below_the_prefix() {
    let (server, store) = below_prefix().await;
    let mut options = VersionsOptions { page_size: 7, ..VersionsOptions::default() };
    let first = store.versions(&options).await.unwrap();
    assert_eq!(ids(&first), ["a2", "a1"]);
    assert_eq!(first.versions[0].meta.key, "a");
    assert!(first.versions[0].delete_marker && !first.versions[1].delete_marker);
    options.continuation = first.continuation;
    let second = store.versions(&options).await.unwrap();
    assert_eq!(
        (ids(&second), second.versions[0].meta.key.as_str()),
        (vec!["null".into(), "c3".into()], "b\n")
    );
    options.continuation = second.continuation;
    let last = store.versions(&options).await.unwrap();
    assert_eq!((ids(&last), last.continuation), (vec!["c2".to_owned()], None));
    let common = "GET /b?encoding-type=url";
    assert_eq!(
        server.lines(),
        [
            format!("{common}&max-keys=7&prefix=p%2F&versions="),
            format!("{common}&key-marker=p%2Fa&max-keys=7&prefix=p%2F&version-id-marker=a1&versions="),
            format!("{common}&key-marker=p%2Fc&max-keys=7&prefix=p%2F&version-id-marker=c3&versions="),
        ]
    );
}

#[tokio::test]
async fn a_walk_of_versions_returns_each_once_from_where_it_is_told_and_up_to_its_limit() {
    let (server, store) = below_prefix().await;
    let all = WalkVersionsOptions::default;
    assert_eq!(walked(&store, all()).await.unwrap(), ["a2", "a1", "null", "c3", "c2"]);
    let after = |key: &str, version: &str| WalkVersionsOptions {
        start_after: key.to_owned(),
        start_after_version: version.to_owned(),
        ..all()
    };
    assert_eq!(walked(&store, after("a", "a2")).await.unwrap(), ["a1", "null", "c3", "c2"]);
    assert_eq!(walked(&store, after("a", "")).await.unwrap(), ["null", "c3", "c2"]);
    let before = server.seen().len();
    assert_eq!(walked(&store, WalkVersionsOptions { limit: Some(3), ..all() }).await.unwrap().len(), 3);
    let lines = server.lines();
    assert!(lines[before].contains("max-keys=3") && lines[before + 1].contains("max-keys=1"), "{lines:?}");
    assert_eq!(lines.len(), before + 2, "nothing is requested beyond the limit");
}

#[tokio::test]
async fn entries_outside_the_prefix_are_left_out_and_an_endless_list_fails() {
    let server = Scripted::start(|number, _| match number {
        0 => reply(200, &[], &page(&[("p/a", "1", "Version"), ("q/a", "2", "Version")], false)),
        _ => reply(200, &[], &page(&[("p/a", "1", "Version")], true)),
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let store = store(settings);
    let options = VersionsOptions { page_size: 1000, ..VersionsOptions::default() };
    let page = store.versions(&options).await.unwrap();
    assert_eq!((ids(&page), page.skipped), (vec!["1".to_owned()], 1));
    let failed = walked(&store, WalkVersionsOptions::default()).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::BackendProtocol);
}

#[tokio::test]
async fn a_page_token_that_longshore_did_not_issue_is_rejected() {
    let (server, store) = below_prefix().await;
    for text in ["", "x", "0:no-nul", "1.1.1.1.1:k"] {
        let continuation = Some(text.to_owned());
        let options = VersionsOptions { page_size: 10, continuation, ..VersionsOptions::default() };
        let failed = store.versions(&options).await.unwrap_err();
        assert_eq!(failed.field(), Some(longshore::store::Field::PageToken), "{text}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_failed_page_ends_a_walk_of_versions() {
    let server = Scripted::start(|number, seen| match number {
        0 => listed(seen),
        _ => error(403, "AccessDenied"),
    })
    .await;
    let mut pages = Box::pin(server.store().walk_versions(WalkVersionsOptions::default()));
    assert!(pages.next().await.unwrap().is_ok());
    assert_eq!(pages.next().await.unwrap().unwrap_err().kind(), ErrorKind::AccessDenied);
    assert!(pages.next().await.is_none());
}

#[tokio::test]
async fn a_restore_is_requested_with_its_days_and_tier() {
    let server = Scripted::start(|number, _| match number {
        0 => reply(202, &[], ""),
        1 => reply(200, &[], ""),
        _ => error(409, "RestoreAlreadyInProgress"),
    })
    .await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let store = store(settings);
    let object = ObjectId { version: Some("v/1".to_owned()), ..id("k") };
    let options = RestoreOptions { days: Some(7), tier: Some(RestoreTier::Expedited) };
    assert_eq!(store.restore(&object, options).await.unwrap(), Restoring::Started);
    assert_eq!(store.restore(&id("k"), RestoreOptions::default()).await.unwrap(), Restoring::Extended);
    assert_eq!(store.restore(&id("k"), options).await.unwrap(), Restoring::InProgress);
    assert_eq!(server.lines()[..2], ["POST /b/p/k?restore=&versionId=v%2F1", "POST /b/p/k?restore="]);
    assert_eq!(server.lines().len(), 3, "a restore in progress is not retried");
    let first = &server.seen()[0];
    assert_eq!(
        first.text(),
        "<RestoreRequest xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Days>7</Days>\
         <GlacierJobParameters><Tier>Expedited</Tier></GlacierJobParameters></RestoreRequest>"
    );
    assert!(first.header("content-md5").is_some());
    assert!(server.seen()[1].text().ends_with("2006-03-01/\"></RestoreRequest>"));
}

#[tokio::test]
async fn failures_of_a_restore_are_classified() {
    let cases = [
        (404, "NoSuchKey", ErrorKind::ObjectNotFound),
        (404, "NoSuchVersion", ErrorKind::VersionNotFound),
        (403, "InvalidObjectState", ErrorKind::InvalidRequest),
        (403, "AccessDenied", ErrorKind::AccessDenied),
        (400, "MalformedXML", ErrorKind::InvalidRequest),
        (501, "NotImplemented", ErrorKind::OperationNotSupported),
    ];
    for (status, code, kind) in cases {
        let server = Scripted::start(move |_, _| error(status, code)).await;
        let failed = server.store().restore(&id("k"), RestoreOptions::default()).await.unwrap_err();
        assert_eq!(failed.kind(), kind, "{code}");
    }
}

#[tokio::test]
async fn head_returns_the_state_of_a_restore() {
    let date = "Fri, 21 Dec 2012 00:00:00 GMT";
    let expires = SystemTime::UNIX_EPOCH + Duration::from_hours(376_680);
    let cases = [
        (None, None),
        (
            Some("ongoing-request=\"true\"".to_owned()),
            Some(RestoreStatus { in_progress: true, expires: None }),
        ),
        (
            Some(format!("ongoing-request=\"false\", expiry-date=\"{date}\"")),
            Some(RestoreStatus { in_progress: false, expires: Some(expires) }),
        ),
    ];
    for (header, expected) in cases {
        let server = Scripted::start(move |_, _| {
            let restore = header.as_deref().map(|value| ("x-amz-restore", value));
            let headers: Vec<_> =
                [("etag", "\"e\""), ("content-length", "1")].into_iter().chain(restore).collect();
            reply(200, &headers, "")
        })
        .await;
        let head = server.store().head("k", &ReadOptions::default()).await.unwrap();
        assert_eq!(head.restore, expected);
    }
}

#[tokio::test]
async fn head_returns_the_archive_tier() {
    let headers = [
        ("etag", "\"e\""),
        ("content-length", "1"),
        ("x-amz-storage-class", "INTELLIGENT_TIERING"),
        ("x-amz-archive-status", "DEEP_ARCHIVE_ACCESS"),
    ];
    let server = Scripted::start(move |number, _| reply(200, &headers[..4 - number.min(1)], "")).await;
    let store = server.store();
    let mut found = Vec::new();
    for _ in 0..2 {
        found.push(store.head("k", &ReadOptions::default()).await.unwrap().archive_status);
    }
    assert_eq!(found, ["DEEP_ARCHIVE_ACCESS", ""]);
}

#[tokio::test]
async fn an_older_version_is_restored_by_a_copy_onto_its_own_key() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "HEAD" => reply(200, &[("etag", "\"e\""), ("content-length", "1"), ("x-amz-version-id", "v1")], ""),
        _ => reply(
            200,
            &[("x-amz-version-id", "v3")],
            "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>",
        ),
    })
    .await;
    let store = server.store();
    let source = ReadOptions { version: Some("v1".to_owned()), ..ReadOptions::default() };
    let options = CopyOptions { source, ..CopyOptions::default() };
    let copied = store.copy_from(&store, "k", "k", options).await.unwrap();
    assert_eq!(copied.meta.properties.version.as_deref(), Some("v3"));
    let copy = &server.seen()[1];
    assert_eq!(
        (copy.line().as_str(), copy.header("x-amz-copy-source")),
        ("PUT /b/k", Some("/b/k?versionId=v1"))
    );
    assert_eq!(copy.header("x-amz-metadata-directive"), None, "attributes and tags are those of the version");
}
