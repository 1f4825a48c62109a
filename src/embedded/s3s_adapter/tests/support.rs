//! A server with a stub that records the requests that reach it, and requests that AWS's own code signs.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use futures::StreamExt;
use http::HeaderMap;
use s3s::{Body, S3, S3Request, S3Response, S3Result, dto::*, s3_error};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::super::{
    super::{keys::Keys, received::Received, serve},
    *,
};

pub(super) const KEY: (&str, &str) = ("FIRST", "secret one");
pub(super) const OTHER_KEY: (&str, &str) = ("SECOND", "secret two");
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// The number of bytes in every object.
pub(super) const SIZE: usize = 100_000;

/// What an operation received.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) operation: &'static str,
    pub(super) received: HeaderMap,
    pub(super) range: Option<Range>,
    pub(super) metadata: Metadata,
    pub(super) encoding: Option<String>,
    pub(super) length: Option<i64>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Seen {
    fn of<T>(operation: &'static str, request: &S3Request<T>) -> Self {
        let received = request.extensions.get::<Received>().unwrap();
        Self {
            operation,
            received: received.headers.clone(),
            range: None,
            metadata: Metadata::default(),
            encoding: None,
            length: None,
            body: Vec::new(),
            trailers: received.trailers.as_ref().and_then(s3s::TrailingHeaders::take),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Stub {
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) rules: Arc<Mutex<Vec<CORSRule>>>,
}

impl Stub {
    pub(super) fn operations(&self) -> Vec<&'static str> {
        self.seen.lock().unwrap().iter().map(|seen| seen.operation).collect()
    }

    pub(super) fn last(&self) -> Seen {
        self.seen.lock().unwrap().last().unwrap().clone()
    }

    fn saw(&self, seen: Seen) {
        self.seen.lock().unwrap().push(seen);
    }
}

#[async_trait::async_trait]
impl BucketSettings for Stub {
    async fn cors_rules(&self, bucket: &str) -> Vec<CORSRule> {
        if bucket == "demo" { self.rules.lock().unwrap().clone() } else { Vec::new() }
    }

    async fn requester_pays(&self, bucket: &str) -> bool {
        bucket == "paid"
    }
}

#[async_trait::async_trait]
impl S3 for Stub {
    async fn put_object(
        &self,
        mut request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut body = request.input.body.take().unwrap();
        let mut bytes = Vec::new();
        while let Some(part) = body.next().await {
            bytes.extend_from_slice(&part.map_err(|error| body_error(&*error))?);
        }
        self.saw(Seen {
            metadata: request.input.metadata.clone().unwrap_or_default(),
            encoding: request.input.content_encoding.clone(),
            length: request.input.content_length,
            body: bytes,
            ..Seen::of("put", &request)
        });
        Ok(S3Response::new(PutObjectOutput::default()))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.saw(Seen { range: request.input.range, ..Seen::of("get", &request) });
        let headers = HeaderMap::from_iter([
            (http::header::ETAG, http::HeaderValue::from_static("\"e\"")),
            (http::header::CONTENT_RANGE, http::HeaderValue::from_static("bytes */5")),
        ]);
        let mut error = match request.input.key.as_str() {
            "same" => {
                let mut error = s3s::S3Error::new(s3s::S3ErrorCode::NotModified);
                error.set_status_code(http::StatusCode::NOT_MODIFIED);
                error
            }
            "short" => s3_error!(InvalidRange, "The requested range is not satisfiable"),
            _ => {
                let body = Body::from(Bytes::from("<a>\r</a>".repeat(SIZE / 8)));
                return Ok(S3Response::new(GetObjectOutput {
                    body: Some(StreamingBlob::from(body)),
                    content_length: Some(i64::try_from(SIZE).unwrap()),
                    content_type: Some("application/xml".to_owned()),
                    ..Default::default()
                }));
            }
        };
        error.set_headers(headers);
        Err(error)
    }

    async fn head_object(&self, _: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        Err(s3_error!(NoSuchKey, "The specified key does not exist."))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.saw(Seen {
            body: request.input.delete.objects[0].key.clone().into_bytes(),
            ..Seen::of("delete", &request)
        });
        Ok(S3Response::new(DeleteObjectsOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        Ok(S3Response::new(ListObjectsV2Output { prefix: request.input.prefix, ..Default::default() }))
    }
}

pub(super) struct Server {
    pub(super) stub: Stub,
    pub(super) faults: Arc<Faults>,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let profile = |(id, secret)| format!("aws_access_key_id={id}\naws_secret_access_key={secret}\n");
        let keys = format!("[default]\n{}[other]\n{}", profile(KEY), profile(OTHER_KEY));
        let (stub, faults) = (Stub::default(), Arc::new(Faults::default()));
        let front = S3sAdapter::new(stub.clone(), Keys::parse(&keys).unwrap(), Arc::clone(&faults));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(serve::serve(listener, front, CancellationToken::new()));
        Self { stub, faults, address, _serving: serving }
    }

    /// Signs a request, sends it, and reads until the connection ends.
    pub(super) async fn ask(&self, call: &Call<'_>) -> Answer {
        let (head, _) = self.signed(call);
        self.send(&head, &call.body).await
    }

    pub(super) async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut bytes = Vec::new();
        let end = stream.read_to_end(&mut bytes).await.err().map(|error| error.kind());
        let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let body = bytes.split_off(at);
        Answer { head: String::from_utf8(bytes).unwrap(), body, end }
    }

    /// The head of a signed request, and its signature.
    pub(super) fn signed(&self, call: &Call<'_>) -> (String, String) {
        let identity =
            aws_credential_types::Credentials::new(call.key.0, call.key.1, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if let Some(expires) = call.expires {
            settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(expires);
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(call.region)
            .name("s3")
            .time(call.time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let host = self.address.to_string();
        let headers = call.headers.iter().copied().chain([("host", host.as_str())]);
        let body = SignableBody::Precomputed(call.payload.to_owned());
        let url = format!("http://{host}{}", call.target);
        let request = SignableRequest::new(call.method, url, headers.clone(), body).unwrap();
        let (instructions, signature) = sign(request, &params).unwrap().into_parts();

        let mut target = call.target.to_owned();
        for (name, value) in instructions.params() {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            let join = if target.contains('?') { '&' } else { '?' };
            write!(target, "{join}{name}={value}").unwrap();
        }
        let mut head = format!("{} {target} HTTP/1.1\r\nconnection: close\r\n", call.method);
        let length = call.body.len().to_string();
        for (name, value) in
            headers.chain(instructions.headers()).chain([("content-length", length.as_str())])
        {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        (head + "\r\n", signature)
    }
}

/// A request to be signed.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: Vec<u8>,
    pub(super) payload: &'a str,
    pub(super) key: (&'a str, &'a str),
    pub(super) region: &'a str,
    pub(super) time: SystemTime,
    /// Set for a presigned URL.
    pub(super) expires: Option<Duration>,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: &'a str, target: &'a str) -> Self {
        Self {
            method,
            target,
            headers: Vec::new(),
            body: Vec::new(),
            payload: UNSIGNED,
            key: KEY,
            region: "us-east-1",
            time: SystemTime::now(),
            expires: None,
        }
    }

    pub(super) fn header(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The signature of the next chunk, which covers the previous signature. `kind` is `PAYLOAD` for data and `TRAILER`
    /// for trailers.
    pub(super) fn sign_next(&self, kind: &str, before: &str, bytes: &[u8]) -> String {
        let now = jiff::Timestamp::try_from(self.time).unwrap();
        let (stamp, day) = (now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d"));
        let hash = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let empty = if kind == "PAYLOAD" { format!("{}\n", hash(b"")) } else { String::new() };
        let text = format!(
            "AWS4-HMAC-SHA256-{kind}\n{stamp}\n{day}/{}/s3/aws4_request\n{before}\n{empty}{}",
            self.region,
            hash(bytes)
        );
        let key = v4::generate_signing_key(self.key.1, self.time, self.region, "s3");
        v4::calculate_signature(key, text.as_bytes())
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
    /// The error with which the connection ended, if any.
    pub(super) end: Option<std::io::ErrorKind>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub(super) fn header(&self, wanted: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case(wanted).then_some(value)
        })
    }

    /// The status and S3's error code.
    pub(super) fn error(&self) -> String {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once('<'));
        format!("{} {}", self.status(), code.map_or("", |(code, _)| code))
    }
}
