//! Credentials from servers and files: what is sent to the source, and what S3 requests are signed with.

use std::{fs, path::PathBuf, sync::Mutex, time::Duration};

use bytes::Bytes;
use longshore::{
    credentials::{
        AssumeRoleSettings, ContainerSettings, ContainerToken, Credentials, ImdsSettings, ProviderSettings,
        WebIdentitySettings,
    },
    s3::ErrorKind,
    store::{Error, ReadOptions, UploadClaim, UploadOptions},
};

use crate::scripted::{Answer, Scripted, Seen, error, reply, store};

/// S3, which has one object for every key.
pub(super) async fn s3() -> Scripted {
    Scripted::start(|_, _| reply(200, &[("etag", "\"e\""), ("content-length", "3")], "")).await
}

/// Sends a HEAD with the credentials of a provider. Returns the access key id and the token that S3 received.
pub(super) async fn signed_by(
    s3: &Scripted,
    provider: ProviderSettings,
) -> Result<(String, Option<String>), Error> {
    let settings = longshore::store::StoreSettings { credential_provider: provider, ..s3.settings() };
    store(settings).head("k", &ReadOptions::default()).await?;
    Ok(signature(s3.seen().last().unwrap()))
}

pub(super) fn signature(seen: &Seen) -> (String, Option<String>) {
    let authorization = seen.header("authorization").unwrap();
    let id = authorization.split("Credential=").nth(1).unwrap().split('/').next().unwrap();
    (id.to_owned(), seen.header("x-amz-security-token").map(str::to_owned))
}

/// Credentials as container endpoints and the instance metadata service return them.
fn document(id: &str) -> String {
    format!(
        r#"{{"AccessKeyId": "{id}", "SecretAccessKey": "s", "Token": "t-{id}", "Expiration": "2199-01-01T00:00:00Z"}}"#
    )
}

pub(super) fn sts_answer(action: &str, id: &str) -> Answer {
    let credentials = format!(
        "<Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
         <SessionToken>t-{id}</SessionToken><Expiration>2199-01-01T00:00:00Z</Expiration></Credentials>"
    );
    let body = format!(
        "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>{credentials}\
         </{action}Result></{action}Response>"
    );
    reply(200, &[("content-type", "text/xml")], &body)
}

fn temporary(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, text).unwrap();
    (folder, path)
}

pub(super) fn expected(id: &str) -> (String, Option<String>) {
    (id.to_owned(), Some(format!("t-{id}")))
}

fn imds(server: &Scripted, v1_fallback: bool) -> ProviderSettings {
    let endpoint = format!("http://{}", server.address);
    ProviderSettings::Imds(ImdsSettings {
        endpoint,
        v1_fallback,
        timeout: Duration::from_secs(5),
        attempts: 2,
    })
}

#[tokio::test]
async fn a_container_endpoint_gets_the_token_of_the_moment() {
    let (_folder, path) = temporary("first\n");
    let source = Scripted::start(|_, _| reply(200, &[], &document("POD"))).await;
    let s3 = s3().await;
    let settings = ContainerSettings {
        endpoint: format!("http://{}/v1/credentials", source.address),
        token: Some(ContainerToken::File((&path).into())),
        refuse_local: false,
    };
    for token in ["first", "second"] {
        fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(
            signed_by(&s3, ProviderSettings::Container(settings.clone())).await.unwrap(),
            expected("POD")
        );
        let seen = source.seen();
        let last = seen.last().unwrap();
        assert_eq!(
            (last.line().as_str(), last.header("authorization")),
            ("GET /v1/credentials", Some(token))
        );
    }
}

#[tokio::test]
async fn instance_metadata_is_read_with_a_session_token() {
    let source = Scripted::start(|_, seen| match seen.line().as_str() {
        "PUT /latest/api/token" => reply(200, &[], "SESSION"),
        "GET /latest/meta-data/iam/security-credentials/" => reply(200, &[], "the-role\n"),
        "GET /latest/meta-data/iam/security-credentials/the-role" => reply(200, &[], &document("EC2")),
        other => panic!("{other}"),
    })
    .await;
    let s3 = s3().await;
    assert_eq!(signed_by(&s3, imds(&source, false)).await.unwrap(), expected("EC2"));
    let seen = source.seen();
    assert!(seen[0].header("x-aws-ec2-metadata-token-ttl-seconds").is_some());
    assert!(seen[1..].iter().all(|seen| seen.header("x-aws-ec2-metadata-token") == Some("SESSION")));
}

