//! Rejects requests that are not gRPC, and metadata that is too large.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE},
    request::Parts,
};
use http_body::Body;
use tower::{Layer, Service};

use super::decision::{OptionalBody, RejectedOr};
use crate::api;

/// The largest metadata of a call, in bytes, as the gRPC documentation recommends.
const LARGEST_METADATA: usize = 16 * 1024;

/// The bytes that HTTP/2 counts for each header in addition to its name and value (RFC 9113, section 6.5.2).
const ENTRY: usize = 32;

const GRPC_ENCODING: &str = "grpc-encoding";

/// Passes on only gRPC requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProtocolLayer;

impl<S> Layer<S> for ProtocolLayer {
    type Service = ProtocolService<S>;

    fn layer(&self, inner: S) -> ProtocolService<S> {
        ProtocolService { inner }
    }
}

/// The service that [`ProtocolLayer`] makes.
#[derive(Debug, Clone)]
pub(super) struct ProtocolService<S> {
    inner: S,
}

impl<S, Q, B> Service<Request<Q>> for ProtocolService<S>
where
    S: Service<Request<Q>, Response = Response<B>, Error = Infallible>,
    S::Future: Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<OptionalBody<B>>;
    type Error = Infallible;
    type Future = RejectedOr<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (head, body) = request.into_parts();
        match rejection(&head) {
            Some(response) => RejectedOr::rejected(response),
            None => RejectedOr::Passed(self.inner.call(Request::from_parts(head, body))),
        }
    }
}

/// The response to a request that is not served; `None` if the request is valid.
fn rejection(head: &Parts) -> Option<Response<()>> {
    if head.method != Method::POST {
        let mut response = http_error(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if !head.headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Some(http_error(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    if header_list_size(&head.method, &head.uri, &head.headers) > LARGEST_METADATA {
        return Some(api::metadata_too_large(&head.extensions, LARGEST_METADATA).into_http());
    }
    let encoding = head.headers.get(GRPC_ENCODING)?.as_bytes();
    let known = api::is_known_encoding(encoding);
    (!known).then(|| api::encoding_unknown(&head.extensions, encoding).into_http())
}

fn http_error(status: StatusCode) -> Response<()> {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// Whether it is `application/grpc` or `application/grpc+proto`, with any parameters. Media types are case-insensitive
/// (RFC 9110, section 8.3.1).
fn is_grpc(content_type: &HeaderValue) -> bool {
    let bytes = content_type.as_bytes();
    let media_type = bytes.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    [&b"application/grpc"[..], b"application/grpc+proto"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known))
}

/// The size of the request's header list in bytes, including pseudo-header fields.
fn header_list_size(method: &Method, uri: &Uri, headers: &HeaderMap) -> usize {
    let entry = |name: usize, value: usize| name + value + ENTRY;
    let pseudo = entry(":method".len(), method.as_str().len())
        + entry(":path".len(), uri.path_and_query().map_or(0, |path| path.as_str().len()))
        + entry(":scheme".len(), uri.scheme_str().map_or(0, str::len))
        + entry(":authority".len(), uri.authority().map_or(0, |authority| authority.as_str().len()));
    headers.iter().map(|(name, value)| entry(name.as_str().len(), value.len())).sum::<usize>() + pseudo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_grpc_media_types_are_accepted_with_parameters() {
        let taken = |text: &'static str| is_grpc(&HeaderValue::from_static(text));
        for good in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC",
            "application/grpc;charset=utf-8",
            "application/grpc+proto ; a=b",
        ] {
            assert!(taken(good), "{good}");
        }
        for bad in [
            "",
            "application/grpc+json",
            "application/grpc-web",
            "application/grpcx",
            "application/json",
            ";",
        ] {
            assert!(!taken(bad), "{bad}");
        }
    }

    #[test]
    fn a_header_list_counts_names_values_and_entries() {
        let request = Request::post("http://host/a.B/C").header("x-a", "1234").body(()).unwrap();
        let (head, ()) = request.into_parts();
        let pseudo = [(":method", "POST"), (":path", "/a.B/C"), (":scheme", "http"), (":authority", "host")];
        let expected: usize = pseudo.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        assert_eq!(header_list_size(&head.method, &head.uri, &head.headers), expected + 3 + 4 + 32);
    }
}
