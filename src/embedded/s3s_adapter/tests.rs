mod support;

use std::{fmt::Write, io::ErrorKind, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Method, StatusCode};
use md5::Md5;
use s3s::dto::{CORSRule, Range};
use sha2::{Digest, Sha256};

use self::support::{Answer, Call, KEY, OTHER_KEY, SIZE, Server};
use super::super::fault::{Effect, Fault, InjectedError, Requests};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn only_known_keys_can_sign() {
    let server = Server::start().await;
    let ask = async |key| server.ask(&Call { key, ..Call::new("GET", "/demo/k") }).await.error();
    assert_eq!(ask(KEY).await, "200 ");
    assert_eq!(ask(OTHER_KEY).await, "200 ");
    assert_eq!(ask((KEY.0, OTHER_KEY.1)).await, "403 SignatureDoesNotMatch");
    let unknown = server.ask(&Call { key: ("NOBODY", "x"), ..Call::new("GET", "/demo/k") }).await;
    assert_eq!(unknown.error(), "403 InvalidAccessKeyId");
    let text = String::from_utf8(unknown.body).unwrap();
    assert!(text.contains("The AWS Access Key Id you provided does not exist in our records."), "{text}");
    assert!(text.contains("<Resource>/demo/k</Resource>"), "{text}");
    let anonymous = server.send("GET /demo/k HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n", b"").await;
    assert_eq!(anonymous.error(), "403 AccessDenied");
    assert_eq!(anonymous.header("x-amz-request-id").map(str::len), Some(16));
    assert_eq!(server.stub.operations(), ["get", "get"]);
}

#[tokio::test]
async fn rejected_requests_do_not_reach_an_operation() {
    let server = Server::start().await;
    let v2 = "GET /demo/k HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: AWS FIRST:x\r\n\r\n";
    assert_eq!(server.send(v2, b"").await.error(), "400 InvalidRequest");
    let form = Call::new("POST", "/demo").header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(server.ask(&form).await.error(), "400 MalformedPOSTRequest");
    let region = Call { region: "eu-west-1", ..Call::new("GET", "/demo/k") };
    let refused = server.ask(&region).await;
    assert_eq!(refused.error(), "400 AuthorizationHeaderMalformed");
    assert!(String::from_utf8(refused.body).unwrap().contains("<Region>us-east-1</Region>"));
    let presigned = |days| Call { expires: Some(days * DAY), ..Call::new("GET", "/demo/k") };
    assert_eq!(server.ask(&presigned(8)).await.error(), "400 AuthorizationQueryParametersError");
    assert!(server.stub.operations().is_empty());
    assert_eq!(server.ask(&presigned(7)).await.error(), "200 ");
}

#[tokio::test]
async fn an_invalid_range_is_ignored() {
    let server = Server::start().await;
    for (range, wanted) in [
        ("bytes=1-2", Some(Range::Int { first: 1, last: Some(2) })),
        ("bytes=4-0", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
    ] {
        assert_eq!(server.ask(&Call::new("GET", "/demo/k").header("range", range)).await.error(), "200 ");
        assert_eq!(server.stub.last().range, wanted, "{range}");
        assert_eq!(server.stub.last().received["range"], range);
    }
}

#[tokio::test]
async fn conditions_reach_operations_unchanged() {
    let server = Server::start().await;
    let call = Call::new("GET", "/demo/k")
        .header("if-none-match", "\"a\", W/\"b\"")
        .header("if-modified-since", "yesterday");
    assert_eq!(server.ask(&call).await.error(), "200 ");
    let received = server.stub.last().received;
    assert_eq!(received["if-none-match"], "\"a\", W/\"b\"");
    assert_eq!(received["if-modified-since"], "yesterday");
}

#[tokio::test]
async fn a_presigned_url_carries_headers_in_its_query() {
    let server = Server::start().await;
    let target = "/demo/a%20b?x-amz-meta-colour=light%20blue&x-id=PutObject";
    let call = Call { expires: Some(DAY), ..Call::new("PUT", target).body("hello") };
    assert_eq!(server.ask(&call).await.error(), "200 ");
    let seen = server.stub.last();
    assert_eq!(seen.metadata["colour"], "light blue");
    assert_eq!(seen.received["x-amz-meta-colour"], "light blue");
    assert_eq!((seen.body.as_slice(), seen.length), (&b"hello"[..], Some(5)));

    let (head, _) = server.signed(&call);
    let forged = head.replace("light%20blue", "red");
    assert_eq!(server.send(&forged, b"hello").await.error(), "403 SignatureDoesNotMatch");
}

fn crc32(bytes: &[u8]) -> String {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, bytes);
    BASE64_STANDARD.encode(u32::try_from(crc).unwrap().to_be_bytes())
}