#[tokio::test]
async fn without_a_session_token_instance_metadata_is_read_only_after_403_and_only_if_that_is_allowed() {
    for (status, v1_fallback, works) in [(403, true, true), (403, false, false), (404, true, false)] {
        let source = Scripted::start(move |_, seen| match seen.line().as_str() {
            "PUT /latest/api/token" => reply(status, &[], ""),
            "GET /latest/meta-data/iam/security-credentials/" => reply(200, &[], "the-role"),
            _ => reply(200, &[], &document("EC2")),
        })
        .await;
        let found = signed_by(&s3().await, imds(&source, v1_fallback)).await;
        assert_eq!(found.is_ok(), works, "{status}, {v1_fallback}");
        let without_token = |seen: &Seen| seen.header("x-aws-ec2-metadata-token").is_none();
        assert!(source.seen()[1..].iter().all(without_token));
        assert_eq!(source.seen().len(), if works { 3 } else { 1 });
    }
}

#[tokio::test]
async fn a_web_identity_sends_its_token_unsigned() {
    let (_folder, token_file) = temporary("TOKEN");
    let sts = Scripted::start(|_, _| sts_answer("AssumeRoleWithWebIdentity", "IRSA")).await;
    let settings = WebIdentitySettings {
        role_arn: "arn:aws:iam::123456789012:role/pod".to_owned(),
        token_file: token_file.into(),
        session_name: "longshore".to_owned(),
        duration: Some(Duration::from_hours(2)),
        endpoint: Some(format!("http://{}", sts.address)),
        region: None,
    };
    assert_eq!(
        signed_by(&s3().await, ProviderSettings::WebIdentity(settings)).await.unwrap(),
        expected("IRSA")
    );
    let seen = sts.seen();
    let form = seen[0].text();
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fpod",
        "WebIdentityToken=TOKEN",
        "RoleSessionName=longshore",
        "DurationSeconds=7200",
    ] {
        assert!(form.contains(part), "{form}");
    }
    assert_eq!(seen[0].header("authorization"), None);
    assert_eq!(seen.len(), 1);
}

pub(super) fn assume_role(sts: &Scripted, source: ProviderSettings) -> ProviderSettings {
    ProviderSettings::AssumeRole(Box::new(AssumeRoleSettings {
        role_arn: "arn:aws:iam::123456789012:role/tenant".to_owned(),
        session_name: "longshore".to_owned(),
        external_id: Some("ext".to_owned()),
        duration: None,
        session_tags: vec![("tenant".to_owned(), "acme".to_owned())],
        endpoint: Some(format!("http://{}", sts.address)),
        region: Some("eu-west-1".to_owned()),
        source,
    }))
}

#[tokio::test]
async fn a_role_is_assumed_with_the_credentials_of_its_source_external_id_and_tags() {
    let pod = Scripted::start(|_, _| reply(200, &[], &document("POD"))).await;
    let sts = Scripted::start(|_, _| sts_answer("AssumeRole", "ROLE")).await;
    let source =
        ContainerSettings { endpoint: format!("http://{}/", pod.address), token: None, refuse_local: false };
    let provider = assume_role(&sts, ProviderSettings::Container(source));
    assert_eq!(signed_by(&s3().await, provider).await.unwrap(), expected("ROLE"));
    let seen = sts.seen();
    assert_eq!(signature(&seen[0]), expected("POD"));
    assert!(seen[0].header("authorization").unwrap().contains("/eu-west-1/sts/aws4_request"));
    let form = seen[0].text();
    for part in
        ["Action=AssumeRole", "ExternalId=ext", "Tags.member.1.Key=tenant", "Tags.member.1.Value=acme"]
    {
        assert!(form.contains(part), "{form}");
    }
    assert!(!form.contains("DurationSeconds"), "{form}");
}

