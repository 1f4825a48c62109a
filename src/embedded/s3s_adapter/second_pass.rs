//! The request of the second pass: without its signature, and without what s3s would reject although S3 accepts it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri,
    header::{
        AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, EXPIRES, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
        IF_UNMODIFIED_SINCE, RANGE,
    },
    uri::PathAndQuery,
};
use percent_encoding::percent_decode;
use s3s::{
    Body, S3Request, S3Result,
    dto::{Range, Timestamp, TimestampFormat},
    header::{
        X_AMZ_CONTENT_SHA256, X_AMZ_COPY_SOURCE_IF_MATCH, X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE,
        X_AMZ_COPY_SOURCE_IF_NONE_MATCH, X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE, X_AMZ_DECODED_CONTENT_LENGTH,
    },
    s3_error,
};

use super::super::received::Received;

/// The query parameters that make up a signature.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
const SIGNATURE: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-content-sha256",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Headers that operations read from [`Received`]. s3s parses a single entity tag where S3 accepts a list, and rejects
/// dates that a server must ignore (RFC 9110, 13.1.3 and 13.1.4).
const CONDITIONS: [HeaderName; 8] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    X_AMZ_COPY_SOURCE_IF_MATCH,
    X_AMZ_COPY_SOURCE_IF_NONE_MATCH,
    X_AMZ_COPY_SOURCE_IF_MODIFIED_SINCE,
    X_AMZ_COPY_SOURCE_IF_UNMODIFIED_SINCE,
];

/// Turns a request whose signature s3s has verified into the request for the second pass (see the parent module).
pub(super) fn request(signed: S3Request<Body>) -> S3Result<Request<Body>> {
    let mut headers = signed.headers;
    let uri = match unhoist(&signed.uri, &mut headers) {
        Some(path) => with_path_and_query(signed.uri, path)?,
        None => signed.uri,
    };
    set_decoded_length(&mut headers);
    let received = Received { headers: headers.clone(), trailers: signed.trailing_headers, sizes: None };
    adapt_headers(&mut headers);

    let mut request = Request::new(signed.input);
    *request.method_mut() = signed.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    *request.extensions_mut() = signed.extensions;
    request.extensions_mut().insert(received);
    Ok(request)
}

/// The path and query without the signature, if the URL is presigned. Every other `x-amz-*` parameter becomes a header
/// again, since AWS's SDKs move headers into the query when they presign.
fn unhoist(uri: &Uri, headers: &mut HeaderMap) -> Option<String> {
    let query = uri.query()?;
    let pairs = || query.split('&').map(|pair| (pair, name_and_value(pair)));
    pairs().find(|(_, (name, _))| name == b"x-amz-signature")?;
    let mut kept = Vec::new();
    for (pair, (name, value)) in pairs() {
        if !name.starts_with(b"x-amz-") {
            kept.push(pair);
        } else if !SIGNATURE.iter().any(|part| part.as_bytes() == name)
            && let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&name), HeaderValue::from_bytes(&value))
        {
            // The parameter is signed. A header with the same name is not, so it is replaced.
            headers.insert(name, value);
        }
    }
    let path = uri.path();
    Some(if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) })
}

/// The name and value of a parameter, decoded as in s3s, so that both see the same names. The name is in lower case.
fn name_and_value(pair: &str) -> (Vec<u8>, Vec<u8>) {
    let decoded = |text: &str| percent_decode(text.replace('+', " ").as_bytes()).collect::<Vec<_>>();
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (decoded(name).to_ascii_lowercase(), decoded(value))
}

fn with_path_and_query(uri: Uri, path: String) -> S3Result<Uri> {
    let mut parts = uri.into_parts();
    let path = PathAndQuery::try_from(path).map_err(|error| s3_error!(error, InvalidURI))?;
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).map_err(|error| s3_error!(error, InvalidURI))
}

/// Sets `Content-Length` to the length of the data in an aws-chunked body. s3s would compare that length with a
/// `Content-Length` that includes the framing, or that is missing because the transfer encoding is chunked.
fn set_decoded_length(headers: &mut HeaderMap) {
    let chunked =
        headers.get(X_AMZ_CONTENT_SHA256).is_some_and(|digest| digest.as_bytes().starts_with(b"STREAMING-"));
    if chunked && let Some(length) = headers.get(X_AMZ_DECODED_CONTENT_LENGTH).cloned() {
        headers.insert(CONTENT_LENGTH, length);
    }
}

/// Removes or changes the headers that s3s does not treat as S3 does.
fn adapt_headers(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    for name in &CONDITIONS {
        headers.remove(name);
    }
    join_repeated(headers);
    remove_aws_chunked(headers);
    // S3 ignores a range that it cannot parse, and returns the whole object (RFC 9110, 14.2).
    // s3s parses `bytes=-` as the last zero bytes.
    remove_unless(headers, RANGE, |range| range != "bytes=-" && Range::parse(range).is_ok());
    // S3 stores any text as `Expires`. Operations read it from `Received`.
    remove_unless(headers, EXPIRES, |date| Timestamp::parse(TimestampFormat::HttpDate, date).is_ok());
}

/// Joins repeated headers into one list (RFC 9110, 5.2), since s3s rejects repeated headers.
fn join_repeated(headers: &mut HeaderMap) {
    let repeated: Vec<HeaderName> =
        headers.keys().filter(|name| headers.get_all(*name).iter().count() > 1).cloned().collect();
    for name in repeated {
        let values: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(list) = HeaderValue::from_bytes(&values.join(&b","[..])) {
            headers.insert(name, list);
        }
    }
}

