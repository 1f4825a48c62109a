//! Requests that no generated client sends, and requests that are rejected before a message is read.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use longshore::{
    auth::{Access, AuthMode, CallerSettings, Identities},
    server::ServerSettings,
    tenants::TenantSettings,
};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Running, get, settings};

const PUT: &str = "/longshore.v1.ObjectService/Put";
const UPLOAD: &str = "/longshore.v1.ObjectService/Upload";
const DELETE_MANY: &str = "/longshore.v1.ObjectService/DeleteMany";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// One tenant, whose caller has the token `secret`.
fn with_caller() -> ServerSettings {
    let caller = CallerSettings {
        name: "billing".to_owned(),
        identities: Identities::token(Sha256::digest("secret").into()),
        access: vec![Access::Write],
        stores: None,
        prefixes: None,
    };
    let tenant = TenantSettings { callers: vec![caller], ..TenantSettings::new("acme", Default::default()) };
    ServerSettings { auth: AuthMode::Required, tenants: vec![tenant.into()], ..settings() }
}

/// A connection on which the test chooses the frames.
struct Raw(h2::client::SendRequest<Bytes>);

struct Answer {
    http: StatusCode,
    headers: HeaderMap,
    status: Option<Status>,
}

impl Answer {
    fn reason(&self) -> (Code, String) {
        let status = self.status.as_ref().unwrap();
        let reason = status.get_details_error_info().map(|info| info.reason);
        (status.code(), reason.unwrap_or_default())
    }
}

fn post(path: &str) -> http::request::Builder {
    Request::post(format!("http://localhost{path}")).header("content-type", "application/grpc")
}

fn framed(flag: u8, message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag][..], &len, message].concat().into()
}

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    /// Sends a request with the body `data`. Ends the body if `end` is true, and leaves it open otherwise.
    async fn call(&mut self, request: http::request::Builder, data: Bytes, end: bool) -> Answer {
        let mut requests = self.0.clone().ready().await.unwrap();
        let (response, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(data, end).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), async {
            let (head, mut received) = response.await.unwrap().into_parts();
            while let Some(data) = received.data().await {
                let len = data.unwrap().len();
                received.flow_control().release_capacity(len).unwrap();
            }
            let trailers = received.trailers().await.unwrap_or_default();
            let status = trailers.as_ref().and_then(Status::from_header_map);
            let status = status.or_else(|| Status::from_header_map(&head.headers));
            Answer { http: head.status, headers: head.headers, status }
        });
        answer.await.expect("the call should end")
    }
}

