//! What callers and the access log get if an S3 server rejects requests or fails.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use longshore::{
    api::{CallFailure, Limits, Services, Severity, UploadSettings},
    auth::AuthMode,
    credentials::{Credentials, ProviderSettings},
    pb::{self, object_service_client::ObjectServiceClient},
    s3::BucketSettings,
    store::StoreSettings,
    tenants::{MemorySettings, Pool, Resources, Snapshot, TenantSettings},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tonic::{Code, Status};

use super::{code_and_reason, context, info, request};

/// A server that sends this response to every request.
async fn server(status: &'static str, body: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.read(&mut [0; 16 * 1024]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    address
}

/// The failure of a List in a store at `address`: the caller's status and the access log's entry.
async fn list(address: SocketAddr) -> (Status, CallFailure) {
    let bucket =
        BucketSettings { endpoint: Some(format!("http://{address}")), ..BucketSettings::new("bucket") };
    let keys = Credentials::new("AKIDEXAMPLE", "secret", None);
    let mut store = StoreSettings::new(bucket, ProviderSettings::Static(keys));
    store.client_options.allow_http = true;
    store.retry_config.max_retries = 0;
    let tenant = TenantSettings::new("acme", BTreeMap::from([("default".to_owned(), store)]));
    let resources = Resources::new(MemorySettings::default());
    let pool = Pool::new(Snapshot::new(vec![tenant], AuthMode::None, &resources));
    let limits = Limits { max_message_bytes: 1024, message_timeout: Duration::from_mins(1) };
    let services = Services::new(pool, limits, UploadSettings::default(), resources.metrics);
    let (context, mut request) = (context(), request("", "acme", pb::ListRequest::default()));
    request.extensions_mut().insert(context.clone());
    let status = ObjectServiceClient::new(services.routes()).list(request).await.unwrap_err();
    (status, context.facts.failure().unwrap().clone())
}

fn size(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).unwrap();
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

#[tokio::test]
async fn the_reason_why_s3_denied_access_is_only_in_the_log() {
    let text = "User: arn:aws:iam::123456789012:user/gateway is not authorized to perform: s3:ListBucket";
    let body =
        format!("<Error><Code>AccessDenied</Code><Message>{text}</Message><RequestId>R1</RequestId></Error>");
    let (status, failure) = list(server("403 Forbidden", body).await).await;
    assert_eq!(code_and_reason(&status), (Code::PermissionDenied, "ACCESS_DENIED".to_owned()));
    assert_eq!(
        (&*info(&status).metadata["s3_code"], &*info(&status).metadata["s3_request_id"]),
        ("AccessDenied", "R1")
    );
    assert!(
        !status.message().contains("arn:") && !String::from_utf8_lossy(status.details()).contains("arn:")
    );
    assert_eq!(
        (failure.reason, failure.severity, &*failure.s3_code),
        ("ACCESS_DENIED", Severity::Warning, "AccessDenied")
    );
    assert!(failure.error.ends_with(text), "{}", failure.error);
}

#[tokio::test]
async fn a_response_that_is_not_from_s3_is_not_repeated() {
    let page = format!("<html><!-- {} -->at 10.0.0.7</wrong>", "🚢\u{1}".repeat(1_000));
    let (status, failure) = list(server("200 OK", page).await).await;
    assert_eq!(code_and_reason(&status), (Code::Unavailable, "BACKEND_PROTOCOL".to_owned()));
    assert!(!status.message().contains(['🚢', '<']) && size(&status) < 1024, "{}", status.message());
    assert_eq!(failure.severity, Severity::Warning);
    assert!(failure.error.len() <= 1024 && !failure.error.contains(char::is_control));
}

#[tokio::test]
async fn the_address_of_an_unreachable_server_is_only_in_the_log() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (status, failure) = list(address).await;
    assert_eq!(code_and_reason(&status), (Code::Unavailable, "CONNECTION_FAILED".to_owned()));
    assert_eq!(status.message(), "no connection to S3 could be opened");
    assert!(failure.error.len() > status.message().len(), "{}", failure.error);
}

#[tokio::test]
async fn a_throttled_call_says_when_to_retry() {
    let body = "<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>".to_owned();
    let (status, _) = list(server("503 Slow Down", body).await).await;
    assert_eq!(code_and_reason(&status), (Code::ResourceExhausted, "THROTTLED".to_owned()));
    let pushback: u64 =
        status.metadata().get("grpc-retry-pushback-ms").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1_000..=2_000).contains(&pushback), "{pushback}");
}
