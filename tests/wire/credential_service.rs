//! `type: grpc`: what the operator's service receives, and how its responses and failures are handled.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Response};
use longshore::{
    credentials::{GrpcSettings, ProviderSettings},
    pb::{GetCredentialsResponse, S3Credential},
    s3::ErrorKind,
    store::{ReadOptions, StoreSettings},
};
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::{
    credential_server::{
        Asked, Authority, CredentialServer, credential, found, grpc_head, ok_trailers, raw, settings, written,
    },
    credentials::{assume_role, expected, s3, signature, signed_by, sts_answer},
    scripted::{Scripted, reply, store},
};

/// The error of a request that is signed by the service's credentials.
async fn error(settings: GrpcSettings) -> String {
    let error = signed_by(&s3().await, ProviderSettings::Grpc(settings)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialsUnavailable);
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let shown = format!("{error:?} {cause:?}");
    assert!(!shown.contains("s3cret-key") && !shown.contains("t-ID"), "{shown}");
    error.to_string()
}

fn failing(
    code: Code,
    message: impl Into<String>,
) -> impl Fn(usize) -> Option<Result<GetCredentialsResponse, Status>> {
    let message = message.into();
    move |_| Some(Err(Status::new(code, message.clone())))
}

#[tokio::test]
async fn the_service_gets_the_names_of_the_store_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = CredentialServer::start_tls(&authority.issue("localhost"), None, |_| found("ID")).await;
    let ca_file = written(folder.path(), "ca.pem", &authority.pem());
    let settings = server.tls_settings(Some(ca_file));
    let signed = signed_by(&s3().await, ProviderSettings::Grpc(settings)).await.unwrap();
    assert_eq!(signed, expected("ID"));
    let Asked { tenant, store, metadata, .. } = server.asked().remove(0);
    assert_eq!((tenant.as_str(), store.as_str()), ("acme", "reports"));
    assert!(metadata.contains_key("grpc-timeout"));
    assert!(metadata.get("user-agent").unwrap().to_str().unwrap().starts_with("longshore/"));
    assert!(!metadata.contains_key("authorization"));
}

#[tokio::test]
async fn the_certificate_of_another_authority_or_host_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let ours = written(folder.path(), "ours.pem", &authority.pem());
    let others = written(folder.path(), "others.pem", &Authority::new().pem());
    for (name, ca_file, reason) in [
        ("localhost", Some(others), "UnknownIssuer"),
        ("localhost", None, "UnknownIssuer"),
        ("other.example", Some(ours), "not valid for name \"localhost\""),
    ] {
        let server = CredentialServer::start_tls(&authority.issue(name), None, |_| found("ID")).await;
        let text = error(server.tls_settings(ca_file)).await;
        let place = format!("cannot connect to https://localhost:{}", server.address.port());
        assert!(text.contains(&place) && text.contains(reason), "{text}");
        assert!(server.asked().is_empty());
    }
}

#[tokio::test]
async fn a_server_can_require_a_client_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    let server =
        CredentialServer::start_tls(&authority.issue("localhost"), Some(&clients), |_| found("ID")).await;
    let ca_file = Some(written(folder.path(), "ca.pem", &authority.pem()));
    let pair = clients.issue("longshore");
    let files =
        (written(folder.path(), "client.pem", &pair.cert), written(folder.path(), "client.key", &pair.key));
    let with = GrpcSettings {
        client_certificate: Some((files.0.clone().into(), files.1.clone().into())),
        ..server.tls_settings(ca_file.clone())
    };
    assert_eq!(signed_by(&s3().await, ProviderSettings::Grpc(with)).await.unwrap(), expected("ID"));
    assert_eq!(server.asked().remove(0).certificates, 1);
    error(server.tls_settings(ca_file.clone())).await;
    let swapped = GrpcSettings {
        client_certificate: Some((files.1.into(), files.0.clone().into())),
        ..server.tls_settings(ca_file)
    };
    let text = error(swapped).await;
    assert!(text.contains("client.key") && !text.contains("PRIVATE"), "{text}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_file_that_is_no_certificate_or_no_token_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let with_ca = |ca_file: std::path::PathBuf| GrpcSettings {
        ca_file: Some(ca_file.into()),
        ..settings("https://localhost:1".into())
    };
    let with_token = |token_file: std::path::PathBuf| GrpcSettings {
        token_file: Some(token_file.into()),
        ..settings("http://localhost:1".into())
    };
    let file = |name, text| written(folder.path(), name, text);
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (settings, name, reason) in [
        (with_ca(folder.path().join("missing.pem")), "missing.pem", "cannot read"),
        (with_ca(file("empty.pem", "no certificate")), "empty.pem", "contains no certificate"),
        (with_ca(file("broken.pem", garbage)), "broken.pem", "has an invalid certificate"),
        (with_token(folder.path().join("missing")), "missing", "cannot read"),
        (with_token(file("two-lines", "t-ID\nt-ID")), "two-lines", "a character that headers cannot have"),
    ] {
        let text = error(settings).await;
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
}

