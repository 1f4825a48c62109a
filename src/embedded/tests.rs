use std::fs;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

async fn start(folder: &Path) -> Embedded {
    Embedded::start(folder, SocketAddr::from(ANY_PORT), &["demo"]).await.unwrap()
}

/// The head of a signed request. The signature does not cover the payload.
fn head(server: &Embedded, secret: &str, method: &str, path: &str, length: usize) -> String {
    let now = jiff::Timestamp::now();
    let (stamp, day) = (now.strftime("%Y%m%dT%H%M%SZ").to_string(), now.strftime("%Y%m%d").to_string());
    let host = server.address();
    let canonical = format!(
        "{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:{stamp}\n\n\
         host;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD"
    );
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let scope = format!("{day}/us-east-1/s3/aws4_request");
    let key = generate_signing_key(secret, now.into(), "us-east-1", "s3");
    let signature =
        calculate_signature(key, format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}").as_bytes());
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {stamp}\r\n\
         x-amz-content-sha256: UNSIGNED-PAYLOAD\r\ncontent-length: {length}\r\nconnection: close\r\n\
         authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
         SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}\r\n\r\n",
        server.access_key_id()
    )
}

/// Sends a request and returns the whole response.
async fn ask(server: &Embedded, secret: &str, method: &str, path: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = head(server, secret, method, path, body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn objects_and_keys_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).await;
    let (id, secret) = (first.access_key_id().to_owned(), first.secret_access_key().to_owned());
    assert_eq!((id.len(), secret.len()), (20, 40));
    let answer = ask(&first, &secret, "PUT", "/demo/hello.txt", b"hello").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    first.stop().await;

    let second = start(folder.path()).await;
    assert_eq!((second.access_key_id(), second.secret_access_key()), (&*id, &*secret));
    let answer = ask(&second, &secret, "GET", "/demo/hello.txt", b"").await;
    assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
}

#[tokio::test]
async fn a_wrong_secret_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let answer = ask(&server, "another", "GET", "/demo/hello.txt", b"").await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("SignatureDoesNotMatch"), "{answer}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_keys_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mode = fs::metadata(folder.path().join("credentials")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{server:?}").contains(server.secret_access_key()));
}

#[tokio::test]
async fn a_large_put_is_written_to_disk_while_it_arrives() {
    const HALF: usize = 8 * 1024 * 1024;
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let head = head(&server, server.secret_access_key(), "PUT", "/demo/large", 2 * HALF);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![1; HALF]).await.unwrap();

    // Before the second half is sent, the first half is in a file, except for what is still in buffers.
    let unfinished = folder.path().join("blobs/unfinished");
    let written = || -> u64 {
        let entries = fs::read_dir(&unfinished).unwrap().map(Result::unwrap);
        entries.map(|entry| entry.metadata().unwrap().len()).sum()
    };
    while written() < HALF as u64 * 3 / 4 {
        tokio::task::yield_now().await;
    }
    stream.write_all(&vec![2; HALF]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert_eq!(written(), 0);
    let answer = ask(&server, server.secret_access_key(), "HEAD", "/demo/large", b"").await;
    assert!(answer.contains(&format!("content-length: {}\r\n", 2 * HALF)), "{answer}");
}

#[tokio::test]
async fn only_one_server_can_use_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).await;
    let error = Embedded::start(folder.path(), SocketAddr::from(ANY_PORT), &[]).await.unwrap_err();
    let sentence = format!(
        "the folder {} is in use by another embedded S3 server: stop it, or use another folder",
        folder.path().display()
    );
    assert_eq!(error.to_string(), sentence);
    drop(first);
    start(folder.path()).await;
}

#[tokio::test]
async fn start_errors_are_one_sentence() {
    let other = tempfile::tempdir().unwrap();
    let held = TcpListener::bind(SocketAddr::from(ANY_PORT)).await.unwrap();
    let taken = held.local_addr().unwrap();
    let error = Embedded::start(other.path(), taken, &[]).await.unwrap_err().to_string();
    assert_eq!(error, format!("cannot listen for S3 on {taken}: address already in use"));

    let error = Embedded::start(other.path(), SocketAddr::from(ANY_PORT), &["NO"]).await.unwrap_err();
    assert!(error.to_string().starts_with("\"NO\" is not a valid bucket name"), "{error}");

    let file = other.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Embedded::start(&file, SocketAddr::from(ANY_PORT), &[]).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot write to the folder "), "{error}");

    let everywhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let error = Embedded::start(other.path(), everywhere, &[]).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the embedded S3 server cannot listen on 0.0.0.0:0: use a loopback address such as 127.0.0.1"
    );
}

#[tokio::test]
async fn errors_about_invalid_keys_do_not_show_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("credentials"), "aws_secret_access_key = very-secret\n").unwrap();
    let error =
        Embedded::start(folder.path(), SocketAddr::from(ANY_PORT), &[]).await.unwrap_err().to_string();
    assert!(error.contains("no aws_access_key_id") && !error.contains("very-secret"), "{error}");
}