/// Removes `aws-chunked`, which describes the transfer: S3 stores the content encoding without it.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>
fn remove_aws_chunked(headers: &mut HeaderMap) {
    let Some(encoding) = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else { return };
    let kept: Vec<&str> = encoding
        .split(',')
        .map(str::trim)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    if kept.is_empty() {
        headers.remove(CONTENT_ENCODING);
    } else if encoding.to_ascii_lowercase().contains("aws-chunked")
        && let Ok(kept) = HeaderValue::from_str(&kept.join(","))
    {
        headers.insert(CONTENT_ENCODING, kept);
    }
}

fn remove_unless(headers: &mut HeaderMap, name: HeaderName, good: impl Fn(&str) -> bool) {
    let refused = headers.get(&name).is_some_and(|value| !value.to_str().is_ok_and(good));
    if refused {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(uri: &str, headers: &[(&'static str, &'static str)]) -> Request<Body> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        request(S3Request {
            input: Body::empty(),
            method: http::Method::PUT,
            uri: uri.parse().unwrap(),
            headers: map,
            extensions: http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        })
        .unwrap()
    }

    #[test]
    fn a_query_without_a_signature_is_unchanged() {
        const URI: &str = "/b/a%20b?prefix=a+b%2Fc&x-amz-acl=private&&X-Amz-Date=1";
        assert_eq!(second(URI, &[]).uri().to_string(), URI);
        assert!(!second(URI, &[]).headers().contains_key("x-amz-acl"));
    }

    #[test]
    fn only_the_signature_and_headers_are_removed_from_a_presigned_query() {
        let request = second(
            "/b/a%20b?uploadId=a%2Bb+c&X-Amz-Signature=0&x-id=PutObject&X-Amz-Meta-Name=a%20b&acl\
             &X-Amz%2DDate=1&x-amz-checksum-crc32=AAAAAA%3D%3D&X-Amz-Credential=c&X-Amz-SignedHeaders=host",
            &[("x-amz-meta-name", "unsigned"), ("host", "h")],
        );
        assert_eq!(request.uri().to_string(), "/b/a%20b?uploadId=a%2Bb+c&x-id=PutObject&acl");
        let received = &request.extensions().get::<Received>().unwrap().headers;
        for headers in [request.headers(), received] {
            assert_eq!(headers["x-amz-meta-name"], "a b");
            assert_eq!(headers["x-amz-checksum-crc32"], "AAAAAA==");
            assert_eq!(headers.len(), 3);
        }
        assert_eq!(second("/b?X-Amz-Signature=0", &[]).uri(), "/b");
    }

    #[test]
    fn conditions_and_the_signature_are_only_in_the_received_headers() {
        const ALL: &[(&str, &str)] = &[
            ("authorization", "AWS4"),
            ("if-match", "\"a\", \"b\""),
            ("if-none-match", "*"),
            ("if-modified-since", "yesterday"),
            ("if-unmodified-since", "today"),
            ("x-amz-copy-source-if-match", "x"),
            ("x-amz-copy-source-if-none-match", "x"),
            ("x-amz-copy-source-if-modified-since", "x"),
            ("x-amz-copy-source-if-unmodified-since", "x"),
        ];
        let request = second("/b/k", ALL);
        assert!(request.headers().is_empty());
        assert_eq!(request.extensions().get::<Received>().unwrap().headers.len(), ALL.len());
    }

    #[test]
    fn ranges_and_dates_that_s3s_would_reject_are_removed() {
        const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
        for range in ["bytes=0-4", "bytes=5-", "bytes=-3", "bytes=-0"] {
            assert_eq!(second("/b/k", &[("range", range)]).headers()["range"], range);
        }
        for range in ["bytes=4-0", "bytes=0-1,3-4", "items=0-1", "bytes=a-b", "bytes=", "bytes=-", "0-1"] {
            assert!(!second("/b/k", &[("range", range)]).headers().contains_key("range"), "{range}");
        }
        assert!(
            !second("/b/k", &[("range", "bytes=0-1"), ("range", "bytes=3-4")])
                .headers()
                .contains_key("range")
        );

        assert_eq!(second("/b/k", &[("expires", DATE)]).headers()["expires"], DATE);
        let request = second("/b/k", &[("expires", "0")]);
        assert!(!request.headers().contains_key("expires"));
        assert_eq!(request.extensions().get::<Received>().unwrap().headers["expires"], "0");
    }

    #[test]
    fn aws_chunks_do_not_affect_the_length_and_encoding_of_the_object() {
        const CHUNKED: (&str, &str) = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        const LENGTHS: [(&str, &str); 2] = [("content-length", "99"), ("x-amz-decoded-content-length", "5")];
        let request = second("/b/k", &[CHUNKED, LENGTHS[0], LENGTHS[1], ("content-encoding", "aws-chunked")]);
        assert_eq!(request.headers()["content-length"], "5");
        assert!(!request.headers().contains_key("content-encoding"));
        assert_eq!(second("/b/k", &[CHUNKED, LENGTHS[1]]).headers()["content-length"], "5");
        assert_eq!(second("/b/k", &LENGTHS).headers()["content-length"], "99");

        let encoding =
            |value| second("/b/k", &[("content-encoding", value)]).headers()["content-encoding"].clone();
        assert_eq!(encoding("aws-chunked, gzip"), "gzip");
        assert_eq!(encoding("gzip,aws-chunked,br"), "gzip,br");
        assert_eq!(encoding("gzip, br"), "gzip, br");
    }

    #[test]
    fn repeated_headers_are_joined_into_a_list() {
        let request = second("/b/k", &[("x-amz-meta-a", "1"), ("x-amz-meta-a", "2"), ("x-amz-meta-b", "3")]);
        let values: Vec<_> = request.headers().get_all("x-amz-meta-a").iter().collect();
        assert_eq!(values, ["1,2"]);
        assert_eq!(request.headers()["x-amz-meta-b"], "3");
    }
}
