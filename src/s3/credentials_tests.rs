//! What a client does when S3 rejects its credentials.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering::SeqCst},
};

use futures::{FutureExt, future::BoxFuture};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};

use super::{BucketSettings, Client, Conditions, Error, ErrorKind, Selection};
use crate::{
    credentials::{
        CredentialProvider, Credentials, CredentialsError, ProviderSettings, Providers, Source, StoreFacts,
    },
    telemetry::Metrics,
    transport::{ClientOptions, HttpClient, Lookups, RetryPolicy},
};

/// Returns credentials with the number of the request, and fails after `last`.
#[derive(Debug)]
struct Numbered {
    requests: AtomicU32,
    last: u32,
}

impl Source for Numbered {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let number = self.requests.fetch_add(1, SeqCst);
        let found = if number <= self.last {
            Ok(Credentials::new(format!("AKID{number}"), "secret", None))
        } else {
            Err(CredentialsError::new("no more"))
        };
        async { found }.boxed()
    }
}

/// An S3 server that gives these answers, each on a connection of its own.
struct Server {
    client: Client,
    /// The access key of each request.
    keys: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

/// A status line, headers and a body, or the code of an error with status 400.
#[derive(Clone, Copy)]
enum Reply {
    Raw(&'static str),
    Code(&'static str),
}

const DELETED: Reply = Reply::Raw("204 No Content\r\ncontent-length: 0\r\n\r\n");

impl Server {
    async fn start(provider: CredentialProvider, replies: &'static [Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
        let keys = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&keys);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            for reply in replies {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                let request = String::from_utf8(request).unwrap();
                let (_, key) = request.split_once("Credential=").unwrap();
                seen.lock().unwrap().push(key.split('/').next().unwrap().to_owned());
                let rest = match *reply {
                    Reply::Raw(rest) => rest.to_owned(),
                    Reply::Code(code) => {
                        let body = format!("<Error><Code>{code}</Code></Error>");
                        format!("400 Bad Request\r\ncontent-length: {}\r\n\r\n{body}", body.len())
                    }
                };
                let answer = format!("HTTP/1.1 {}", rest.replacen("\r\n", "\r\nconnection: close\r\n", 1));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let http = HttpClient::new(
            &ClientOptions { allow_http: true, ..ClientOptions::default() },
            Lookups::default(),
        )
        .unwrap();
        let settings = BucketSettings { endpoint, ..BucketSettings::new("b") };
        let retries = RetryPolicy::default();
        let client = Client::new(settings, http, provider, retries, None, Metrics::default()).unwrap();
        Self { client, keys, _serving: serving }
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

/// Deletes an object. Returns the outcome and the access key of each request.
async fn delete(provider: CredentialProvider, replies: &'static [Reply]) -> (Result<(), Error>, Vec<String>) {
    let server = Server::start(provider, replies).await;
    let outcome = server.client.delete_object("key", None, None).await.map(drop);
    (outcome, server.keys())
}

fn numbered(last: u32) -> CredentialProvider {
    let source = Numbered { requests: AtomicU32::new(0), last };
    Providers::default().of_source(Arc::new(source))
}

#[tokio::test]
async fn a_request_with_expired_credentials_is_repeated_once_with_new_ones() {
    for replies in [
        &[Reply::Code("ExpiredToken"), DELETED],
        &[Reply::Code("InvalidAccessKeyId"), DELETED],
        &[Reply::Code("XAdminUserNotFound"), DELETED],
    ] {
        let (outcome, keys) = delete(numbered(9), replies).await;
        assert!(outcome.is_ok(), "{outcome:?}");
        assert_eq!(keys, ["AKID0", "AKID1"]);
    }
    let (outcome, keys) =
        delete(numbered(9), &[Reply::Code("ExpiredToken"), Reply::Code("ExpiredToken"), DELETED]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    assert_eq!(keys, ["AKID0", "AKID1"]);
}

#[tokio::test]
async fn if_there_are_no_new_credentials_the_error_of_s3_is_returned() {
    let (outcome, keys) =
        delete(numbered(0), &[Reply::Code("ExpiredToken"), Reply::Code("ExpiredToken"), DELETED]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    // The old credentials are tried once more: S3 may have been wrong.
    assert_eq!(keys, ["AKID0", "AKID0"]);
}

#[tokio::test]
async fn static_credentials_are_sent_once() {
    let settings = ProviderSettings::Static(Credentials::new("FIXED", "secret", None));
    let client_options = ClientOptions::default();
    let http = HttpClient::new(&client_options, Lookups::default()).unwrap();
    let (region, bucket) = ("us-east-1", "b");
    let store = StoreFacts { http: &http, client_options: &client_options, region, endpoint: None, bucket };
    let provider = Providers::default().provider(settings, store);
    let (outcome, keys) = delete(provider, &[Reply::Code("ExpiredToken"), DELETED]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    assert_eq!(keys, ["FIXED"]);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let source = Numbered { requests: AtomicU32::new(1), last: 0 };
    let provider = Providers::default().of_source(Arc::new(source));
    let (outcome, keys) = delete(provider, &[DELETED]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsUnavailable);
    assert_eq!(keys, [""; 0]);
}

/// Never answers.
#[derive(Debug)]
struct Silent;

impl Source for Silent {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_credentials_fails_shortly_before_its_deadline_and_says_why() {
    let server = Server::start(Providers::default().of_source(Arc::new(Silent)), &[]).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(1);
    let error = server.client.until(Some(deadline)).delete_object("key", None, None).await.unwrap_err();
    assert!(tokio::time::Instant::now() < deadline);
    assert_eq!(error.kind(), ErrorKind::CredentialsUnavailable);
    let text = error.to_string();
    assert!(text.contains("has not answered within") && text.contains("deadline"), "{text}");
}

#[tokio::test]
async fn an_empty_object_is_found_although_the_credentials_had_expired() {
    // The response to HEAD has no body that names the cause, and an empty object has no first byte.
    let replies = &[
        Reply::Raw("400 Bad Request\r\ncontent-length: 200\r\n\r\n"),
        Reply::Code("ExpiredToken"),
        Reply::Raw("416 Range Not Satisfiable\r\ncontent-length: 0\r\n\r\n"),
        Reply::Raw("200 OK\r\netag: \"e\"\r\ncontent-length: 0\r\n\r\n"),
    ];
    let server = Server::start(numbered(9), replies).await;
    let conditions = Conditions::default();
    let selection = Selection { key: "key", version: None, conditions: &conditions };
    let found = server.client.head_object(selection).await.unwrap();
    assert_eq!(found.size, 0);
    assert_eq!(server.keys(), ["AKID0", "AKID0", "AKID1", "AKID1"]);
}
