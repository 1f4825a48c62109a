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

use super::{BucketSettings, Client, Error, ErrorKind};
use crate::{
    credentials::{CredentialProvider, Credentials, CredentialsError, ProviderSettings, Source},
    tasks::Tasks,
    telemetry::Metrics,
    transport::{ClientOptions, HttpClient, RetryPolicy},
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

/// Deletes an object on a server that answers with these codes of S3, or with success if a code is empty. Returns the
/// outcome and the access key of each request.
async fn delete(
    provider: CredentialProvider,
    codes: &'static [&'static str],
) -> (Result<(), Error>, Vec<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    let keys = Arc::new(Mutex::new(Vec::new()));
    let mut serving = JoinSet::new();
    let seen = Arc::clone(&keys);
    serving.spawn(async move {
        for code in codes {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let request = String::from_utf8(request).unwrap();
            let (_, key) = request.split_once("Credential=").unwrap();
            seen.lock().unwrap().push(key.split('/').next().unwrap().to_owned());
            let (status, body) = match *code {
                "" => ("204 No Content", String::new()),
                code => ("400 Bad Request", format!("<Error><Code>{code}</Code></Error>")),
            };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let http = HttpClient::new(&ClientOptions { allow_http: true, ..ClientOptions::default() }).unwrap();
    let settings = BucketSettings { endpoint, ..BucketSettings::new("b") };
    let client =
        Client::new(settings, http, provider, RetryPolicy::default(), None, Metrics::default()).unwrap();
    let outcome = client.delete_object("key", None, None).await.map(drop);
    let keys = keys.lock().unwrap().clone();
    (outcome, keys)
}

fn numbered(last: u32) -> CredentialProvider {
    let source = Numbered { requests: AtomicU32::new(0), last };
    CredentialProvider::from_source(Arc::new(source), "b", &Tasks::default())
}

#[tokio::test]
async fn a_request_with_expired_credentials_is_repeated_once_with_new_ones() {
    for codes in [&["ExpiredToken", ""], &["InvalidAccessKeyId", ""]] {
        let (outcome, keys) = delete(numbered(9), codes).await;
        assert!(outcome.is_ok(), "{codes:?}: {outcome:?}");
        assert_eq!(keys, ["AKID0", "AKID1"], "{codes:?}");
    }
    let (outcome, keys) = delete(numbered(9), &["ExpiredToken", "ExpiredToken", ""]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    assert_eq!(keys, ["AKID0", "AKID1"]);
}

#[tokio::test]
async fn if_there_are_no_new_credentials_the_error_of_s3_is_returned() {
    let (outcome, keys) = delete(numbered(0), &["ExpiredToken", "ExpiredToken", ""]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    // The old credentials are tried once more: S3 may have been wrong.
    assert_eq!(keys, ["AKID0", "AKID0"]);
}

#[tokio::test]
async fn static_credentials_are_sent_once() {
    let settings = ProviderSettings::Static(Credentials::new("FIXED", "secret", None));
    let provider = CredentialProvider::new(settings, "b", &Tasks::default());
    let (outcome, keys) = delete(provider, &["ExpiredToken", ""]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsExpired);
    assert_eq!(keys, ["FIXED"]);
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let source = Numbered { requests: AtomicU32::new(1), last: 0 };
    let provider = CredentialProvider::from_source(Arc::new(source), "b", &Tasks::default());
    let (outcome, keys) = delete(provider, &[""]).await;
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::CredentialsUnavailable);
    assert_eq!(keys, [""; 0]);
}
