//! Responses other than objects.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{Response, StatusCode, header::CONTENT_TYPE};

use super::body::ObjectBody;

/// A response of the backend.
pub(super) type Answer = Response<Either<Full<Bytes>, ObjectBody>>;

pub(super) fn text(text: String) -> Answer {
    Response::new(Either::Left(Full::from(text)))
}

pub(super) fn xml(text: String) -> Answer {
    let mut answer = self::text(text);
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/xml"));
    answer
}

pub(super) fn no_content() -> Answer {
    status(StatusCode::NO_CONTENT, String::new())
}

pub(super) fn unknown() -> Answer {
    let text = "<Error><Code>NotImplemented</Code><Message>The benchmark's backend does not implement this request.</Message></Error>";
    status(StatusCode::NOT_IMPLEMENTED, text.to_owned())
}

pub(super) fn no_such_key() -> Answer {
    let text = "<Error><Code>NoSuchKey</Code><Message>Keys must end with a size in bytes.</Message></Error>";
    status(StatusCode::NOT_FOUND, text.to_owned())
}

pub(super) fn invalid(message: &str) -> Answer {
    let text = format!("<Error><Code>InvalidArgument</Code><Message>{message}</Message></Error>");
    status(StatusCode::BAD_REQUEST, text)
}

fn status(status: StatusCode, text: String) -> Answer {
    let mut answer = xml(text);
    *answer.status_mut() = status;
    answer
}
