//! Responses as S3 writes them: with a request id, all elements of an error, XML that parsers accept, and no body where
//! none is allowed.

use std::fmt::Write;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use s3s::{Body, header::X_AMZ_REQUEST_PAYER};

use super::{super::received::DETAIL, cors::resource, refusal::escaped};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// S3's messages for the error codes that s3s returns without a message.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const MESSAGES: &[(&str, &str)] = &[
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your key and \
         signing method.",
    ),
    ("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header"),
    ("InternalError", "We encountered an internal error. Please try again."),
    ("InvalidBucketName", "The specified bucket is not valid."),
    ("InvalidURI", "Couldn't parse the specified URI."),
    ("KeyTooLongError", "Your key is too long"),
    (
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    ("MaxMessageLengthExceeded", "Your request was too big."),
    ("MethodNotAllowed", "The specified method is not allowed against this resource."),
    ("MissingContentLength", "You must provide the Content-Length HTTP header."),
    ("MissingRequestBodyError", "Request Body is empty"),
    ("NotImplemented", "A header you provided implies functionality that is not implemented."),
];

/// What a response needs to know about its request.
#[derive(Debug)]
pub(super) struct Asked {
    head: bool,
    /// Whether the operation is GetObjectAttributes, the only one whose XML has an ETag without quotes.
    attributes: bool,
    pays: bool,
    path: String,
    id: String,
}

impl Asked {
    pub(super) fn of(request: &Request<Body>) -> Self {
        Self {
            head: request.method() == Method::HEAD,
            attributes: request.method() == Method::GET
                && request
                    .uri()
                    .query()
                    .is_some_and(|query| query.split('&').any(|pair| pair == "attributes")),
            pays: request.headers().get(X_AMZ_REQUEST_PAYER).is_some_and(|payer| payer == "requester"),
            path: request.uri().path().to_owned(),
            id: format!("{:016X}", fastrand::u64(..)),
        }
    }

    /// Whether the caller says that it pays for the request.
    pub(super) fn says_that_it_pays(&self) -> bool {
        self.pays
    }

    /// The bucket of the request; empty if it names no bucket.
    pub(super) fn bucket(&self) -> String {
        resource(&self.path).0
    }

    /// Corrects the response of an operation or a refusal.
    pub(super) fn finish(&self, mut answer: Response<Body>) -> Response<Body> {
        if let Ok(id) = HeaderValue::from_str(&self.id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        let status = answer.status();
        let details = take_details(answer.headers_mut());
        if status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT {
            without_body(&mut answer);
        } else if self.head {
            // The headers of a success describe the object. Those of an error describe XML that is not sent.
            if status.is_success() {
                *answer.body_mut() = Body::empty();
            } else {
                without_body(&mut answer);
            }
        } else if let Some(xml) = xml_of(&answer) {
            let xml = escape_control(self.unquoted(self.complete(xml, &details)));
            let headers = answer.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            if headers.contains_key(CONTENT_LENGTH) {
                headers.insert(CONTENT_LENGTH, xml.len().into());
            }
            *answer.body_mut() = Body::from(xml);
        }
        answer
    }

    /// Removes the quotes of an ETag where S3 has none: s3s writes every ETag with quotes.
    fn unquoted(&self, xml: Bytes) -> Bytes {
        match std::str::from_utf8(&xml) {
            Ok(text) if self.attributes => {
                text.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>").into()
            }
            _ => xml,
        }
    }

    /// Adds the elements that every S3 error has, if they are missing, and the details of this error.
    fn complete(&self, xml: Bytes, details: &[(String, String)]) -> Bytes {
        const END: &str = "</Error>";
        let Some(inner) = std::str::from_utf8(&xml).ok().and_then(|xml| xml.strip_suffix(END)) else {
            return xml;
        };
        let Some((_, code)) = inner.split_once("<Error><Code>") else { return xml };
        let code = code.split('<').next().unwrap_or_default();
        let mut whole = inner.to_owned();
        let known = MESSAGES.iter().find(|(known, _)| *known == code).map(|(_, message)| *message);
        let common = [
            ("Message", known),
            ("Resource", Some(self.path.as_str())),
            ("RequestId", Some(self.id.as_str())),
        ];
        let common = common.iter().filter_map(|(name, text)| Some((*name, (*text)?)));
        let details = details.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        for (name, text) in common.chain(details) {
            if !inner.contains(&format!("<{name}>")) {
                // Writing to a String cannot fail.
                let _ = write!(whole, "<{name}>{}</{name}>", escaped(text));
            }
        }
        whole.push_str(END);
        whole.into()
    }
}

/// Takes an operation's further error elements, as names and texts, out of the headers.
fn take_details(headers: &mut HeaderMap) -> Vec<(String, String)> {
    let names: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with(DETAIL)).cloned().collect();
    let details = names.into_iter().filter_map(|name| headers.remove(name));
    let texts = details.filter_map(|value| value.to_str().ok().map(str::to_owned));
    texts
        .filter_map(|text| text.split_once(':').map(|(name, text)| (name.to_owned(), text.to_owned())))
        .collect()
}

