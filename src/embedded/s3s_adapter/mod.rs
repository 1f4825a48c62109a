//! The layer between a connection and S3's operations. It corrects what s3s does differently from S3.
//!
//! A request passes through s3s twice. In the first pass s3s verifies the signature and removes the aws-chunks framing
//! from the body. The adapter then changes what s3s would reject although S3 accepts it. In the second pass s3s parses
//! the request, now without a signature, into the input of an operation. The response is corrected on the way back.

mod answer;
mod aws_chunks;
mod body_error;
mod bucket_settings;
mod cors;
mod documents;
mod faults;
mod post_object;
mod refusal;
mod request_checks;
mod rest;
mod second_pass;
mod signature;
mod version_order;

use std::sync::Arc;

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, CONTENT_RANGE},
};
use s3s::{
    Body, S3, S3Request, S3Response, S3Result,
    auth::S3Auth,
    header::X_AMZ_REQUEST_CHARGED,
    route::S3Route,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};

pub(super) use self::body_error::body_error;
pub(super) use self::bucket_settings::BucketSettings;
use self::{body_error::Watched, refusal::Refusal, rest::Rest};
use super::{
    connection::{Broken, Connection},
    fault::Faults,
    received::{Accepted, VersionOrder},
};

/// Answers requests as S3 does. Cheap to clone.
#[derive(Clone)]
pub(super) struct S3sAdapter {
    /// The first pass, which calls the second.
    s3: S3Service,
    /// The second pass.
    verified: S3Service,
    keys: Arc<dyn S3Auth>,
    buckets: Arc<dyn BucketSettings>,
    faults: Arc<Faults>,
}

impl S3sAdapter {
    pub(super) fn new<B>(backend: B, keys: impl S3Auth + Clone, faults: Arc<Faults>) -> Self
    where
        B: S3 + BucketSettings + Clone,
    {
        let buckets = Arc::new(backend.clone());
        let verified = S3ServiceBuilder::new(backend).build();
        let mut s3 = S3ServiceBuilder::new(Unreached);
        s3.set_auth(keys.clone());
        s3.set_route(SecondPass { s3: verified.clone() });
        Self { s3: s3.build(), verified, keys: Arc::new(keys), buckets, faults }
    }

    /// The response to a request, or [`Broken`] if a fault breaks the connection.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        connection: &Connection,
    ) -> Result<Response<Body>, Broken> {
        match self.faults.strike(request.method(), request.uri()) {
            None => Ok(self.serve(request).await),
            Some(effect) => faults::show(effect, self, request, connection).await,
        }
    }

    async fn serve(&self, request: Request<Body>) -> Response<Body> {
        let asked = answer::Asked::of(&request);
        let origin = cors::Origin::of(&request);
        let (request, rest) = Rest::of(request);
        let form = post_object::boundary(request.headers()).filter(|_| request.method() == Method::POST);
        let mut answer = match (request.method(), form, request_checks::check(&request)) {
            (&Method::OPTIONS, ..) => cors::preflight(&*self.buckets, &request).await,
            (_, _, Some(refusal)) => refusal.answer(),
            (_, Some(boundary), None) => {
                post_object::answer(&self.verified, &*self.keys, request, &boundary).await
            }
            (_, None, None) => pass(&self.s3, aws_chunks::watch(request)).await,
        };
        if rest.is_never_told() || (!answer.status().is_success() && !rest.read().await) {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if answer.status().is_success()
            && asked.says_that_it_pays()
            && self.buckets.requester_pays(&asked.bucket()).await
        {
            answer.headers_mut().insert(X_AMZ_REQUEST_CHARGED, HeaderValue::from_static("requester"));
        }
        if let Some(origin) = origin {
            origin.allow(&*self.buckets, answer.headers_mut()).await;
        }
        asked.finish(answer)
    }
}

/// Calls s3s, which fails only if it cannot write its own XML.
async fn pass(s3: &S3Service, request: Request<Body>) -> Response<Body> {
    s3.call(request).await.unwrap_or_else(|_| Refusal::internal().answer())
}

/// The second pass, for requests whose signature has been verified.
struct SecondPass {
    s3: S3Service,
}

#[async_trait::async_trait]
impl S3Route for SecondPass {
    fn is_match(&self, _: &Method, _: &http::Uri, _: &http::HeaderMap, _: &mut http::Extensions) -> bool {
        true
    }

    async fn check_access(&self, request: &mut S3Request<Body>) -> S3Result<()> {
        match request.credentials {
            Some(_) => Ok(()),
            None => Err(s3_error!(AccessDenied, "Access Denied")),
        }
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let request = documents::checked(second_pass::request(request)?).await?;
        let (request, watched) = Watched::over(request);
        let answer = pass(&self.s3, request).await;
        // s3s returns InternalError if a body that it reads itself breaks off.
        if let Some(error) = watched.error().filter(|_| answer.status().is_server_error()) {
            return Err(error);
        }
        let (mut parts, mut body) = answer.into_parts();
        // s3s sets this status for GetObject but not for HeadObject.
        if parts.status == StatusCode::OK && parts.headers.contains_key(CONTENT_RANGE) {
            parts.status = StatusCode::PARTIAL_CONTENT;
        }
        if let Some(order) = parts.extensions.get::<VersionOrder>() {
            body = version_order::mixed(body, order);
        }
        if parts.extensions.get::<Accepted>().is_some() {
            parts.status = StatusCode::ACCEPTED;
        }
        Ok(S3Response {
            output: body,
            status: Some(parts.status),
            headers: parts.headers,
            extensions: parts.extensions,
        })
    }
}

/// The operations that s3s requires for the first pass. They are never called: its route takes every request.
struct Unreached;

impl S3 for Unreached {}

#[cfg(test)]
mod tests;
