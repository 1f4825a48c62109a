use longshore::{
    s3::ErrorKind,
    store::{BucketInfo, CorsRule, Versioning},
};

use crate::scripted::{Answer, Scripted, Seen, error, reply, store};

const VERSIONS: &str = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
const BUCKETS: &str = "<ListAllMyBucketsResult><Buckets><Bucket><Name>b</Name>\
    <CreationDate>2024-02-29T12:00:00.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>";
const LOCATION: &str = "<LocationConstraint>ap-south-1</LocationConstraint>";

fn region(name: &'static str) -> Answer {
    reply(200, &[("x-amz-bucket-region", name)], "")
}

/// What a server answers that allows everything.
fn open(seen: &Seen) -> Answer {
    match seen.line().as_str() {
        "HEAD /b" => region("eu-west-1"),
        "GET /b?versioning=" => reply(200, &[], VERSIONS),
        "GET /b?location=" => reply(200, &[], LOCATION),
        line if line.starts_with("GET /?") => reply(200, &[], BUCKETS),
        line => panic!("{line}"),
    }
}

fn rule() -> CorsRule {
    CorsRule {
        origins: vec!["https://example.com".to_owned()],
        methods: vec!["PUT".to_owned()],
        ..CorsRule::default()
    }
}

#[tokio::test]
async fn a_bucket_is_described_by_four_requests_at_most() {
    let server = Scripted::start(|_, seen| open(seen)).await;
    let BucketInfo { name, region, created, versioning } = server.store().bucket().await.unwrap();
    assert_eq!((name.as_str(), region.as_deref()), ("b", Some("eu-west-1")));
    let created = created.unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!((created.as_secs(), versioning), (1_709_208_000, Some(Versioning::Enabled)));
    let mut lines = server.lines();
    lines[1..].sort();
    assert_eq!(lines, ["HEAD /b", "GET /?max-buckets=1&prefix=b", "GET /b?versioning="]);
}

#[tokio::test]
async fn what_the_server_does_not_say_or_allow_is_unknown() {
    for refused in [error(403, "AccessDenied"), error(501, "NotImplemented"), error(405, "MethodNotAllowed")]
    {
        let Answer::Reply(bytes) = refused else { unreachable!() };
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" => reply(200, &[], ""),
            _ => Answer::Reply(bytes.clone()),
        })
        .await;
        let unknown = BucketInfo { name: "b".to_owned(), region: None, created: None, versioning: None };
        assert_eq!(server.store().bucket().await.unwrap(), unknown);
    }
    let server = Scripted::start(|_, seen| match seen.line().as_str() {
        "HEAD /b" => reply(200, &[], ""),
        _ => open(seen),
    })
    .await;
    assert_eq!(server.store().bucket().await.unwrap().region.as_deref(), Some("ap-south-1"));
}

