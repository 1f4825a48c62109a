//! A caller that speaks S3's HTTP/1.1 API, either directly to the backend or through the proxy.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{
    Method, Request,
    client::conn::http1::{SendRequest, handshake},
    header::HOST,
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

/// A caller with its own connection.
pub(crate) struct Caller {
    sender: SendRequest<Upload>,
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
        let path = format!("/bench/{}", job.key());
        match job.work {
            Work::Get => {
                let seen = self.read(Method::GET, &path, 0).await?;
                if seen == job.size { Ok(()) } else { Err("the object is truncated".into()) }
            }
            Work::Put | Work::Upload => self.read(Method::PUT, &path, job.size).await.map(drop),
            Work::Walk | Work::Head => Err("this kind of request needs gRPC".into()),
        }
    }

    /// Returns a small response body as text.
    pub(crate) async fn text(&mut self, path: &str) -> Outcome<String> {
        let request = request(Method::GET, path, 0)?;
        let body = self.sender.send_request(request).await?.into_body().collect().await?;
        Ok(String::from_utf8(body.to_bytes().to_vec())?)
    }

    /// Sends a request and returns the length of the response body.
    async fn read(&mut self, method: Method, path: &str, size: u64) -> Outcome<u64> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(request(method, path, size)?).await?;
        if !answer.status().is_success() {
            return Err(format!("{path}: {}", answer.status()).into());
        }
        let (mut body, mut seen) = (answer.into_body(), 0);
        while let Some(frame) = body.frame().await {
            seen += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(seen)
    }
}

fn request(method: Method, path: &str, size: u64) -> Outcome<Request<Upload>> {
    let body = Upload(Content::whole(size));
    Ok(Request::builder().method(method).uri(path).header(HOST, "localhost").body(body)?)
}

/// The body of an upload.
struct Upload(Content);

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
