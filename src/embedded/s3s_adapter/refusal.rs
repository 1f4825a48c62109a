//! Error responses in S3's form: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::fmt::Write;

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use s3s::Body;

use super::super::fault::InjectedError;

/// An error in S3's form.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) message: String,
    /// Further XML elements after the message.
    details: Vec<(&'static str, String)>,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self { status, code, message, details: Vec::new(), retry_after: None }
    }

    pub(super) fn internal() -> Self {
        let message = "We encountered an internal error. Please try again.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
    }

    pub(super) fn with(mut self, element: &'static str, text: impl Into<String>) -> Self {
        self.details.push((element, text.into()));
        self
    }

    pub(super) fn answer(self) -> Response<Body> {
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>");
        let elements = [("Code", self.code), ("Message", self.message)];
        for (name, text) in elements.into_iter().chain(self.details) {
            // Writing to a String cannot fail.
            let _ = write!(xml, "<{name}>{}</{name}>", escaped(&text));
        }
        xml.push_str("</Error>");
        let mut answer = Response::new(Body::from(xml));
        *answer.status_mut() = self.status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        answer
    }

    pub(super) fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl From<InjectedError> for Refusal {
    fn from(failure: InjectedError) -> Self {
        let retry_after = failure.retry_after;
        Self { retry_after, ..Self::new(failure.status, &failure.code, failure.message) }
    }
}

/// Escapes the markup in a text.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn text_from_callers_is_escaped_in_the_response() {
        let answer = Refusal::bad("A", "<&>").with("B", "</B>").answer();
        let body = answer.into_body().bytes().unwrap();
        assert_eq!(
            body,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>A</Code><Message>&lt;&amp;&gt;</Message>\
             <B>&lt;/B&gt;</B></Error>"
        );
    }
}
