//! What S3 refuses by itself and s3s would not, or not with S3's words.
//!
//! Codes are those of <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use std::fmt::Write;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use percent_encoding::percent_decode_str;
use s3s::{
    Body,
    header::{X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH},
};

use super::super::fault::Failure;

/// The one region that there is.
const REGION: &str = "us-east-1";

/// Seven days. <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const LONGEST_PRESIGNED: u64 = 604_800;

/// An error in S3's form.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    /// Further elements beside the message.
    details: Vec<(&'static str, String)>,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self { status, code, message, details: Vec::new(), retry_after: None }
    }

    /// What is wrong with a request before any operation is looked at, if anything.
    pub(super) fn of(request: &Request<Body>) -> Option<Self> {
        let (headers, query) = (request.headers(), Query::of(request.uri()));
        form(request.method(), headers)
            .or_else(|| signature_v2(headers, &query))
            .or_else(|| two_signatures(headers, &query))
            .or_else(|| unknown_authorization(headers))
            .or_else(|| presigned(&query))
            .or_else(|| wrong_scope(headers, &query))
            .or_else(|| unmeasured(headers))
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
            // Writing to a String does not fail.
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

    fn bad(code: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let retry_after = failure.retry_after;
        Self { retry_after, ..Self::new(failure.status, &failure.code, failure.message) }
    }
}

/// Markup made text.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A decoded query, of which s3s looks at names exactly as they are.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(uri: &Uri) -> Self {
        let decoded =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = uri.query().unwrap_or_default().split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// s3s would take PostObject's form, with up to 5 GiB of it in memory. Neither Longshore nor any SDK sends
/// forms: they are for browsers.
fn form(method: &Method, headers: &HeaderMap) -> Option<Refusal> {
    let form = headers.get_all(CONTENT_TYPE).iter().any(|value| {
        value.as_bytes().to_ascii_lowercase().trim_ascii_start().starts_with(b"multipart/form-data")
    });
    (method == Method::POST && form).then(|| {
        let message = "A header you provided implies functionality that is not implemented.";
        Refusal::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", message).with("Header", "Content-Type")
    })
}

/// S3's regions newer than 2014 know SigV4 only, and say so in these words; s3s would take SigV2.
fn signature_v2(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_header = authorization(headers).any(|value| value.starts_with("AWS "));
    let in_query = query.has("AWSAccessKeyId") && query.has("Signature");
    (in_header || in_query).then(|| {
        let message =
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
        Refusal::bad("InvalidRequest", message)
    })
}

fn two_signatures(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_query = query.has("X-Amz-Algorithm") || query.has("X-Amz-Signature");
    let value = authorization(headers).next().filter(|_| in_query)?;
    let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                   string parameter or the Authorization header should be specified";
    let name = Refusal::bad("InvalidArgument", message).with("ArgumentName", "Authorization");
    // The value without the signature in it.
    Some(name.with("ArgumentValue", value.split_whitespace().next().unwrap_or_default()))
}

/// s3s looks at what follows the name of the algorithm only.
fn unknown_authorization(headers: &HeaderMap) -> Option<Refusal> {
    authorization(headers).any(|value| !value.starts_with("AWS4-HMAC-SHA256 ")).then(|| {
        Refusal::bad("InvalidArgument", "Unsupported Authorization Type")
            .with("ArgumentName", "Authorization")
    })
}

/// s3s takes any number of seconds.
fn presigned(query: &Query) -> Option<Refusal> {
    const PARTS: [&str; 6] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Signature",
        "X-Amz-Date",
        "X-Amz-SignedHeaders",
        "X-Amz-Expires",
    ];
    let refused = |message: String| Some(Refusal::bad("AuthorizationQueryParametersError", message));
    if !query.has("X-Amz-Algorithm") && !query.has("X-Amz-Signature") {
        return None;
    }
    if !PARTS.iter().all(|part| query.has(part)) {
        let parts = PARTS[..5].join(", ");
        let last = PARTS[5];
        return refused(format!(
            "Query-string authentication version 4 requires the {parts}, and {last} parameters."
        ));
    }
    let expires = query.value("X-Amz-Expires").unwrap_or_default();
    match expires.parse::<i64>().map(u64::try_from) {
        Err(_) => refused("X-Amz-Expires should be a number".to_owned()),
        Ok(Err(_) | Ok(0)) => refused("X-Amz-Expires must be non-negative".to_owned()),
        Ok(Ok(seconds)) if seconds > LONGEST_PRESIGNED => refused(format!(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be \
             less than {LONGEST_PRESIGNED} seconds"
        )),
        Ok(Ok(_)) => None,
    }
}