#[tokio::test]
async fn the_error_of_sts_names_the_role_and_no_secret() {
    let sts = Scripted::start(|_, _| {
        let error =
            "<Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized</Message></Error>";
        reply(
            403,
            &[],
            &format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">{error}</ErrorResponse>"
            ),
        )
    })
    .await;
    let base = Credentials::new("AKID", "s3cret-key", Some("t0ken".into()));
    let error = signed_by(&s3().await, assume_role(&sts, ProviderSettings::Static(base))).await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::CredentialsUnavailable);
    assert!(text.contains("AccessDenied: not authorized") && text.contains(":role/tenant"), "{text}");
    assert!(!text.contains("s3cret") && !text.contains("t0ken"), "{text}");
    assert_eq!(sts.seen().len(), 1, "such an error is final");
}

#[tokio::test]
async fn an_answer_of_sts_that_cannot_be_read_is_not_shown() {
    let broken = "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
                  <SessionToken>hush</SessionToken><Expiration>hush</Expiration></Credentials>";
    let page = "<html>hush</html>";
    let signed = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>hush</Message></Error></ErrorResponse>";
    for (status, body) in [
        (
            200,
            format!("<AssumeRoleResponse><AssumeRoleResult>{broken}</AssumeRoleResult></AssumeRoleResponse>"),
        ),
        (200, broken.to_owned()),
        (403, page.to_owned()),
        (403, signed.to_owned()),
    ] {
        let answer = body.clone();
        let sts = Scripted::start(move |_, _| reply(status, &[], &answer)).await;
        let base = Credentials::new("AKID", "hush", Some("hush".into()));
        let error =
            signed_by(&s3().await, assume_role(&sts, ProviderSettings::Static(base))).await.unwrap_err();
        let text =
            format!("{error} {error:?} {:?}", std::error::Error::source(&error).map(ToString::to_string));
        assert!(text.contains(":role/tenant") && !text.contains("hush"), "{body}: {text}");
    }
}

#[tokio::test]
async fn a_failing_sts_is_asked_again() {
    let sts = Scripted::start(|number, _| match number {
        0 => reply(500, &[], ""),
        _ => sts_answer("AssumeRole", "ROLE"),
    })
    .await;
    let base = Credentials::new("AKID", "secret", None);
    let found = signed_by(&s3().await, assume_role(&sts, ProviderSettings::Static(base))).await.unwrap();
    assert_eq!(found, expected("ROLE"));
    assert_eq!(sts.seen().len(), 2);
}

#[tokio::test]
async fn a_chain_uses_the_first_provider_that_has_credentials_and_its_error_names_all() {
    let (_folder, path) = temporary("aws_access_key_id = FILE\naws_secret_access_key = s\n");
    let missing = ProviderSettings::File("/nowhere/credentials".into());
    let failing = ProviderSettings::Process(vec!["false".to_owned()]);
    let chain =
        ProviderSettings::Chain(vec![missing.clone(), failing.clone(), ProviderSettings::File(path.into())]);
    let s3 = s3().await;
    assert_eq!(signed_by(&s3, chain).await.unwrap(), ("FILE".to_owned(), None));
    let error =
        signed_by(&s3, ProviderSettings::Chain(vec![missing, failing])).await.unwrap_err().to_string();
    assert!(error.contains("file: cannot read /nowhere/credentials"), "{error}");
    assert!(error.contains("process: the command false failed"), "{error}");
}

#[tokio::test]
async fn credentials_in_a_file_that_s3_rejects_are_read_again_at_once() {
    let text = |id: &str| format!("aws_access_key_id = {id}\naws_secret_access_key = s\n");
    let (_folder, path) = temporary(&text("OLD"));
    let rotated = Mutex::new(path.clone());
    let s3 = Scripted::start(move |_, seen| {
        if signature(seen).0 == "OLD" {
            fs::write(&*rotated.lock().unwrap(), text("NEW")).unwrap();
            return reply(403, &[], "<Error><Code>InvalidAccessKeyId</Code></Error>");
        }
        reply(200, &[("etag", "\"e\"")], "abc")
    })
    .await;
    let settings = longshore::store::StoreSettings {
        credential_provider: ProviderSettings::File(path.into()),
        ..s3.settings()
    };
    let mut reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(&reader.next().await.unwrap().unwrap()[..], b"abc");
    let ids: Vec<_> = s3.seen().iter().map(|seen| signature(seen).0).collect();
    assert_eq!(ids, ["OLD", "NEW"]);
}

