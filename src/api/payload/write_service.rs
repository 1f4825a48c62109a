//! The service around tonic's generated `UploadService`.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::{
    service::{breaking_off, is_compressed, method, one, received, streaming},
    upload_messages::UploadMessages,
};
use crate::{api::upload::Uploads, pb::upload_service_server::UploadServiceServer};

/// Answers `WriteUpload`, and passes everything else on, a compressed request too.
#[derive(Debug, Clone)]
pub(crate) struct WritePayloadService {
    uploads: Arc<Uploads>,
    inner: UploadServiceServer<Uploads>,
    limit: usize,
}

impl WritePayloadService {
    /// Takes messages of at most `limit` bytes.
    pub(crate) fn new(uploads: Arc<Uploads>, inner: UploadServiceServer<Uploads>, limit: usize) -> Self {
        Self { uploads, inner, limit }
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
        let (uploads, limit) = (Arc::clone(&self.uploads), self.limit);
        match (method(request.uri().path(), Self::NAME), is_compressed(request.headers())) {
            ("WriteUpload", false) => Box::pin(async move {
                let (head, body) = request.into_parts();
                let messages = UploadMessages::new(body, limit);
                let answer = uploads.write_messages(received(head.headers, head.extensions, messages)).await;
                Ok(streaming(one(answer)))
            }),
            ("WriteUpload", true) => self.inner.call(request.map(breaking_off)),
            _ => self.inner.call(request),
        }
    }
}
