//! Requests that S3 rejects and that s3s would accept, or would reject with another error.
//!
//! The codes are from <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.

use http::{HeaderMap, Request, StatusCode};
use s3s::{
    Body,
    header::{X_AMZ_CONTENT_SHA256, X_AMZ_DECODED_CONTENT_LENGTH},
};

use super::{
    refusal::Refusal,
    signature::{self, Query},
};

/// The reason to reject a request before any operation runs, if there is one.
pub(super) fn check(request: &Request<Body>) -> Option<Refusal> {
    let (headers, query) = (request.headers(), Query::of(request.uri()));
    signature::refusal(headers, &query).or_else(|| unhashed(headers)).or_else(|| unmeasured(headers))
}

/// Rejects an invalid `x-amz-content-sha256`. s3s would report it as an invalid signature.
fn unhashed(headers: &HeaderMap) -> Option<Refusal> {
    let digest = headers.get(X_AMZ_CONTENT_SHA256)?.as_bytes();
    let hash = digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit);
    (!hash && digest != b"UNSIGNED-PAYLOAD" && !digest.starts_with(b"STREAMING-")).then(|| {
        let message = "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
                       STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid \
                       sha256 value.";
        Refusal::bad("InvalidArgument", message).with("ArgumentName", X_AMZ_CONTENT_SHA256.as_str())
    })
}

/// Rejects an aws-chunked request that does not declare the length of its object:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>.
fn unmeasured(headers: &HeaderMap) -> Option<Refusal> {
    let chunked = super::aws_chunks::declared(headers) && !headers.contains_key(X_AMZ_DECODED_CONTENT_LENGTH);
    chunked.then(|| {
        let message = "You must provide the Content-Length HTTP header.";
        Refusal::new(StatusCode::LENGTH_REQUIRED, "MissingContentLength", message)
            .with("Header", X_AMZ_CONTENT_SHA256.as_str())
    })
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
        let refusal = check(&request.body(Body::empty()).unwrap())?;
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
    fn valid_requests_are_accepted() {
        let header = format!("AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host, Signature=s");
        assert_eq!(code("/b/k", &[("authorization", &header)]), None);
        assert_eq!(code(&presigned("604800", SCOPE), &[]), None);
        assert_eq!(code(&presigned("1", &SCOPE.replace('/', "%2F")), &[]), None);
        assert_eq!(code("/b/k", &[]), None);
        assert_eq!(code("/b/k", &[("content-type", "multipart/form-data; boundary=b")]), None);
    }

    #[test]
    fn signatures_of_other_kinds_are_rejected() {
        let v2 = Some("400 InvalidRequest".to_owned());
        assert_eq!(code("/b/k", &[("authorization", "AWS AK:sig")]), v2);
        assert_eq!(code("/b/k?AWSAccessKeyId=AK&Expires=1&Signature=s", &[]), v2);
        let other = Some("400 InvalidArgument".to_owned());
        assert_eq!(code("/b/k", &[("authorization", "Bearer x")]), other);
        assert_eq!(code("/b/k", &[("authorization", "AWS4-HMAC-SHA512 Credential=x")]), other);
        assert_eq!(code(&presigned("1", SCOPE), &[("authorization", "AWS4-HMAC-SHA256 x")]), other);
    }

    #[test]
    fn a_presigned_url_is_valid_for_at_most_a_week() {
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
    fn another_region_or_service_is_rejected() {
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
    fn an_aws_chunked_request_must_declare_its_length() {
        const CHUNKED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        assert_eq!(code("/b/k", &[CHUNKED]).as_deref(), Some("411 MissingContentLength"));
        assert_eq!(code("/b/k", &[CHUNKED, ("x-amz-decoded-content-length", "0")]), None);
    }
}