/// The request with its data in aws-chunks of this kind. They are signed if the kind requires it.
fn chunked<'a>(server: &Server, call: &Call<'a>, kind: &'a str, data: &[&[u8]], length: &'a str) -> Call<'a> {
    let trailer = kind.ends_with("-TRAILER");
    let mut call = Call { payload: kind, ..call.clone() }
        .header("content-encoding", "aws-chunked,gzip")
        .header("x-amz-decoded-content-length", length);
    if trailer {
        call = call.header("x-amz-trailer", "x-amz-checksum-crc32");
    }
    let signed = kind.starts_with(SIGNED);
    let (_, mut signature) = server.signed(&call);
    let mut body = String::new();
    for part in data.iter().chain([&&b""[..]]) {
        write!(body, "{:x}", part.len()).unwrap();
        if signed {
            signature = call.sign_next("PAYLOAD", &signature, part);
            write!(body, ";chunk-signature={signature}").unwrap();
        }
        body.push_str("\r\n");
        body.push_str(std::str::from_utf8(part).unwrap());
        if !part.is_empty() {
            body.push_str("\r\n");
        }
    }
    if trailer {
        let line = format!("x-amz-checksum-crc32:{}", crc32(&data.concat()));
        write!(body, "{line}\r\n").unwrap();
        if signed {
            let signature = call.sign_next("TRAILER", &signature, format!("{line}\n").as_bytes());
            write!(body, "x-amz-trailer-signature:{signature}\r\n").unwrap();
        }
    }
    body.push_str("\r\n");
    call.body(body)
}