#[tokio::test]
async fn credentials_that_s3_rejects_are_requested_again_with_the_token_of_the_moment() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = written(folder.path(), "token", "first\n");
    let server = CredentialServer::start(|number| found(&format!("ID{number}"))).await;
    let rotated = token_file.clone();
    let s3 = Scripted::start(move |_, seen| {
        if signature(seen).0 == "ID0" {
            std::fs::write(&rotated, "second\n").unwrap();
            return reply(403, &[], "<Error><Code>InvalidAccessKeyId</Code></Error>");
        }
        reply(200, &[("etag", "\"e\"")], "abc")
    })
    .await;
    let provider =
        ProviderSettings::Grpc(GrpcSettings { token_file: Some(token_file.into()), ..server.settings() });
    let settings = StoreSettings { credential_provider: provider, ..s3.settings() };
    let mut reader = store(settings).get("k", None, &ReadOptions::default()).await.unwrap();
    assert_eq!(&reader.next().await.unwrap().unwrap()[..], b"abc");
    let asked = server.asked();
    let tokens: Vec<_> = asked.iter().map(|asked| asked.header("authorization").unwrap()).collect();
    assert_eq!(tokens, ["Bearer first", "Bearer second"]);
    assert_ne!(asked[0].peer, asked[1].peer, "each request has its own connection");
}

#[tokio::test]
async fn credentials_are_replaced_before_they_expire() {
    let server = CredentialServer::start(|number| {
        let expires_at = SystemTime::now() + Duration::from_secs(2);
        let credential = credential(&format!("ID{number}"), Some(expires_at));
        Some(Ok(GetCredentialsResponse { credential: Some(credential) }))
    })
    .await;
    let s3 = s3().await;
    let provider = ProviderSettings::Grpc(server.settings());
    let store = store(StoreSettings { credential_provider: provider, ..s3.settings() });
    let mut last = 0;
    while last < 2 {
        store.head("k", &ReadOptions::default()).await.unwrap();
        let (id, _) = signature(s3.seen().last().unwrap());
        last = id.strip_prefix("ID").unwrap().parse().unwrap();
        // Leaves the background request the time to end. How long that takes does not matter.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(server.asked().len() <= last + 3, "calls share the requests");
}

#[tokio::test]
async fn credentials_need_neither_a_token_nor_an_expiry() {
    let server = CredentialServer::start(|_| {
        let credential = S3Credential { token: None, ..credential("ID", None) };
        Some(Ok(GetCredentialsResponse { credential: Some(credential) }))
    })
    .await;
    let signed = signed_by(&s3().await, ProviderSettings::Grpc(server.settings())).await.unwrap();
    assert_eq!(signed, ("ID".to_owned(), None));
}

#[tokio::test]
async fn transient_failures_are_repeated_and_others_are_not() {
    for (code, name, attempts) in [
        (Code::Unavailable, "UNAVAILABLE", 3),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 3),
        (Code::NotFound, "NOT_FOUND", 1),
        (Code::PermissionDenied, "PERMISSION_DENIED", 1),
        (Code::Unauthenticated, "UNAUTHENTICATED", 1),
        (Code::Unimplemented, "UNIMPLEMENTED", 1),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", 1),
        (Code::Internal, "INTERNAL", 1),
        (Code::Unknown, "UNKNOWN", 1),
    ] {
        let server = CredentialServer::start(failing(code, "not today")).await;
        let text = error(server.settings()).await;
        let expected = format!("GetCredentials of http://{} failed with {name}: not today", server.address);
        assert!(text.contains(&expected), "{text}");
        assert_eq!(server.asked().len(), attempts, "{name}");
    }
    let recovering = CredentialServer::start(|number| match number {
        0 => failing(Code::Unavailable, "restarting")(0),
        _ => found("ID"),
    })
    .await;
    let signed = signed_by(&s3().await, ProviderSettings::Grpc(recovering.settings())).await.unwrap();
    assert_eq!(signed, expected("ID"));
}

#[tokio::test]
async fn the_message_of_a_status_is_shortened_and_does_not_repeat_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = Some(written(folder.path(), "token", "t-ID-42"));
    let message = format!("unknown t-ID-42\n{}", "x".repeat(4000));
    let server = CredentialServer::start(failing(Code::Unauthenticated, message)).await;
    let text = error(GrpcSettings { token_file: token_file.map(Into::into), ..server.settings() }).await;
    assert!(text.contains("unknown TOKEN\\nxxx"), "{text}");
    assert!(text.len() < 1000, "{text}");
}

#[tokio::test]
async fn a_server_that_hangs_is_a_failure_after_the_timeout() {
    let hanging = CredentialServer::start(|_| None).await;
    // Accepts connections, but does not begin TLS or HTTP/2.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    for endpoint in [
        format!("http://{}", hanging.address),
        format!("http://localhost:{port}"),
        format!("https://localhost:{port}"),
    ] {
        let timeout = Duration::from_millis(100);
        let text = error(GrpcSettings { timeout, ..settings(endpoint.clone()) }).await;
        assert!(text.contains(&format!("{endpoint} did not answer within 100ms")), "{text}");
    }
    assert_eq!(hanging.asked().len(), 3);
}

