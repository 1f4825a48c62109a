//! The service that wraps tonic's generated `UploadService`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::service::{chunks, method, one, streaming};
use crate::{
    api::{Limits, uploads::Uploads},
    pb::upload_service_server::UploadServiceServer,
};

/// Serves `WriteUpload` and `WriteUploadWithProgress`, and passes all other calls to the generated service.
#[derive(Debug, Clone)]
pub(crate) struct WritePayloadService {
    uploads: Arc<Uploads>,
    inner: UploadServiceServer<Uploads>,
    limits: Limits,
}

impl WritePayloadService {
    /// Accepts messages within `limits`.
    pub(crate) fn new(uploads: Arc<Uploads>, inner: UploadServiceServer<Uploads>, limits: Limits) -> Self {
        Self { uploads, inner, limits }
    }
}

impl NamedService for WritePayloadService {
    const NAME: &'static str = <UploadServiceServer<Uploads> as NamedService>::NAME;
}

impl Service<Request<Body>> for WritePayloadService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (uploads, limits) = (Arc::clone(&self.uploads), self.limits);
        match method(request.uri().path(), Self::NAME) {
            "WriteUpload" => Box::pin(async move {
                let answer = uploads.write_messages(chunks(request, limits)).await;
                Ok(streaming(one(answer)))
            }),
            "WriteUploadWithProgress" => Box::pin(async move {
                Ok(streaming(uploads.write_messages_with_progress(chunks(request, limits))))
            }),
            _ => self.inner.call(request),
        }
    }
}