const SIGNED: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const KINDS: [&str; 3] =
    [SIGNED, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"];

#[tokio::test]
async fn aws_chunks_are_decoded() {
    let server = Server::start().await;
    let data = [vec![b'a'; 8192], b"\r\nb".to_vec()];
    for kind in KINDS {
        let call = chunked(&server, &Call::new("PUT", "/demo/k"), kind, &[&data[0], &data[1]], "8195");
        assert_eq!(server.ask(&call).await.error(), "200 ", "{kind}");
        let seen = server.stub.last();
        assert_eq!(seen.body, data.concat());
        assert_eq!(seen.length, Some(8195));
        assert_eq!(seen.encoding.as_deref(), Some("gzip"));
        assert_eq!(seen.received["content-encoding"], "aws-chunked,gzip");
        let trailer = seen.trailers.map(|trailers| trailers["x-amz-checksum-crc32"].clone());
        assert_eq!(trailer.is_some_and(|crc| crc == crc32(&data.concat()).as_str()), kind != SIGNED);
    }
}

#[tokio::test]
async fn broken_aws_chunks_are_rejected() {
    let server = Server::start().await;
    for kind in KINDS {
        let put = Call::new("PUT", "/demo/k");
        let whole = chunked(&server, &put, kind, &[b"hello"], "5");
        let until = |text: &[u8]| {
            let at = whole.body.windows(text.len()).position(|window| window == text).unwrap();
            whole.body[..at + text.len()].to_vec()
        };
        let unfinished = whole.clone().body(until(b"hello\r\n"));
        assert_eq!(server.ask(&unfinished).await.error(), "400 IncompleteBody", "{kind}");
        let within = whole.clone().body(until(b"hel"));
        assert_eq!(server.ask(&within).await.error(), "400 IncompleteBody", "{kind}");

        let small = chunked(&server, &put, kind, &[b"hello", b"hello"], "10");
        assert_eq!(server.ask(&small).await.error(), "400 InvalidChunkSizeError", "{kind}");
        let large = whole.clone().body("1000001\r\n");
        let refused =
            if kind.starts_with(SIGNED) { "400 InvalidChunkSizeError" } else { "400 IncompleteBody" };
        assert_eq!(server.ask(&large).await.error(), refused, "{kind}");

        let forged = String::from_utf8(whole.body.clone()).unwrap().replace("hello", "jello");
        let forged = whole.clone().body(forged);
        let refused = if kind.starts_with(SIGNED) { "403 SignatureDoesNotMatch" } else { "200 " };
        assert_eq!(server.ask(&forged).await.error(), refused, "{kind}");
    }
    assert_eq!(server.stub.operations(), ["put"]);
}

#[tokio::test]
async fn an_unsigned_chunk_may_be_the_whole_object() {
    let server = Server::start().await;
    let data = vec![b'a'; 17 << 20];
    let length = data.len().to_string();
    let call = chunked(&server, &Call::new("PUT", "/demo/k"), KINDS[2], &[&data], &length);
    assert_eq!(server.ask(&call).await.error(), "200 ");
    assert!(server.stub.last().body == data);
}

#[tokio::test]
async fn documents_may_be_aws_chunked_and_their_errors_are_reported() {
    const XML: &str = "<Delete><Object><Key>gone</Key></Object></Delete>";
    let server = Server::start().await;
    let md5 = BASE64_STANDARD.encode(Md5::digest(XML));
    let post = Call::new("POST", "/demo?delete").header("content-md5", &md5);
    let length = XML.len().to_string();
    for kind in KINDS {
        let call = chunked(&server, &post, kind, &[XML.as_bytes()], &length);
        assert_eq!(server.ask(&call).await.error(), "200 ", "{kind}");
        assert_eq!(server.stub.last().body, b"gone");
        let forged = String::from_utf8(call.body.clone()).unwrap().replace("gone", "kept");
        let refused = if kind.starts_with(SIGNED) { "403 SignatureDoesNotMatch" } else { "400 BadDigest" };
        assert_eq!(server.ask(&call.body(forged)).await.error(), refused, "{kind}");
    }
    let digest = hex::encode(Sha256::digest(XML));
    let call = Call { payload: &digest, ..post.body(XML) };
    assert_eq!(server.ask(&call).await.error(), "200 ");
    let other = call.body(XML.replace("gone", "kept"));
    assert_eq!(server.ask(&other).await.error(), "400 XAmzContentSHA256Mismatch");
    assert_eq!(server.stub.operations().len(), 4);
}

#[tokio::test]
async fn documents_are_verified_against_their_headers() {
    const XML: &str = "<Delete><Object><Key>gone</Key></Object></Delete>";
    let server = Server::start().await;
    let (md5, crc) = (BASE64_STANDARD.encode(Md5::digest(XML)), crc32(XML.as_bytes()));
    for (name, right, wrong) in
        [("content-md5", &*md5, "1B2M2Y8AsgTpgAmY7PhCfg=="), ("x-amz-checksum-crc32", &*crc, "AAAAAA==")]
    {
        let post = |value| Call::new("POST", "/demo?delete").header(name, value).body(XML);
        assert_eq!(server.ask(&post(right)).await.error(), "200 ");
        assert_eq!(server.ask(&post(wrong)).await.error(), "400 BadDigest");
    }
    let bare = Call::new("POST", "/demo?delete").body(XML);
    assert_eq!(server.ask(&bare).await.error(), "400 InvalidRequest");
    assert_eq!(server.stub.operations().len(), 2);
}

#[tokio::test]
async fn an_unsigned_header_is_rejected() {
    let server = Server::start().await;
    let call = Call::new("PUT", "/demo/k").body("hello");
    let (head, _) = server.signed(&call);
    let added = head.replacen("\r\n", "\r\nx-amz-meta-added: by somebody\r\n", 1);
    let refused = server.send(&added, b"hello").await;
    assert_eq!(refused.error(), "403 AccessDenied");
    let text = String::from_utf8(refused.body).unwrap();
    assert!(text.contains("<HeadersNotSigned>x-amz-meta-added</HeadersNotSigned>"), "{text}");
}

#[tokio::test]
async fn a_caller_that_pays_is_told_so() {
    let server = Server::start().await;
    for (target, said, charged) in
        [("/paid/k", true, Some("requester")), ("/paid/k", false, None), ("/demo/k", true, None)]
    {
        let mut call = Call::new("GET", target);
        if said {
            call = call.header("x-amz-request-payer", "requester");
        }
        let answer = server.ask(&call).await;
        assert_eq!((answer.status(), answer.header("x-amz-request-charged")), (200, charged), "{target}");
    }
}

#[tokio::test]
async fn control_characters_are_escaped_in_xml_but_not_in_objects() {
    let server = Server::start().await;
    let list = server.ask(&Call::new("GET", "/demo?list-type=2&prefix=a%01b%0Dc%26")).await;
    let text = String::from_utf8(list.body).unwrap();
    assert!(text.contains("<Prefix>a&#x1;b&#13;c&amp;</Prefix>"), "{text}");
    let object = server.ask(&Call::new("GET", "/demo/k")).await;
    assert_eq!(object.header("content-type"), Some("application/xml"));
    assert_eq!(object.body.len(), SIZE);
    assert!(object.body.starts_with(b"<a>\r</a>"));
}

#[tokio::test]
async fn errors_keep_their_headers() {
    let server = Server::start().await;
    let short = server.ask(&Call::new("GET", "/demo/short")).await;
    assert_eq!(short.error(), "416 InvalidRange");
    assert_eq!(short.header("content-range"), Some("bytes */5"));
    assert_eq!(short.header("content-type"), Some("application/xml"));
    let same = server.ask(&Call::new("GET", "/demo/same")).await;
    assert_eq!((same.status(), same.header("etag"), same.body.len()), (304, Some("\"e\""), 0));
    let missing = server.ask(&Call::new("HEAD", "/demo/k")).await;
    assert_eq!((missing.status(), missing.body.len()), (404, 0));
}

#[tokio::test]
async fn a_caller_that_is_still_sending_sees_the_error() {
    let server = Server::start().await;
    let call = Call { key: ("NOBODY", "x"), ..Call::new("PUT", "/demo/k") }.body(vec![b'a'; 16 << 20]);
    let refused = server.ask(&call).await;
    assert_eq!((refused.error(), refused.end), ("403 InvalidAccessKeyId".to_owned(), None));

    // A caller that waits for `100 Continue` gets the error at once.
    let call = call.header("expect", "100-continue");
    let (head, _) = server.signed(&call);
    let refused = server.send(&head, b"").await;
    assert_eq!(refused.error(), "403 InvalidAccessKeyId");
    // What it sends next is not the body, so the connection must close.
    assert_eq!(refused.header("connection"), Some("close"));

    // hyper sends no `100 Continue` for an empty body.
    let call = Call::new("PUT", "/demo/k").header("expect", "100-continue");
    let taken = server.ask(&call).await;
    assert_eq!((taken.status(), taken.header("connection")), (200, Some("close")));
}

fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CORSRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    CORSRule {
        allowed_origins: owned(origins),
        allowed_methods: owned(methods),
        allowed_headers: Some(owned(headers)),
        expose_headers: Some(owned(&["ETag", "x-amz-meta-a"])),
        id: None,
        max_age_seconds: Some(60),
    }
}

