use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use longshore::pb::{
    Attributes, FormField, ResponseHeaders, SignMethod, SignPostRequest, SignRequest, SignedUrl, SignedWrite,
    SizeRange, sign_post_request::Target,
};

use super::limits::Ability;
use crate::support::{
    calls::{bounded, create},
    harness::Harness,
};

impl Harness {
    async fn sign(
        &self,
        method: SignMethod,
        keys: &[&str],
        edit: impl FnOnce(&mut SignRequest),
    ) -> Vec<SignedUrl> {
        let mut request = SignRequest {
            method: method.into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            ..SignRequest::default()
        };
        edit(&mut request);
        self.objects.clone().sign(request).await.unwrap().into_inner().urls
    }
}

/// Sends a request without credentials.
async fn send(method: &str, signed: &SignedUrl, data: &'static [u8]) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder().method(method).uri(&signed.url);
    for (name, value) in &signed.headers {
        request = request.header(name, value);
    }
    exchange(request.body(Full::from(data)).unwrap()).await
}

async fn exchange(request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, Bytes) {
    let http: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let (head, body) = http.request(request).await.unwrap().into_parts();
    (head.status, head.headers, body.collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn urls_write_read_and_delete_without_credentials() {
    let harness = Harness::open().await;
    let write = SignedWrite {
        attributes: Some(Attributes {
            content_type: "text/plain".to_owned(),
            metadata: [("quay".to_owned(), "7".to_owned())].into(),
            ..Attributes::default()
        }),
        size: Some(4),
        ..SignedWrite::default()
    };
    let urls =
        harness.sign(SignMethod::Put, &["a b/ü+", "other"], |request| request.write = Some(write)).await;
    for url in &urls {
        assert_eq!(send("PUT", url, b"data").await.0, StatusCode::OK);
        let head = harness.head(&url.key).await.unwrap();
        let attributes = head.attributes.unwrap();
        assert_eq!((head.meta.unwrap().size, attributes.content_type.as_str()), (4, "text/plain"));
        assert_eq!(attributes.metadata["quay"], "7");
    }
    let csv = ResponseHeaders { content_type: "text/csv".to_owned(), ..ResponseHeaders::default() };
    let get =
        harness.sign(SignMethod::Get, &["a b/ü+"], |request| request.response_headers = Some(csv)).await;
    let (status, headers, body) = send("GET", &get[0], b"").await;
    assert_eq!(
        (status, &headers["content-type"], &body[..]),
        (StatusCode::OK, &"text/csv".parse().unwrap(), &b"data"[..])
    );
    let part = harness.sign(SignMethod::Get, &["other"], |request| request.range = Some(bounded(1, 3))).await;
    let (status, _, body) = send("GET", &part[0], b"").await;
    assert_eq!((status, &body[..]), (StatusCode::PARTIAL_CONTENT, &b"at"[..]));
    let head = harness.sign(SignMethod::Head, &["other", "missing"], |_| ()).await;
    assert_eq!(send("HEAD", &head[0], b"").await.0, StatusCode::OK);
    assert_eq!(send("HEAD", &head[1], b"").await.0, StatusCode::NOT_FOUND);
    let delete = harness.sign(SignMethod::Delete, &["other"], |_| ()).await;
    assert_eq!(send("DELETE", &delete[0], b"").await.0, StatusCode::NO_CONTENT);
    assert!(harness.head("other").await.is_err());
    harness.close().await;
}

#[tokio::test]
async fn a_url_creates_an_object_only_once() {
    let harness = Harness::open().await;
    if harness.judges(Ability::ConditionalPut) {
        let write = SignedWrite { mode: Some(create()), ..SignedWrite::default() };
        let urls = harness.sign(SignMethod::Put, &["new"], |request| request.write = Some(write)).await;
        assert_eq!(send("PUT", &urls[0], b"first").await.0, StatusCode::OK);
        assert_eq!(send("PUT", &urls[0], b"second").await.0, StatusCode::PRECONDITION_FAILED);
        assert_eq!(harness.get("new").await.unwrap().data, b"first");
    }
    harness.close().await;
}

#[tokio::test]
async fn a_url_allows_nothing_else_than_what_was_signed() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Signatures) {
        harness.put("k", "data").await;
        harness.put("other", "data").await;
        let [get] = harness.sign(SignMethod::Get, &["k"], |_| ()).await.try_into().unwrap();
        let changed = |from: &str, to: &str| {
            assert!(get.url.contains(from));
            SignedUrl { url: get.url.replacen(from, to, 1), ..get.clone() }
        };
        assert_eq!(send("GET", &get, b"").await.0, StatusCode::OK);
        for (method, url) in [
            ("PUT", get.clone()),
            ("DELETE", get.clone()),
            ("GET", changed("/k?", "/other?")),
            ("GET", changed("X-Amz-Expires=60", "X-Amz-Expires=61")),
            ("GET", changed("?", "?response-content-type=text%2Fhtml&")),
        ] {
            assert_eq!(send(method, &url, b"").await.0, StatusCode::FORBIDDEN, "{method} {}", url.key);
        }
        let attributes = Attributes { content_type: "text/plain".to_owned(), ..Attributes::default() };
        let write = SignedWrite { attributes: Some(attributes), ..SignedWrite::default() };
        let [mut put] = harness
            .sign(SignMethod::Put, &["k"], |request| request.write = Some(write))
            .await
            .try_into()
            .unwrap();
        put.headers.insert("content-type".to_owned(), "text/html".to_owned());
        assert_eq!(send("PUT", &put, b"x").await.0, StatusCode::FORBIDDEN);
        assert_eq!(harness.get("k").await.unwrap().data, b"data");
    }
    harness.close().await;
}