#[tokio::test]
async fn unusable_credentials_are_errors() {
    type Change = fn(&mut S3Credential);
    let cases: [(Change, &str); 5] = [
        (|found| found.access_key_id.clear(), "no access_key_id or no secret_access_key"),
        (|found| found.secret_access_key.clear(), "no access_key_id or no secret_access_key"),
        (|found| found.expires_at = found.expires_at.map(|_| Default::default()), "have expired"),
        (|found| found.expires_at.as_mut().unwrap().nanos = -1, "an expires_at that is not a valid time"),
        (
            |found| found.expires_at.as_mut().unwrap().seconds = i64::MAX,
            "an expires_at that is not a valid time",
        ),
    ];
    for (change, reason) in cases {
        let mut response = credential("ID", Some(SystemTime::now() + Duration::from_hours(1)));
        change(&mut response);
        let server = CredentialServer::start(move |_| {
            Some(Ok(GetCredentialsResponse { credential: Some(response.clone()) }))
        })
        .await;
        let text = error(server.settings()).await;
        assert!(text.contains(reason), "{text}");
    }
    let empty = CredentialServer::start(|_| Some(Ok(GetCredentialsResponse { credential: None }))).await;
    let text = error(empty.settings()).await;
    assert!(text.contains(&format!("http://{} returned no credential", empty.address)), "{text}");
}

/// A message with its gRPC frame.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], &length.to_be_bytes()[..], message].concat()
}

#[tokio::test]
async fn responses_that_are_not_valid_grpc_are_errors() {
    let huge = GetCredentialsResponse {
        credential: Some(S3Credential { token: Some("x".repeat(64 * 1024)), ..credential("ID", None) }),
    };
    let not_found = Response::builder().status(404).body(()).unwrap();
    let compressed = [&[1, 0, 0, 0, 4][..], b"s3cret-key"].concat();
    for (head, body, trailers, reason) in [
        (grpc_head(), framed(b"\x0a\x0ds3cret-key"), Some(ok_trailers()), "failed with INTERNAL"),
        (grpc_head(), framed(&huge.encode_to_vec()), Some(ok_trailers()), "failed with OUT_OF_RANGE"),
        (grpc_head(), Vec::new(), Some(ok_trailers()), "failed with INTERNAL"),
        (grpc_head(), compressed, Some(ok_trailers()), "failed with INTERNAL"),
        (grpc_head(), framed(b""), Some(HeaderMap::new()), "failed with UNKNOWN"),
        (not_found, b"s3cret-key".to_vec(), None, "404 Not Found"),
    ] {
        let (address, mut closed) = raw(head, body, trailers).await;
        let text = error(settings(format!("http://{address}"))).await;
        assert!(text.contains(reason), "{reason}: {text}");
        closed.wait_for(|count| *count > 0).await.unwrap();
    }
    // A server that does not speak HTTP/2, and no server.
    let http1 = Scripted::start(|_, _| reply(200, &[], "s3cret-key")).await;
    error(settings(format!("http://{}", http1.address))).await;
    let text = error(settings("http://127.0.0.1:1".into())).await;
    assert!(text.contains("cannot connect to http://127.0.0.1:1: "), "{text}");
}

#[tokio::test]
async fn a_chain_asks_the_next_provider_if_the_service_has_no_credentials() {
    let without = CredentialServer::start(failing(Code::NotFound, "no such store")).await;
    let with = CredentialServer::start(|_| found("ID")).await;
    let both = [without.settings(), with.settings()].map(ProviderSettings::Grpc);
    let signed = signed_by(&s3().await, ProviderSettings::Chain(both.into())).await.unwrap();
    assert_eq!(signed, expected("ID"));
    assert_eq!(without.asked().len(), 1);
}

#[tokio::test]
async fn a_role_can_be_assumed_with_the_credentials_of_the_service() {
    let server = CredentialServer::start(|_| found("ID")).await;
    let sts = Scripted::start(|_, _| sts_answer("AssumeRole", "ROLE")).await;
    let provider = assume_role(&sts, ProviderSettings::Grpc(server.settings()));
    assert_eq!(signed_by(&s3().await, provider).await.unwrap(), expected("ROLE"));
    assert_eq!(signature(&sts.seen()[0]), expected("ID"));
}

#[test]
fn the_debug_output_of_a_response_has_no_secrets() {
    let response = GetCredentialsResponse { credential: Some(credential("ID", None)) };
    let shown = format!("{response:?}");
    assert!(shown.contains("access_key_id: \"ID\""), "{shown}");
    assert!(!shown.contains("s3cret-key") && !shown.contains("t-ID"), "{shown}");
}
