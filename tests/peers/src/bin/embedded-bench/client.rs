//! An S3 client with one connection and one request at a time, which does as little work as possible.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use jiff::{Timestamp, tz::TimeZone};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;

use super::Outcome;

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A server's address, bucket and credentials.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) bucket: String,
    pub(super) region: String,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
}

/// Bytes to upload, hashed once.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    bytes: Bytes,
    sha256: String,
}

impl Payload {
    pub(super) fn random(size: usize) -> Self {
        let mut bytes = vec![0; size];
        fastrand::fill(&mut bytes);
        Self { sha256: hex::encode(Sha256::digest(&bytes)), bytes: bytes.into() }
    }

    /// The same payload, not covered by the signature.
    pub(super) fn unsigned(self) -> Self {
        Self { sha256: UNSIGNED.to_owned(), ..self }
    }
}

#[derive(Debug)]
pub(super) struct Client {
    endpoint: Arc<Endpoint>,
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(super) async fn connect(endpoint: &Arc<Endpoint>) -> Outcome<Self> {
        let stream = TcpStream::connect(endpoint.address).await?;
        stream.set_nodelay(true)?;
        let (connection, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(driver);
        Ok(Self { endpoint: Arc::clone(endpoint), connection })
    }

    pub(super) async fn put(&mut self, key: &str, payload: &Payload) -> Outcome<()> {
        let request = self.request(Method::PUT, key, &payload.sha256, payload.bytes.clone())?;
        self.send(request).await.map(|_| ())
    }

    /// Reads an object and returns its size.
    pub(super) async fn get(&mut self, key: &str) -> Outcome<usize> {
        let request = self.request(Method::GET, key, EMPTY, Bytes::new())?;
        self.send(request).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Outcome<usize> {
        self.connection.ready().await?;
        let mut answer = self.connection.send_request(request).await?;
        if !answer.status().is_success() {
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        let mut size = 0;
        while let Some(frame) = answer.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(size)
    }

    /// Builds a signed request. The keys of this benchmark need no percent-encoding.
    fn request(&self, method: Method, key: &str, sha256: &str, body: Bytes) -> Outcome<Request<Full<Bytes>>> {
        let Endpoint { address, bucket, region, access_key_id, secret_access_key } = &*self.endpoint;
        let now = SystemTime::now();
        let time = Timestamp::try_from(now)?.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string();
        let scope = format!("{}/{region}/s3/aws4_request", &time[..8]);
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n/{bucket}/{key}\n\nhost:{address}\nx-amz-content-sha256:{sha256}\nx-amz-date:{time}\n\n\
             {signed}\n{sha256}"
        );
        let digest = hex::encode(Sha256::digest(canonical));
        let signing_key = generate_signing_key(secret_access_key, now, region, "s3");
        let signature = calculate_signature(
            signing_key,
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{digest}").as_bytes(),
        );
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
        );
        let request = Request::builder().method(method).uri(format!("/{bucket}/{key}"));
        let request = request.header("host", address.to_string()).header("x-amz-content-sha256", sha256);
        let request = request.header("x-amz-date", time).header("authorization", authorization);
        Ok(request.body(Full::new(body))?)
    }
}