async fn preflight(server: &Server, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("OPTIONS {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    server.send(&head, b"").await
}

const PAGE: (&str, &str) = ("origin", "https://www.example.com");
const PUT: (&str, &str) = ("access-control-request-method", "PUT");

#[tokio::test]
async fn a_preflight_is_answered_by_the_first_matching_rule() {
    let server = Server::start().await;
    let refused = preflight(&server, "/demo/k", &[PAGE, PUT]).await;
    assert_eq!(refused.error(), "403 AccessForbidden");
    assert!(String::from_utf8(refused.body).unwrap().contains("CORS is not enabled for this bucket."));

    *server.stub.rules.lock().unwrap() = vec![
        rule(&["https://*.example.com"], &["PUT", "HEAD"], &["X-Amz-*", "Content-Type"]),
        rule(&["*"], &["GET"], &[]),
    ];
    let asked = ("access-control-request-headers", "content-type, X-Amz-Date");
    let answer = preflight(&server, "/demo/k", &[PAGE, PUT, asked]).await;
    assert_eq!(answer.status(), 200);
    for (name, value) in [
        ("access-control-allow-origin", "https://www.example.com"),
        ("access-control-allow-methods", "PUT, HEAD"),
        ("access-control-allow-headers", "content-type, x-amz-date"),
        ("access-control-expose-headers", "ETag, x-amz-meta-a"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let get = ("access-control-request-method", "GET");
    let anyone = preflight(&server, "/demo/k", &[PAGE, get]).await;
    assert_eq!(anyone.header("access-control-allow-origin"), Some("*"));
    assert_eq!(anyone.header("access-control-allow-credentials"), None);

    let header = ("access-control-request-headers", "cookie");
    let page = ("origin", "https://example.com");
    for headers in
        [&[PAGE, PUT, header][..], &[page, PUT], &[PAGE, ("access-control-request-method", "DELETE")]]
    {
        let refused = preflight(&server, "/demo/k", headers).await;
        assert_eq!(refused.error(), "403 AccessForbidden");
        assert_eq!(refused.header("access-control-allow-origin"), None);
        assert!(String::from_utf8(refused.body).unwrap().contains("This CORS request is not allowed."));
    }
    assert_eq!(preflight(&server, "/demo/k", &[PUT]).await.error(), "400 BadRequest");
    assert_eq!(preflight(&server, "/demo/k", &[PAGE]).await.error(), "400 BadRequest");
}

#[tokio::test]
async fn a_response_says_what_the_matching_rule_allows() {
    let server = Server::start().await;
    *server.stub.rules.lock().unwrap() = vec![rule(&["https://*.example.com"], &["GET"], &[])];
    let allowed = async |method, path, origin| {
        let answer = server.ask(&Call::new(method, path).header("origin", origin)).await;
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("GET", "/demo/k", PAGE.1).await.as_deref(), Some(PAGE.1));
    assert_eq!(allowed("GET", "/demo/short", PAGE.1).await.as_deref(), Some(PAGE.1));
    assert_eq!(allowed("PUT", "/demo/k", PAGE.1).await, None);
    assert_eq!(allowed("GET", "/demo/k", "https://example.org").await, None);
    assert_eq!(allowed("GET", "/other/k", PAGE.1).await, None);
}

fn slow_down() -> InjectedError {
    InjectedError::new(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your <rate>.")
        .retry_after(7)
}

#[tokio::test]
async fn an_error_is_injected_instead_of_an_operation_or_after_it() {
    let server = Server::start().await;
    let put = Call::new("PUT", "/demo/k").body(vec![b'a'; 4 << 20]);
    server.faults.add(Fault::new(Requests::all().method(Method::PUT), Effect::Answer(slow_down())));
    let refused = server.ask(&put).await;
    assert_eq!((refused.error(), refused.end), ("503 SlowDown".to_owned(), None));
    assert_eq!(refused.header("retry-after"), Some("7"));
    assert!(String::from_utf8(refused.body).unwrap().contains("Please reduce your &lt;rate&gt;."));
    assert!(server.stub.operations().is_empty());

    server.faults.add(Fault::new(Requests::all(), Effect::AnswerAfterwards(slow_down())));
    assert_eq!(server.ask(&put).await.error(), "503 SlowDown");
    assert_eq!(server.stub.operations(), ["put"]);
    assert_eq!(server.ask(&put).await.error(), "200 ");
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_injected_before_an_operation() {
    let server = Server::start().await;
    server.faults.add(Fault::new(Requests::all().path("/demo/k"), Effect::Delay(DAY)));
    let start = tokio::time::Instant::now();
    assert_eq!(server.ask(&Call::new("GET", "/demo/other")).await.error(), "200 ");
    assert!(start.elapsed() < DAY);
    assert_eq!(server.ask(&Call::new("GET", "/demo/k")).await.error(), "200 ");
    assert!(start.elapsed() >= DAY);
}

#[tokio::test]
async fn a_response_is_truncated_after_a_number_of_bytes() {
    let server = Server::start().await;
    let get = Call::new("GET", "/demo/k");
    for after in [0, 1, 70_000] {
        server.faults.add(Fault::new(Requests::all(), Effect::Truncate { after }));
        let cut = server.ask(&get).await;
        assert_eq!((cut.status(), cut.end), (200, None));
        assert_eq!(cut.header("content-length"), Some("100000"));
        assert_eq!(cut.body.len() as u64, after);
    }
    server.faults.add(Fault::new(Requests::all(), Effect::Truncate { after: SIZE as u64 }));
    assert_eq!(server.ask(&get).await.body.len(), SIZE);
    assert_eq!(server.stub.operations().len(), 4);
}

#[tokio::test]
async fn a_connection_is_reset_before_or_within_a_response() {
    let server = Server::start().await;
    let get = Call::new("GET", "/demo/k");
    server.faults.add(Fault::new(Requests::all(), Effect::Reset));
    let reset = server.ask(&get).await;
    assert_eq!((reset.end, &*reset.head), (Some(ErrorKind::ConnectionReset), ""));
    assert!(server.stub.operations().is_empty());

    server.faults.add(Fault::new(Requests::all(), Effect::ResetAfter { bytes: 500 }));
    let reset = server.ask(&get).await;
    assert_eq!(reset.end, Some(ErrorKind::ConnectionReset));
    assert!(reset.body.len() <= 500);
    assert_eq!(server.stub.operations(), ["get"]);
    assert_eq!(server.ask(&get).await.body.len(), SIZE);
}
