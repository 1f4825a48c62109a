//! The service that wraps tonic's generated `ObjectService`.

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
use http::{Extensions, HeaderMap, Request, Response, header::CONTENT_TYPE, request::Parts};
use prost::Message;
use tonic::{
    Status,
    body::Body,
    metadata::{GRPC_CONTENT_TYPE, MetadataMap},
    server::NamedService,
};
use tower::Service;

use super::{answer::ResponseBody, chunk::Framed, upload_messages::UploadMessages};
use crate::{
    api::{
        Limits,
        failure::Failure,
        gate,
        messages::{Messages, Policy},
        object::Objects,
    },
    pb::{
        object_service_server::{ObjectService, ObjectServiceServer},
        upload_service_server,
    },
};

/// Serves `Get`, `GetRanges` and `Upload`, and passes all other calls to the generated service.
#[derive(Debug, Clone)]
pub(crate) struct PayloadService {
    objects: Arc<Objects>,
    inner: ObjectServiceServer<Objects>,
    limits: Limits,
}

impl PayloadService {
    /// Accepts messages within `limits`.
    pub(crate) fn new(objects: Arc<Objects>, inner: ObjectServiceServer<Objects>, limits: Limits) -> Self {
        Self { objects, inner, limits }
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
        let (objects, limits) = (Arc::clone(&self.objects), self.limits);
        match method(request.uri().path(), Self::NAME) {
            "Get" => Box::pin(async move {
                let answer = async { objects.get_messages(unary(request, limits).await?).await };
                Ok(streaming(answer.await))
            }),
            "GetRanges" => Box::pin(async move {
                let answer = async { objects.get_ranges(unary(request, limits).await?).await };
                Ok(streaming(answer.await))
            }),
            "Upload" => Box::pin(async move {
                let answer = objects.upload_messages(chunks(request, limits)).await;
                Ok(streaming(one(answer)))
            }),
            _ => self.inner.call(request),
        }
    }
}

/// Whether the method at this path reads the request's messages in this module, and not from the body that the layers
/// create.
pub(crate) fn reads_messages(path: &str) -> bool {
    matches!(method(path, PayloadService::NAME), "Get" | "GetRanges" | "Upload")
        || matches!(
            method(path, upload_service_server::SERVICE_NAME),
            "WriteUpload" | "WriteUploadWithProgress"
        )
}

/// The method's name in `/package.Service/Method`. Empty if the path does not belong to `service`.
pub(super) fn method<'a>(path: &'a str, service: &str) -> &'a str {
    let method = path.strip_prefix('/').and_then(|path| path.strip_prefix(service));
    method.and_then(|path| path.strip_prefix('/')).unwrap_or_default()
}

/// The call's policy, which the server's layers put into the extensions.
fn policy(head: &mut Parts, limits: Limits) -> Policy {
    head.extensions.remove().unwrap_or_else(|| Policy::new(head.uri.path(), &head.headers, limits))
}

/// The only message of a call, after the caller has closed its side.
async fn unary<M: Message + Default>(
    request: Request<Body>,
    limits: Limits,
) -> Result<tonic::Request<M>, Status> {
    let (mut head, body) = request.into_parts();
    let policy = policy(&mut head, limits);
    match only(Messages::new(body, policy)).await {
        Ok(message) => Ok(received(head.headers, head.extensions, message)),
        Err(failure) => Err(gate::rejected_early(&head.extensions, failure)),
    }
}

async fn only<M: Message + Default>(mut messages: Messages<Body>) -> Result<M, Failure> {
    let message = future::poll_fn(|cx| messages.poll_next(cx)).await;
    let message = message.unwrap_or(Err(Failure::Malformed("the request contains no message".into())))?;
    // A second message is a failure.
    if let Some(second) = future::poll_fn(|cx| messages.poll_next(cx)).await {
        second?;
    }
    M::decode(message.join()).map_err(|error| Failure::undecodable(&error))
}

/// The messages of a call that sends chunks.
pub(super) fn chunks<M>(request: Request<Body>, limits: Limits) -> tonic::Request<UploadMessages<Body, M>> {
    let (mut head, body) = request.into_parts();
    let policy = policy(&mut head, limits);
    received(head.headers, head.extensions, UploadMessages::new(body, policy))
}

fn received<M>(headers: HeaderMap, extensions: Extensions, message: M) -> tonic::Request<M> {
    tonic::Request::from_parts(MetadataMap::from_headers(headers), extensions, message)
}

/// A response with one message.
pub(super) fn one<M>(
    answer: Result<tonic::Response<M>, Status>,
) -> Result<tonic::Response<impl Stream<Item = Result<M, Status>> + Send + Unpin>, Status>
where
    M: Send + Unpin,
{
    answer.map(|answer| answer.map(|message| stream::iter([Ok(message)])))
}

/// The HTTP response: messages followed by a status, or only a status.
pub(super) fn streaming<S, M>(answer: Result<tonic::Response<S>, Status>) -> Response<Body>
where
    S: Stream<Item = Result<M, Status>> + Send + Unpin + 'static,
    M: Framed + 'static,
{
    let (metadata, messages, extensions) = match answer {
        Ok(answer) => answer.into_parts(),
        Err(status) => return status.into_http(),
    };
    let mut response = Response::new(Body::new(ResponseBody::new(messages)));
    *response.headers_mut() = metadata.into_headers();
    response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    *response.extensions_mut() = extensions;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_identified_by_its_full_path() {
        let method = |path| method(path, PayloadService::NAME);
        assert_eq!(method("/longshore.v1.ObjectService/Get"), "Get");
        assert_eq!(method("/longshore.v1.ObjectService/x/Get"), "x/Get");
        for other in ["/longshore.v1.StoreService/Get", "/longshore.v1.ObjectServices/Get", "/Get", "Get", ""]
        {
            assert_eq!(method(other), "", "{other}");
        }
    }
}