fn without_body(answer: &mut Response<Body>) {
    *answer.body_mut() = Body::empty();
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer.headers_mut().remove(CONTENT_TYPE);
}

/// The XML that s3s or the adapter has written. It is in memory, whereas objects are streamed. An error with headers of
/// its own has lost its content type, so a missing content type counts as XML.
fn xml_of(answer: &Response<Body>) -> Option<Bytes> {
    let xml = answer.headers().get(CONTENT_TYPE).is_none_or(|found| found == "application/xml");
    answer.body().bytes().filter(|body| xml && body.starts_with(b"<"))
}

/// Writes characters that XML does not allow, or that a parser would change, as character references, as S3 does.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html#object-key-xml-related-constraints>
fn escape_control(xml: Bytes) -> Bytes {
    let raw = |byte: u8| byte < 0x20 && byte != b'\t' && byte != b'\n';
    if !xml.iter().any(|byte| raw(*byte)) {
        return xml;
    }
    let mut escaped = Vec::with_capacity(xml.len() + 64);
    for byte in xml {
        match byte {
            b'\r' => escaped.extend_from_slice(b"&#13;"),
            byte if raw(byte) => escaped.extend_from_slice(format!("&#x{byte:x};").as_bytes()),
            byte => escaped.push(byte),
        }
    }
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str) -> Asked {
        let request = Request::builder().method(method).uri("/b/a%20%26b").body(Body::empty()).unwrap();
        Asked::of(&request)
    }

    fn xml(status: u16, body: &'static str) -> Response<Body> {
        let answer = Response::builder().status(status).header("etag", "\"e\"").header("content-length", "3");
        answer.header("content-type", "application/xml").body(Body::from(Bytes::from(body))).unwrap()
    }

    fn body(answer: Response<Body>) -> String {
        String::from_utf8(answer.into_body().bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn every_response_has_its_own_request_id() {
        let id = || asked("GET").finish(xml(200, "<a/>")).headers()["x-amz-request-id"].clone();
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        let letters = one.to_str().unwrap();
        assert!(letters.len() == 16 && letters.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()));
    }

    #[test]
    fn control_characters_are_escaped_and_the_content_length_is_updated() {
        let answer = asked("GET").finish(xml(200, "<a>\u{1}b\rc\td\n\u{1f}é</a>"));
        assert_eq!(answer.headers()["content-length"], "30");
        assert_eq!(body(answer), "<a>&#x1;b&#13;c\td\n&#x1f;é</a>");
    }

    #[test]
    fn bodies_that_are_not_xml_are_unchanged() {
        let mut answer = xml(200, "<a>\r</a>");
        answer.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
        assert_eq!(body(asked("GET").finish(answer)), "<a>\r</a>");
        assert_eq!(body(asked("GET").finish(xml(200, "{\"a\":\r1}"))), "{\"a\":\r1}");
        let streamed = Body::http_body(http_body_util::Full::new(Bytes::from("<a>\r</a>")));
        let answer = asked("GET").finish(xml(200, "").map(|_| streamed));
        assert!(answer.body().bytes().is_none());
    }

    #[test]
    fn errors_have_all_elements_of_s3_errors() {
        let ask = asked("GET");
        let mut bare = xml(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
        bare.headers_mut().remove("content-type");
        let answer = ask.finish(bare);
        assert_eq!(answer.headers()["content-type"], "application/xml");
        let (id, text) = (answer.headers()["x-amz-request-id"].clone(), body(answer));
        assert!(text.contains("<Message>The request signature we calculated does not match"), "{text}");
        assert!(text.contains("<Resource>/b/a%20%26b</Resource>"), "{text}");
        assert!(
            text.ends_with(&format!("<RequestId>{}</RequestId></Error>", id.to_str().unwrap())),
            "{text}"
        );

        let full = "<Error><Code>InternalError</Code><Message>m</Message><Resource>r</Resource>\
                    <RequestId>i</RequestId></Error>";
        assert_eq!(body(ask.finish(xml(500, full))), full);
    }

    #[test]
    fn responses_that_must_not_have_a_body_have_none() {
        for (method, status) in [("HEAD", 404), ("GET", 304), ("DELETE", 204)] {
            let answer = asked(method).finish(xml(status, "<Error/>"));
            assert_eq!(answer.headers()["etag"], "\"e\"");
            assert!(!answer.headers().contains_key("content-type"));
            assert!(!answer.headers().contains_key("content-length"));
            assert_eq!(body(answer), "");
        }
        let answer = asked("HEAD").finish(xml(200, "<a/>"));
        assert_eq!(answer.headers()["content-length"], "3");
        assert_eq!(body(answer), "");
    }
}