/// s3s takes a signature for any region, and one for STS.
fn wrong_scope(headers: &HeaderMap, query: &Query) -> Option<Refusal> {
    let in_header = authorization(headers).find_map(|value| {
        value.split([',', ' ']).find_map(|part| part.strip_prefix("Credential=")).map(str::to_owned)
    });
    let (scope, code, prefix) = match in_header {
        Some(scope) => (scope, "AuthorizationHeaderMalformed", "The authorization header is malformed"),
        None => (
            query.value("X-Amz-Credential")?.to_owned(),
            "AuthorizationQueryParametersError",
            "Error parsing the X-Amz-Credential parameter",
        ),
    };
    // From the right: an access key id may have a slash in it.
    let mut parts = scope.rsplit('/').skip(1);
    let (service, region) = (parts.next()?, parts.next()?);
    if region != REGION {
        let message = format!("{prefix}; the region '{region}' is wrong; expecting '{REGION}'");
        return Some(Refusal::bad(code, message).with("Region", REGION));
    }
    (service != "s3").then(|| {
        let message = format!("{prefix}; incorrect service \"{service}\". This endpoint belongs to \"s3\".");
        Refusal::bad(code, message)
    })
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>: every aws-chunked request says
/// how long its object is.
fn unmeasured(headers: &HeaderMap) -> Option<Refusal> {
    let chunked = super::aws_chunks::declared(headers) && !headers.contains_key(X_AMZ_DECODED_CONTENT_LENGTH);
    chunked.then(|| {
        let message = "You must provide the Content-Length HTTP header.";
        Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message)
            .with("Header", X_AMZ_CONTENT_SHA256.as_str())
    })
}

fn authorization(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // What is no text cannot begin as a known scheme does.
    headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "AK/20260101/us-east-1/s3/aws4_request";

    fn refusal(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<(u16, String, String)> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let refusal = Refusal::of(&request.body(Body::empty()).unwrap())?;
        Some((refusal.status.as_u16(), refusal.code, refusal.message))
    }

    fn code(uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        refusal("GET", uri, headers).map(|(status, code, _)| format!("{status} {code}"))
    }

    fn presigned(expires: &str, scope: &str) -> String {
        format!(
            "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={scope}&X-Amz-Date=d&X-Amz-Expires={expires}\
             &X-Amz-SignedHeaders=host&X-Amz-Signature=s"
        )
    }

    #[test]
    fn nothing_is_wrong_with_usual_requests() {
        let header = format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=s");
        assert_eq!(code("/b/k", &[("authorization", &header)]), None);
        assert_eq!(code(&presigned("604800", SCOPE), &[]), None);
        assert_eq!(code(&presigned("1", &SCOPE.replace('/', "%2F")), &[]), None);
        assert_eq!(code("/b/k", &[]), None);
        assert_eq!(code("/b/k", &[("content-type", "multipart/form-data; boundary=b")]), None);
    }

    #[test]
    fn forms_and_signatures_of_other_kinds_are_refused() {
        let form = refusal("POST", "/b", &[("content-type", "Multipart/Form-Data; boundary=b")]).unwrap();
        assert_eq!((form.0, &*form.1), (501, "NotImplemented"));
        let v2 = Some("400 InvalidRequest".to_owned());
        assert_eq!(code("/b/k", &[("authorization", "AWS AK:sig")]), v2);
        assert_eq!(code("/b/k?AWSAccessKeyId=AK&Expires=1&Signature=s", &[]), v2);
        let other = Some("400 InvalidArgument".to_owned());
        assert_eq!(code("/b/k", &[("authorization", "Bearer x")]), other);
        assert_eq!(code("/b/k", &[("authorization", "AWS4-HMAC-SHA512 Credential=x")]), other);
        assert_eq!(code(&presigned("1", SCOPE), &[("authorization", "AWS4-HMAC-SHA256 x")]), other);
    }

    #[test]
    fn a_presigned_url_is_good_for_a_week_at_most() {
        for expires in ["604801", "691200", "0", "-1", "soon", "", "99999999999999999999"] {
            let code = code(&presigned(expires, SCOPE), &[]);
            assert_eq!(code.as_deref(), Some("400 AuthorizationQueryParametersError"), "{expires}");
        }
        let part = presigned("1", SCOPE).replace("X-Amz-Date", "date");
        let (_, _, message) = refusal("GET", &part, &[]).unwrap();
        assert_eq!(
            message,
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
             X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        );
    }

    #[test]
    fn another_region_or_service_is_refused() {
        let header = |from: &str, to: &str| {
            let scope = SCOPE.replace(from, to);
            let header = format!("AWS4-HMAC-SHA256 Credential={scope},SignedHeaders=host,Signature=s");
            refusal("GET", "/b/k", &[("authorization", &header)]).unwrap()
        };
        assert_eq!(
            header("us-east-1", "eu-west-1"),
            (
                400,
                "AuthorizationHeaderMalformed".to_owned(),
                "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-1'"
                    .to_owned()
            )
        );
        assert_eq!(header("/s3/", "/sts/").1, "AuthorizationHeaderMalformed");
        let other = presigned("1", &SCOPE.replace("us-east-1", "eu-west-1"));
        assert_eq!(code(&other, &[]).as_deref(), Some("400 AuthorizationQueryParametersError"));
    }

    #[test]
    fn an_aws_chunked_body_says_how_long_it_is() {
        const CHUNKED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(code("/b/k", &[CHUNKED]).as_deref(), Some("411 MissingContentLength"));
        assert_eq!(code("/b/k", &[CHUNKED, ("x-amz-decoded-content-length", "0")]), None);
    }

    #[tokio::test]
    async fn what_callers_send_is_no_markup_in_the_answer() {
        let answer = Refusal::bad("A", "<&>").with("B", "</B>").answer();
        let body = answer.into_body().bytes().unwrap();
        assert_eq!(
            body,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>A</Code><Message>&lt;&amp;&gt;</Message>\
             <B>&lt;/B&gt;</B></Error>"
        );
    }
}
