//! The service around tonic's generated one.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    Stream,
    future::{self, BoxFuture},
    stream,
};
use http::{Extensions, HeaderMap, Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use prost::Message;
use tonic::{
    Code, Status,
    body::Body,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
    server::NamedService,
};
use tower::Service;

use super::{answer::AnswerBody, chunk::Framed, frames::Frames, upload_messages::UploadMessages};
use crate::{
    api::{
        failure::{BrokenOff, Failure},
        gate,
        object::Objects,
    },
    pb::object_service_server::{ObjectService, ObjectServiceServer},
};

const ENCODING: &str = "grpc-encoding";

/// Answers `Get`, `GetRanges` and `Upload`, and passes everything else on. A compressed request too: it has to be unpacked,
/// and so copied, anyway, and the generated service knows how.
#[derive(Debug, Clone)]
pub(crate) struct PayloadService {
    objects: Arc<Objects>,
    inner: ObjectServiceServer<Objects>,
    limit: usize,
}

impl PayloadService {
    /// Takes messages of at most `limit` bytes.
    pub(crate) fn new(objects: Arc<Objects>, inner: ObjectServiceServer<Objects>, limit: usize) -> Self {
        Self { objects, inner, limit }
    }
}

impl NamedService for PayloadService {
    const NAME: &'static str = <ObjectServiceServer<Objects> as NamedService>::NAME;
}

impl Service<Request<Body>> for PayloadService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (objects, limit) = (Arc::clone(&self.objects), self.limit);
        match (method(request.uri().path(), Self::NAME), is_compressed(request.headers())) {
            ("Get", false) => Box::pin(async move {
                let answer = async { objects.get_messages(unary(request, limit).await?).await };
                Ok(streaming(answer.await))
            }),
            ("GetRanges", false) => Box::pin(async move {
                let answer = async { objects.get_ranges(unary(request, limit).await?).await };
                Ok(streaming(answer.await))
            }),
            ("Upload", false) => Box::pin(async move {
                let (head, body) = request.into_parts();
                let messages = UploadMessages::new(body, limit);
                let answer = objects.upload_messages(received(head.headers, head.extensions, messages)).await;
                Ok(streaming(one(answer)))
            }),
            ("Upload" | "DeleteMany", _) => self.inner.call(request.map(breaking_off)),
            _ => self.inner.call(request),
        }
    }
}

/// The method's name in `/package.Service/Method`; empty where the path is not one of `service`.
pub(super) fn method<'a>(path: &'a str, service: &str) -> &'a str {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    method.and_then(|path| path.strip_prefix('/')).unwrap_or_default()
}

pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(ENCODING).is_some_and(|encoding| encoding != "identity")
}

/// tonic takes a caller's cancellation for the end of its messages: half an upload would be a whole one.
/// [`Failure::stream`] makes a cancellation of it again.
pub(super) fn breaking_off(body: Body) -> Body {
    Body::new(body.map_err(|status| match status.code() {
        Code::Cancelled => Status::from_error(Box::new(BrokenOff)),
        _ => status,
    }))
}

/// A call's one message, once the caller has closed its side. What comes after the first is passed over.
async fn unary<M: Message + Default>(
    request: Request<Body>,
    limit: usize,
) -> Result<tonic::Request<M>, Status> {
    let (head, body) = request.into_parts();
    match first(Frames::new(body, limit)).await {
        Ok(message) => Ok(received(head.headers, head.extensions, message)),
        Err(failure) => Err(gate::refused(&head.extensions, failure)),
    }
}

async fn first<M: Message + Default>(mut frames: Frames<Body>) -> Result<M, Failure> {
    let message = future::poll_fn(|cx| frames.poll_next(cx)).await;
    let message = message.unwrap_or(Err(Failure::Malformed("it is missing".into())))?;
    while let Some(more) = future::poll_fn(|cx| frames.poll_next(cx)).await {
        more?;
    }
    M::decode(message.join()).map_err(|error| Failure::undecodable(&error))
}

pub(super) fn received<M>(headers: HeaderMap, extensions: Extensions, message: M) -> tonic::Request<M> {
    tonic::Request::from_parts(MetadataMap::from_headers(headers), extensions, message)
}

/// An answer of one message.
pub(super) fn one<M>(
    answer: Result<tonic::Response<M>, Status>,
) -> Result<tonic::Response<impl Stream<Item = Result<M, Status>> + Send + Unpin>, Status>
where
    M: Send + Unpin,
{
    answer.map(|answer| answer.map(|message| stream::iter([Ok(message)])))
}

/// What goes out: messages and a status after them, or a status alone.
pub(super) fn streaming<S, M>(answer: Result<tonic::Response<S>, Status>) -> Response<Body>
where
    S: Stream<Item = Result<M, Status>> + Send + Unpin + 'static,
    M: Framed + 'static,
{
    let (metadata, messages, extensions) = match answer {
        Ok(answer) => answer.into_parts(),
        Err(status) => return status.into_http(),
    };
    let mut response = Response::new(Body::new(AnswerBody::new(messages)));
    *response.headers_mut() = metadata.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    *response.extensions_mut() = extensions;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tonic::{Streaming, codec::Codec as _};
    use tonic_prost::ProstCodec;

    use super::*;
    use crate::pb;

    /// What tonic's generated service gets of a caller's stream that ends so, and what becomes of that.
    async fn end(status: Status) -> Option<Failure> {
        let body =
            Body::new(StreamBody::new(stream::iter([Err::<http_body::Frame<bytes::Bytes>, _>(status)])));
        let decoder = ProstCodec::<pb::UploadResponse, pb::UploadRequest>::default().decoder();
        let mut messages = Streaming::new_request(decoder, breaking_off(body), None, None);
        messages.message().await.err().map(Failure::stream)
    }

    #[tokio::test]
    async fn a_cancellation_that_came_through_tonic_is_one_and_no_other_end_is() {
        let Some(Failure::Stream(cancelled)) = end(Status::cancelled("reset")).await else {
            panic!("it is no end of the stream")
        };
        assert_eq!(
            (cancelled.code(), cancelled.message()),
            (Code::Cancelled, "the caller's stream broke off")
        );
        for other in [Status::unknown(cancelled.message()), Status::internal("reset")] {
            let (code, message) = (other.code(), other.message().to_owned());
            let Some(Failure::Stream(told)) = end(other).await else { panic!("{message}") };
            assert_eq!((told.code(), told.message()), (code, &*message));
        }
    }

    #[test]
    fn a_method_is_known_by_its_whole_path() {
        let method = |path| method(path, PayloadService::NAME);
        assert_eq!(method("/longshore.v1.ObjectService/Get"), "Get");
        assert_eq!(method("/longshore.v1.ObjectService/x/Get"), "x/Get");
        for other in ["/longshore.v1.StoreService/Get", "/longshore.v1.ObjectServices/Get", "/Get", "Get", ""]
        {
            assert_eq!(method(other), "", "{other}");
        }
    }
}
