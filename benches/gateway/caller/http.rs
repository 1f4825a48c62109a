//! A caller that speaks S3's HTTP/1.1 API, either directly to the backend or through the proxy.

use std::{
    convert::Infallible,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    Method, Request,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header::{HOST, HeaderName, RANGE},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    Outcome,
    content::Content,
    job::{Job, Target, Work},
    tls,
};

type RequestBody = Either<Full<Bytes>, Upload>;

/// A caller with its own connection.
pub(crate) struct Caller {
    sender: SendRequest<RequestBody>,
    /// The task that drives the connection.
    _connection: JoinSet<()>,
}

impl Caller {
    pub(crate) async fn connect(target: &Target) -> Outcome<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        match &target.authority {
            None => Self::over(stream).await,
            Some(authority) => {
                let connector = tls::connector(authority)?;
                Self::over(connector.connect(ServerName::try_from("localhost")?, stream).await?).await
            }
        }
    }

    async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Outcome<Self> {
        let (sender, running) = handshake(TokioIo::new(stream)).await?;
        let mut connection = JoinSet::new();
        connection.spawn(async move { running.await.unwrap_or_default() });
        Ok(Self { sender, _connection: connection })
    }

    /// Sends one request and reads the whole response.
    pub(crate) async fn ask(&mut self, job: &Job) -> Outcome<()> {
        let path = format!("/{}/{}", job.bucket(), job.key());
        match job.work {
            Work::Get => {
                let seen = self.read(request(Method::GET, &path, empty(), None)?).await?;
                if seen == job.size { Ok(()) } else { Err("the object is truncated".into()) }
            }
            Work::Put | Work::Upload => {
                let content = Either::Right(Upload(Content::whole(job.size)));
                self.read(request(Method::PUT, &path, content, None)?).await.map(drop)
            }
            Work::Walk => self.walk(job).await,
            Work::GetRanges | Work::DeleteMany => Err("this kind of request needs a pool".into()),
            Work::Head => Err("this kind of request needs gRPC".into()),
        }
    }

    /// Reads a range of the job's object.
    pub(super) async fn range(&mut self, job: &Job, range: &Range<u64>) -> Outcome<()> {
        let path = format!("/{}/{}", job.bucket(), job.key());
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        let seen = self.read(request(Method::GET, &path, empty(), Some((RANGE, bytes)))?).await?;
        if seen == range.end - range.start { Ok(()) } else { Err("the range is truncated".into()) }
    }

    /// Deletes keys with one request.
    pub(super) async fn delete(&mut self, job: &Job, keys: &[String]) -> Outcome<()> {
        let mut body = String::from("<Delete>");
        for key in keys {
            body.extend(["<Object><Key>", key, "</Key></Object>"]);
        }
        body.push_str("</Delete>");
        let path = format!("/{}?delete", job.bucket());
        let body = Either::Left(Full::from(body));
        let answer = self.send(request(Method::POST, &path, body, None)?).await?;
        let deleted = string(answer).await?.matches("<Deleted>").count();
        if deleted == keys.len() { Ok(()) } else { Err(format!("{deleted} keys were deleted").into()) }
    }

    /// Reads one page of a listing after the other.
    async fn walk(&mut self, job: &Job) -> Outcome<()> {
        let (mut seen, mut next) = (0, String::new());
        loop {
            let path = format!("/{}?list-type=2{next}", job.bucket());
            let page = string(self.send(request(Method::GET, &path, empty(), None)?).await?).await?;
            seen += page.matches("<Contents>").count() as u64;
            let token = page.split_once("<NextContinuationToken>").and_then(|(_, rest)| rest.split_once('<'));
            match token {
                Some((token, _)) => next = format!("&continuation-token={token}"),
                None if seen == job.size => return Ok(()),
                None => return Err(format!("the listing has {seen} keys").into()),
            }
        }
    }

    /// Returns a small response body as text.
    pub(crate) async fn text(&mut self, path: &str) -> Outcome<String> {
        string(self.send(request(Method::GET, path, empty(), None)?).await?).await
    }

    /// Sends a request and returns the response body.
    async fn send(&mut self, request: Request<RequestBody>) -> Outcome<Incoming> {
        let path = request.uri().path().to_owned();
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        if answer.status().is_success() {
            Ok(answer.into_body())
        } else {
            Err(format!("{path}: {}", answer.status()).into())
        }
    }

    /// Sends a request and returns the length of the response body.
    async fn read(&mut self, request: Request<RequestBody>) -> Outcome<u64> {
        let (mut body, mut seen) = (self.send(request).await?, 0);
        while let Some(frame) = body.frame().await {
            seen += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(seen)
    }
}

fn request(
    method: Method,
    path: &str,
    body: RequestBody,
    header: Option<(HeaderName, String)>,
) -> Outcome<Request<RequestBody>> {
    let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Ok(request.body(body)?)
}

fn empty() -> RequestBody {
    Either::Left(Full::default())
}

async fn string(body: Incoming) -> Outcome<String> {
    Ok(String::from_utf8(body.collect().await?.to_bytes().to_vec())?)
}

/// The body of an upload.
pub(super) struct Upload(Content);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.piece(256 * 1024).map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.left())
    }
}