#[tokio::test]
async fn only_grpc_requests_are_served() {
    let running = Running::start(with_caller()).await;
    for (listener, path) in [(running.grpc, PUT), (running.grpc, CHECK), (running.health, CHECK)] {
        let mut raw = Raw::connect(listener).await;
        for method in [Method::GET, Method::DELETE, Method::PUT] {
            let answer = raw.call(post(path).method(method), framed(0, b""), true).await;
            assert_eq!(answer.http, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(answer.headers["allow"], "POST");
        }
        for content_type in ["application/json", "application/grpc-web+proto", "application/grpc+json", ""] {
            let request =
                Request::post(format!("http://localhost{path}")).header("content-type", content_type);
            let answer = raw.call(request, framed(0, b""), true).await;
            assert_eq!(answer.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
        }
        let request = Request::post(format!("http://localhost{CHECK}"))
            .header("content-type", "application/grpc+proto");
        assert_eq!(raw.call(request, framed(0, b""), true).await.reason().0, Code::Ok);
    }
    running.stop().await;
}

#[tokio::test]
async fn metadata_that_is_too_large_is_rejected_with_details_and_counted() {
    let running = Running::start(with_caller()).await;
    let mut raw = Raw::connect(running.grpc).await;
    let answer = raw.call(post(CHECK).header("x-blob", "b".repeat(15_000)), framed(0, b""), true).await;
    assert_eq!(answer.reason().0, Code::Ok);
    let too_large = post(CHECK).header("x-blob", "b".repeat(17_000));
    let answer = Raw::connect(running.health).await.call(too_large, framed(0, b""), true).await;
    assert_eq!(answer.reason(), (Code::ResourceExhausted, "METADATA_TOO_LARGE".to_owned()));
    let answer = raw.call(post(PUT).header("x-blob", "b".repeat(17_000)), framed(0, b""), true).await;
    assert_eq!(answer.reason(), (Code::ResourceExhausted, "METADATA_TOO_LARGE".to_owned()));
    let info = answer.status.unwrap().get_details_error_info().unwrap();
    assert_eq!(info.metadata["limit_bytes"], "16384");
    assert!(get(running.health, "/metrics").await.contains("RESOURCE_EXHAUSTED"));
    running.stop().await;
}

#[tokio::test]
async fn every_service_accepts_the_same_encodings() {
    let running = Running::start(with_caller()).await;
    let mut raw = Raw::connect(running.grpc).await;
    // An empty message, compressed with gzip (RFC 1952, section 2.3).
    let packed =
        framed(1, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for path in [CHECK, reflection] {
        let answer = raw.call(post(path).header("grpc-encoding", "gzip"), packed.clone(), true).await;
        assert_ne!(answer.reason().0, Code::Unimplemented, "{path}: {:?}", answer.status);
        assert_ne!(answer.reason().1, "MALFORMED_MESSAGE", "{path}");
    }
    let authorized = |path| post(path).header("authorization", "Bearer secret");
    let answer = raw.call(authorized(PUT).header("grpc-encoding", "gzip"), packed, true).await;
    assert_eq!(answer.reason(), (Code::InvalidArgument, "INVALID_FIELD".to_owned()), "it has no key");
    for path in [CHECK, PUT, UPLOAD] {
        let answer = raw.call(authorized(path).header("grpc-encoding", "br"), framed(1, b"?"), true).await;
        assert_eq!(answer.reason(), (Code::Unimplemented, "NOT_IMPLEMENTED".to_owned()), "{path}");
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity,gzip");
    }
    running.stop().await;
}

/// The response arrives although neither the message nor the request is complete.
#[tokio::test]
async fn a_caller_without_a_valid_token_is_rejected_before_its_message_is_read() {
    let running = Running::start(with_caller()).await;
    let mut raw = Raw::connect(running.grpc).await;
    let unfinished = framed(0, &[0; 100]).slice(..50);
    for path in [PUT, UPLOAD, DELETE_MANY, "/longshore.v1.StoreService/ListStores"] {
        let answer = raw.call(post(path), unfinished.clone(), false).await;
        assert_eq!(answer.reason(), (Code::Unauthenticated, "TOKEN_MISSING".to_owned()), "{path}");
        let other = post(path).header("authorization", "Bearer other");
        let answer = raw.call(other, unfinished.clone(), false).await;
        assert_eq!(answer.reason(), (Code::Unauthenticated, "TOKEN_UNKNOWN".to_owned()), "{path}");
        let foreign =
            post(path).header("authorization", "Bearer secret").header("x-longshore-tenant", "zeta");
        let answer = raw.call(foreign, unfinished.clone(), false).await;
        assert_eq!(answer.reason(), (Code::PermissionDenied, "TENANT_NOT_ALLOWED".to_owned()), "{path}");
    }
    let answer = raw.call(post("/longshore.v1.ObjectService/Fly"), unfinished, false).await;
    assert_eq!(answer.reason(), (Code::Unimplemented, "METHOD_UNKNOWN".to_owned()));
    running.stop().await;
}

#[tokio::test]
async fn health_accepts_only_small_messages_without_a_token() {
    let running = Running::start(with_caller()).await;
    let mut raw = Raw::connect(running.grpc).await;
    let service = |len: usize| {
        let mut message = vec![0x0a];
        prost::encoding::encode_varint(len as u64, &mut message);
        message.extend(vec![b's'; len]);
        framed(0, &message)
    };
    assert_eq!(raw.call(post(CHECK), service(4_000), true).await.reason().0, Code::NotFound);
    assert_eq!(raw.call(post(CHECK), service(5_000), true).await.reason().0, Code::ResourceExhausted);
    let authorized = post(CHECK).header("authorization", "Bearer secret");
    assert_eq!(raw.call(authorized, service(5_000), true).await.reason().0, Code::NotFound);
    running.stop().await;
}

#[tokio::test]
async fn a_call_whose_message_does_not_arrive_in_time_ends() {
    let mut settings = with_caller();
    settings.message_timeout = Duration::from_millis(200);
    let running = Running::start(settings).await;
    let mut raw = Raw::connect(running.grpc).await;
    for path in [PUT, UPLOAD, DELETE_MANY] {
        for sent in [Bytes::new(), framed(0, &[0; 100]).slice(..50)] {
            let request = post(path).header("authorization", "Bearer secret");
            let answer = raw.call(request, sent, false).await;
            assert_eq!(answer.reason(), (Code::Aborted, "MESSAGE_TIMEOUT".to_owned()), "{path}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_compressed_message_that_expands_too_much_is_rejected() {
    let running = Running::start(with_caller()).await;
    let mut raw = Raw::connect(running.grpc).await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &b"\x2a\x00".repeat(1_900_000)).unwrap();
    let bomb = framed(1, &encoder.finish().unwrap());
    for path in [PUT, UPLOAD, DELETE_MANY] {
        let request = post(path).header("authorization", "Bearer secret").header("grpc-encoding", "gzip");
        let answer = raw.call(request, bomb.clone(), true).await;
        assert_eq!(answer.reason(), (Code::InvalidArgument, "MALFORMED_MESSAGE".to_owned()), "{path}");
    }
    running.stop().await;
}