/// Sends a form as a browser does.
async fn post(url: &str, fields: &[FormField], data: &str) -> StatusCode {
    let mut body = String::new();
    for FormField { name, value } in fields {
        body += &format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body += &format!(
        "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\nContent-Type: text/plain\r\n\r\n\
         {data}\r\n--x--\r\n"
    );
    let request = Request::post(url).header("content-type", "multipart/form-data; boundary=x");
    exchange(request.body(Full::from(body)).unwrap()).await.0
}

#[tokio::test]
async fn a_form_uploads_what_its_policy_allows() {
    let harness = Harness::open().await;
    if harness.judges(Ability::Forms) {
        let request = SignPostRequest {
            target: Some(Target::KeyPrefix("in/".to_owned())),
            expires_in: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
            size: Some(SizeRange { min: 2, max: 4 }),
            attributes: Some(Attributes { content_type: "text/csv".to_owned(), ..Attributes::default() }),
            ..SignPostRequest::default()
        };
        let mut form = harness.objects.clone().sign_post(request).await.unwrap().into_inner();
        // Not every server replaces the variable. A page may do it.
        let key = form.fields.iter_mut().find(|field| field.name == "key").unwrap();
        key.value = key.value.replace("${filename}", "f.txt");
        assert_eq!(post(&form.url, &form.fields, "data").await, StatusCode::NO_CONTENT);
        assert_eq!(harness.get("in/f.txt").await.unwrap().data, b"data");
        let head = harness.head("in/f.txt").await.unwrap();
        assert_eq!(head.attributes.unwrap().content_type, "text/csv");
        if harness.judges(Ability::Signatures) {
            assert_eq!(post(&form.url, &form.fields, "d").await, StatusCode::BAD_REQUEST);
            assert_eq!(post(&form.url, &form.fields, "datas").await, StatusCode::BAD_REQUEST);
            let mut fields = form.fields.clone();
            let key = fields.iter_mut().find(|field| field.name == "key").unwrap();
            key.value = key.value.replace("in/", "out/");
            assert_eq!(post(&form.url, &fields, "data").await, StatusCode::FORBIDDEN);
            assert!(harness.head("out/f.txt").await.is_err());
        }
    }
    harness.close().await;
}
