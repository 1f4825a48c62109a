//! Signed requests with any key, also with keys that client libraries do not send. aws-sigv4 signs the requests, and
//! hyper sends them.

use std::time::SystemTime;

use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use longshore::embedded::Embedded;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A client of an embedded server.
pub(crate) struct Raw {
    endpoint: String,
    id: String,
    secret: String,
    http: Client<HttpConnector, Full<Bytes>>,
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The texts of all elements with this name. They must not contain other elements.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let after = self.text().split(&open).skip(1);
        after.map(|text| text.split(&close).next().unwrap().to_owned()).collect()
    }
}

impl Raw {
    pub(crate) fn of(server: &Embedded) -> Self {
        Self {
            endpoint: format!("http://{}", server.address()),
            id: server.access_key_id().to_owned(),
            secret: server.secret_access_key().to_owned(),
            http: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends a request for a key in the bucket `test`, or for the bucket itself if the key is empty.
    pub(crate) async fn ask(
        &self,
        method: &str,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let (path, body) = (encoded(key), body.into());
        let uri = format!("{}/test/{path}{query}", self.endpoint);
        let mut request = Request::builder().method(method).uri(&uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        for (name, value) in self.signature(method, &uri, headers) {
            request = request.header(name, value);
        }
        // hyper omits this header if there is no body.
        let request = request.header("content-length", body.len()).body(Full::new(body)).unwrap();
        let (head, body) = self.http.request(request).await.unwrap().into_parts();
        Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    fn signature(&self, method: &str, uri: &str, headers: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let keys = aws_credential_types::Credentials::new(&self.id, &self.secret, None, None, "test").into();
        let params = v4::SigningParams::builder()
            .identity(&keys)
            .region("us-east-1")
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap();
        let request =
            SignableRequest::new(method, uri, headers.iter().copied(), SignableBody::UnsignedPayload)
                .unwrap();
        let (instructions, _) = sign(request, &params.into()).unwrap().into_parts();
        let (headers, _) = instructions.into_parts();
        headers.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned())).collect()
    }
}

/// Percent-encodes a key for a URI.
pub(crate) fn encoded(key: &str) -> String {
    utf8_percent_encode(key, KEPT).to_string()
}