/// A store whose credentials come from `container`.
fn with_container(s3: &Scripted, container: &Scripted) -> longshore::store::S3Store {
    let endpoint = format!("http://{}/credentials", container.address);
    let provider =
        ProviderSettings::Container(ContainerSettings { endpoint, token: None, refuse_local: false });
    store(longshore::store::StoreSettings { credential_provider: provider, ..s3.settings() })
}

#[tokio::test]
async fn a_thousand_calls_on_a_new_store_cause_one_request_for_credentials() {
    let (s3, container) = (s3().await, Scripted::start(|_, _| reply(200, &[], &document("POD"))).await);
    let store = with_container(&s3, &container);
    let options = ReadOptions::default();
    let calls = (0..1000).map(|number| {
        let (store, options) = (store.clone(), options.clone());
        async move { store.head(&format!("key-{number}"), &options).await }
    });
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!((container.seen().len(), s3.seen().len()), (1, 1000));
}

#[tokio::test]
async fn an_upload_in_parts_outlives_the_credentials_that_it_began_with() {
    const MIB: usize = 1024 * 1024;
    let container = Scripted::start(|number, _| reply(200, &[], &document(&format!("POD{number}")))).await;
    let s3 = Scripted::start(|_, seen| {
        let (id, _) = signature(seen);
        match (seen.method.as_str(), seen.target.as_str()) {
            ("POST", "/b/k?uploads=") => reply(
                200,
                &[],
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            ),
            _ if id == "POD0" => error(400, "ExpiredToken"),
            ("PUT", _) => reply(200, &[("etag", "\"p\"")], ""),
            _ => reply(
                200,
                &[],
                "<CompleteMultipartUploadResult><ETag>\"whole-3\"</ETag></CompleteMultipartUploadResult>",
            ),
        }
    })
    .await;
    let mut upload = with_container(&s3, &container).upload("k", UploadOptions::default()).unwrap();
    for _ in 0..20 {
        upload.write(Bytes::from(vec![7; MIB])).await.unwrap();
    }
    let uploaded = upload.finish(UploadClaim::default()).await.unwrap();
    assert_eq!(uploaded.meta.properties.etag.as_deref(), Some("\"whole-3\""));
    assert_eq!(container.seen().len(), 2, "the parts that failed at the same time asked once");
    let complete = s3.seen().last().cloned().unwrap();
    assert_eq!((complete.method.as_str(), signature(&complete).0.as_str()), ("POST", "POD1"));
}

#[tokio::test]
async fn a_provider_that_fails_every_second_time_or_returns_garbage_costs_no_call_while_credentials_are_valid()
 {
    let container = Scripted::start(|number, _| match number {
        0 => reply(200, &[], &document("POD")),
        number if number % 2 == 0 => reply(200, &[], "{\"AccessKeyId\": \"half"),
        _ => reply(500, &[], "out of order"),
    })
    .await;
    let rejections = std::sync::atomic::AtomicUsize::new(0);
    let s3 = Scripted::start(move |_, _| {
        match rejections.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            // The credentials are not the reason, so they are used again.
            1 => error(400, "ExpiredToken"),
            _ => reply(200, &[("etag", "\"e\"")], "abc"),
        }
    })
    .await;
    let store = with_container(&s3, &container);
    for _ in 0..5 {
        let mut reader = store.get("k", None, &ReadOptions::default()).await.unwrap();
        assert_eq!(&reader.next().await.unwrap().unwrap()[..], b"abc");
    }
    assert!(container.seen().len() > 1);
    assert!(s3.seen().iter().all(|seen| signature(seen).0 == "POD"));
}