#[tokio::test]
async fn a_missing_bucket_a_forbidden_one_and_wrong_keys_are_told_apart() {
    let cases = [
        (404, error(404, "NoSuchBucket"), ErrorKind::BucketNotFound),
        (403, error(403, "AccessDenied"), ErrorKind::AccessDenied),
        (403, error(403, "InvalidAccessKeyId"), ErrorKind::CredentialsRejected),
        // The location may be read, the bucket may not.
        (403, reply(200, &[], LOCATION), ErrorKind::AccessDenied),
    ];
    for (status, second, kind) in cases {
        let Answer::Reply(bytes) = second else { unreachable!() };
        let server = Scripted::start(move |_, seen| match seen.method.as_str() {
            "HEAD" => reply(status, &[], ""),
            _ => Answer::Reply(bytes.clone()),
        })
        .await;
        assert_eq!(server.store().bucket().await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_failure_of_a_later_request_is_not_taken_for_unknown() {
    let server = Scripted::start(|_, seen| match seen.line().as_str() {
        "GET /b?versioning=" => error(503, "ServiceUnavailable"),
        _ => open(seen),
    })
    .await;
    let mut settings = server.settings();
    settings.retry_config.max_retries = 0;
    assert_eq!(store(settings).bucket().await.unwrap_err().kind(), ErrorKind::BackendUnavailable);
}

#[tokio::test]
async fn rules_are_read_replaced_and_removed() {
    let server = Scripted::start(|_, seen| match seen.method.as_str() {
        "GET" => error(404, "NoSuchCORSConfiguration"),
        "PUT" => reply(200, &[], ""),
        _ => reply(204, &[], ""),
    })
    .await;
    let store = server.store();
    assert_eq!(store.cors_rules().await.unwrap(), []);
    store.put_cors_rules(&[rule()]).await.unwrap();
    store.delete_cors_rules().await.unwrap();
    assert_eq!(server.lines(), ["GET /b?cors=", "PUT /b?cors=", "DELETE /b?cors="]);
    let put = &server.seen()[1];
    assert!(put.header("content-md5").is_some());
    assert!(put.text().contains("<AllowedOrigin>https://example.com</AllowedOrigin>"), "{}", put.text());
}

#[tokio::test]
async fn rules_of_the_whole_bucket_are_not_changed_through_a_store_with_a_prefix_unless_allowed() {
    let server = Scripted::start(|_, _| reply(200, &[], "<CORSConfiguration/>")).await;
    let mut settings = server.settings();
    settings.prefix = "p/".to_owned();
    let refusing = store(settings.clone());
    for failed in [refusing.put_cors_rules(&[rule()]).await, refusing.delete_cors_rules().await] {
        let failed = failed.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::OperationNotSupported);
        assert!(failed.message().contains("allow_bucket_cors"), "{failed}");
    }
    assert!(server.lines().is_empty());
    assert_eq!(refusing.cors_rules().await.unwrap(), []);
    settings.allow_bucket_cors = true;
    store(settings).put_cors_rules(&[rule()]).await.unwrap();
    assert_eq!(server.lines(), ["GET /b?cors=", "PUT /b?cors="]);
}

#[tokio::test]
async fn failures_of_requests_for_rules_are_classified() {
    let cases = [
        (error(404, "NoSuchBucket"), ErrorKind::BucketNotFound),
        (error(403, "AccessDenied"), ErrorKind::AccessDenied),
        (error(501, "NotImplemented"), ErrorKind::OperationNotSupported),
        (error(405, "MethodNotAllowed"), ErrorKind::OperationNotSupported),
        (error(400, "MalformedXML"), ErrorKind::InvalidRequest),
    ];
    for (answer, kind) in cases {
        let Answer::Reply(bytes) = answer else { unreachable!() };
        let server = Scripted::start(move |_, _| Answer::Reply(bytes.clone())).await;
        let store = server.store();
        assert_eq!(store.cors_rules().await.unwrap_err().kind(), kind);
        assert_eq!(store.put_cors_rules(&[rule()]).await.unwrap_err().kind(), kind);
        assert_eq!(store.delete_cors_rules().await.unwrap_err().kind(), kind);
    }
    let server = Scripted::start(|_, _| reply(200, &[], "<html/>")).await;
    assert_eq!(server.store().cors_rules().await.unwrap_err().kind(), ErrorKind::BackendProtocol);
}

#[tokio::test]
async fn a_failing_list_of_buckets_does_not_matter_and_is_not_requested_again() {
    for answer in [error(404, "NoSuchBucket"), error(503, "SlowDown"), reply(200, &[], "<html/>")] {
        let Answer::Reply(bytes) = answer else { unreachable!() };
        let server = Scripted::start(move |_, seen| match seen.target.starts_with("/?") {
            true => Answer::Reply(bytes.clone()),
            false => open(seen),
        })
        .await;
        let store = server.store();
        let found = store.bucket().await.unwrap();
        assert_eq!((found.created, found.versioning), (None, Some(Versioning::Enabled)));
        assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /?")).count(), 1);
        assert_eq!(store.state().last_error, None, "the store has not failed");
    }
}

#[tokio::test]
async fn an_empty_location_of_a_server_other_than_amazons_is_unknown() {
    let server = Scripted::start(|_, seen| match seen.line().as_str() {
        "HEAD /b" => reply(200, &[], ""),
        "GET /b?location=" => reply(200, &[], "<LocationConstraint/>"),
        _ => open(seen),
    })
    .await;
    assert_eq!(server.store().bucket().await.unwrap().region, None);
}

#[tokio::test]
async fn a_bucket_without_rules_is_no_failure_of_its_store() {
    let server = Scripted::start(|number, _| match number {
        0 => error(404, "NoSuchCORSConfiguration"),
        _ => reply(204, &[], ""),
    })
    .await;
    let store = server.store();
    for _ in 0..2 {
        assert_eq!(store.cors_rules().await.unwrap(), []);
    }
    assert_eq!(store.state().last_error, None);
}
