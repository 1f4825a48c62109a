//! `POST Object`: uploads from HTML forms.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>
//!
//! s3s keeps the whole file in memory, and rejects a form 15 minutes after it was signed, although only the policy limits
//! how long S3 accepts it. So the adapter checks the form itself, and turns it into a `PutObject` for the second pass.

mod form;
mod policy;
mod signature;
mod success;

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header::HOST,
};
use http_body::Frame;
use http_body_util::StreamBody;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::{
    Body, S3Request,
    auth::S3Auth,
    dto::Tagging,
    service::S3Service,
    xml::{Deserialize, Deserializer},
};

pub(super) use self::form::boundary;
use self::{form::Form, success::Success};
use super::{super::received::Received, pass, refusal::Refusal, second_pass};

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// The fields that become headers, besides `x-amz-*`.
const HEADERS: [&str; 5] =
    ["cache-control", "content-disposition", "content-encoding", "content-type", "expires"];

/// The fields that are part of the signature.
const SIGNATURE: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature"];

/// Answers the upload of a form. `s3` serves the second pass.
pub(super) async fn answer(
    s3: &S3Service,
    keys: &dyn S3Auth,
    request: Request<Body>,
    boundary: &str,
) -> Response<Body> {
    upload(s3, keys, request, boundary).await.unwrap_or_else(Refusal::answer)
}

async fn upload(
    s3: &S3Service,
    keys: &dyn S3Auth,
    request: Request<Body>,
    boundary: &str,
) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let bucket = bucket(&head.uri)?;
    let host = head.headers.get(HOST).cloned().unwrap_or(HeaderValue::from_static("localhost"));
    let form = Form::read(body, boundary).await?;
    signature::check(&form, keys).await?;
    let policy = STANDARD.decode(form.value("policy").unwrap_or_default());
    let policy =
        policy.map_err(|_| Refusal::bad("InvalidPolicyDocument", "Invalid Policy: Invalid base64."))?;
    let sizes = policy::check(&policy, &form, &bucket, SystemTime::now())?;
    let key = key(&form)?;
    let path =
        format!("/{}/{}", utf8_percent_encode(&bucket, ENCODED), utf8_percent_encode(&key, ENCODED_PATH));
    let success = Success::of(&form);
    let mut headers = headers(&form)?;
    headers.insert(HOST, host.clone());
    let put = put(&path, headers, head.extensions, form, sizes)?;
    let answer = pass(s3, put).await;
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let location = format!("http://{}{path}", host.to_str().unwrap_or_default());
    Ok(success.answer(answer, &bucket, &key, &location))
}

/// The bucket of a form, which is sent to the bucket's own URL.
fn bucket(uri: &Uri) -> Result<String, Refusal> {
    let path = uri.path().trim_start_matches('/');
    match path.split_once('/').unwrap_or((path, "")) {
        (bucket, "") if !bucket.is_empty() => Ok(percent_decode_str(bucket).decode_utf8_lossy().into_owned()),
        _ => {
            let message = "The specified method is not allowed against this resource.";
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message))
        }
    }
}

fn key(form: &Form) -> Result<String, Refusal> {
    let key = form.value("key").filter(|key| !key.is_empty()).ok_or_else(|| {
        let message = "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of \
                       the fields.";
        Refusal::bad("InvalidArgument", message).with("ArgumentName", "key")
    })?;
    Ok(key.replace("${filename}", &form.filename))
}

/// The headers of the `PutObject`.
fn headers(form: &Form) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::new();
    for (name, value) in form.fields() {
        let header = match name.as_str() {
            "acl" => "x-amz-acl",
            "tagging" => {
                headers.insert("x-amz-tagging", tagging(value)?);
                continue;
            }
            name if SIGNATURE.contains(&name) => continue,
            name if name.starts_with("x-amz-") || HEADERS.contains(&name) => name,
            _ => continue,
        };
        let invalid =
            || Refusal::bad("InvalidArgument", "Invalid form field").with("ArgumentName", name.as_str());
        let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| invalid())?;
        headers.insert(header, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    Ok(headers)
}

/// The header for the tags in a form.
fn tagging(xml: &str) -> Result<HeaderValue, Refusal> {
    let malformed = || {
        let message =
            "The XML you provided was not well-formed or did not validate against our published schema";
        Refusal::bad("MalformedXML", message)
    };
    let mut reader = Deserializer::new(xml.as_bytes());
    let tagging = Tagging::deserialize(&mut reader).map_err(|_| malformed())?;
    reader.expect_eof().map_err(|_| malformed())?;
    let encoded = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
    let pairs: Option<Vec<_>> = tagging
        .tag_set
        .iter()
        .map(|tag| Some(format!("{}={}", encoded(tag.key.as_deref()?), encoded(tag.value.as_deref()?))))
        .collect();
    HeaderValue::from_str(&pairs.ok_or_else(malformed)?.join("&")).map_err(|_| malformed())
}

fn put(
    path: &str,
    headers: HeaderMap,
    extensions: Extensions,
    form: Form,
    sizes: (u64, u64),
) -> Result<Request<Body>, Refusal> {
    let frames = form.into_file().map(|data| data.map(Frame::data));
    let signed = S3Request {
        input: Body::http_body_unsync(StreamBody::new(frames)),
        method: Method::PUT,
        uri: path.parse().map_err(|_| Refusal::bad("InvalidURI", "Couldn't parse the specified URI."))?,
        headers,
        extensions,
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    };
    let mut request = second_pass::request(signed).map_err(|_| Refusal::internal())?;
    if let Some(received) = request.extensions_mut().get_mut::<Received>() {
        received.sizes = Some(sizes);
    }
    Ok(request)
}
