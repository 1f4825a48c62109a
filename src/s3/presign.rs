//! Presigned URLs: signature version 4 in the query.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, Method, header::CONTENT_LENGTH, header::HOST, header::RANGE};

use super::{
    ByteRange, Checksum, Client, Error, ErrorKind, Field, MultipartUpload, NewObject, WriteCondition,
    encryption::{self, DataAccess},
    endpoint::Endpoint,
    headers::{echoed, visible},
    multipart,
    read_object::range_header,
    request::Request,
    sign::{
        ALGORITHM, SigningKeys, Target, UNSIGNED_PAYLOAD, canonical_request, long_date, scope, sorted_names,
        string_to_sign, unsignable,
    },
    write_object::add_checksum,
};
use crate::credentials::Credentials;

/// A presigned URL, and the headers that have to be sent with it. Anyone who has the URL can use it, so `Debug` does
/// not show it.
pub struct PresignedUrl {
    /// The URL, with the signature in its query.
    pub url: String,
    /// The headers, by lower-case name, without `host`.
    pub headers: BTreeMap<String, String>,
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PresignedUrl").finish_non_exhaustive()
    }
}

/// Response headers that S3 returns in place of the object's own. Empty: the object's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseHeaders {
    /// Content-Type.
    pub content_type: String,
    /// Content-Disposition.
    pub content_disposition: String,
    /// Content-Encoding.
    pub content_encoding: String,
    /// Content-Language.
    pub content_language: String,
    /// Cache-Control.
    pub cache_control: String,
    /// Expires.
    pub expires: String,
}

impl ResponseHeaders {
    /// Adds the query parameters.
    fn add(&self, mut request: Request) -> Request {
        let parameters = [
            ("response-content-type", &self.content_type),
            ("response-content-disposition", &self.content_disposition),
            ("response-content-encoding", &self.content_encoding),
            ("response-content-language", &self.content_language),
            ("response-cache-control", &self.cache_control),
            ("response-expires", &self.expires),
        ];
        for (name, value) in parameters {
            if !value.is_empty() {
                request = request.query(name, value.as_str());
            }
        }
        request
    }
}

/// What the bytes must be that are written with a presigned URL.
#[derive(Debug, Clone, Default)]
pub(crate) struct ExactBytes {
    /// Its size in bytes.
    pub(crate) size: Option<u64>,
    /// Its checksum.
    pub(crate) checksum: Option<Checksum>,
}

impl ExactBytes {
    fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        if let Some(checksum) = &self.checksum {
            add_checksum(headers, checksum)?;
        }
        if let Some(size) = self.size {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        Ok(())
    }
}

/// Makes presigned URLs that all expire at the same time.
#[derive(Debug)]
pub(crate) struct Presigner {
    pub(super) client: Client,
    pub(super) endpoint: Endpoint,
    pub(super) signing: Signing,
}

/// The credentials, the time and the lifetime of signatures.
#[derive(Debug)]
pub(super) struct Signing {
    credentials: Arc<Credentials>,
    region: String,
    now: SystemTime,
    /// `now` in SigV4's format.
    pub(super) time: String,
    /// What the derived key is valid for.
    scope: String,
    /// How long the signatures are valid, in seconds.
    seconds: u64,
}

impl Client {
    /// What URLs and upload forms are signed with: valid for `lifetime`, but not longer than the credentials are.
    pub(crate) async fn presigner(&self, lifetime: Duration) -> Result<Presigner, Error> {
        let Some(credentials) = self.signing_credentials().await? else {
            let message = "the store's requests are unsigned, so it has no credentials to sign URLs with";
            return Err(Error::new(ErrorKind::CredentialsUnavailable, message));
        };
        let (region, endpoint) = self.public_place()?;
        let signing = Signing::new(credentials, region, self.server_time(), lifetime)?;
        Ok(Presigner { client: self.clone(), endpoint, signing })
    }
}

impl Presigner {
    /// When the URLs expire, by S3's clock.
    pub(crate) fn expires_at(&self) -> SystemTime {
        self.signing.expires_at()
    }

    /// The URL of `GetObject`.
    pub(crate) fn get(
        &self,
        key: &str,
        version: Option<&str>,
        range: Option<ByteRange>,
        response: &ResponseHeaders,
    ) -> Result<PresignedUrl, Error> {
        let mut request = Request::object("GetObject", Method::GET, key).version(version);
        if let Some(range) = range {
            request.headers.insert(RANGE, echoed(&range_header(range))?);
        }
        self.url(response.add(request).accessing(DataAccess::Read))
    }

    /// The URL of `HeadObject`.
    pub(crate) fn head(
        &self,
        key: &str,
        version: Option<&str>,
        response: &ResponseHeaders,
    ) -> Result<PresignedUrl, Error> {
        let request = Request::object("HeadObject", Method::HEAD, key).version(version);
        self.url(response.add(request).accessing(DataAccess::Read))
    }

    /// The URL of `PutObject`.
    pub(crate) fn put(
        &self,
        key: &str,
        object: &NewObject,
        condition: &WriteCondition,
        bytes: &ExactBytes,
    ) -> Result<PresignedUrl, Error> {
        let mut request = Request::object("PutObject", Method::PUT, key).accessing(DataAccess::Create);
        object.add(&mut request.headers)?;
        condition.add(&mut request.headers)?;
        bytes.add(&mut request.headers)?;
        self.url(request)
    }

    /// The URL of `DeleteObject`.
    pub(crate) fn delete(&self, key: &str, version: Option<&str>) -> Result<PresignedUrl, Error> {
        self.url(Request::object("DeleteObject", Method::DELETE, key).version(version))
    }

    /// The URL of `UploadPart`.
    pub(crate) fn part(
        &self,
        upload: &MultipartUpload,
        number: u32,
        bytes: &ExactBytes,
    ) -> Result<PresignedUrl, Error> {
        let mut request = multipart::part("UploadPart", upload, number)?;
        bytes.add(&mut request.headers)?;
        self.url(request)
    }

    fn url(&self, mut request: Request) -> Result<PresignedUrl, Error> {
        let settings = self.client.settings();
        if let Some(access) = request.access {
            encryption::add_headers(&mut request.headers, access, settings)?;
        }
        if settings.request_payer {
            // S3 accepts it in the query of a presigned URL, so that browsers can use the URL
            // (https://docs.aws.amazon.com/AmazonS3/latest/userguide/ObjectsinRequesterPaysBuckets.html).
            request = request.query("x-amz-request-payer", "requester");
        }
        self.signing.url(self.client.keys(), &self.endpoint, request)
    }
}

impl Signing {
    /// Signatures that are made at `now` and valid for `lifetime`, but not longer than `credentials`.
    pub(super) fn new(
        credentials: Arc<Credentials>,
        region: String,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs());
        let second = since(now).map_err(|_| unsignable())?;
        let left = credentials
            .expires_at()
            .map_or(u64::MAX, |at| since(at).unwrap_or_default().saturating_sub(second));
        let seconds = lifetime.as_secs().min(left);
        if seconds == 0 {
            let message = "the store's credentials expire before a URL could be used";
            return Err(Error::new(ErrorKind::CredentialsExpired, message));
        }
        let now = UNIX_EPOCH + Duration::from_secs(second);
        let time = long_date(now)?;
        let scope = scope(&time, &region);
        Ok(Self { credentials, region, now, time, scope, seconds })
    }

    pub(super) fn expires_at(&self) -> SystemTime {
        self.now + Duration::from_secs(self.seconds)
    }

    /// The access key and the scope, as in `X-Amz-Credential`.
    pub(super) fn credential(&self) -> String {
        [self.credentials.access_key_id(), "/", &self.scope].concat()
    }

    /// The token of temporary credentials.
    pub(super) fn session_token(&self) -> Option<&str> {
        self.credentials.session_token()
    }

    /// The signature of `text`.
    pub(super) fn signature(&self, keys: &SigningKeys, text: &str) -> String {
        keys.signature(&self.credentials, &self.region, self.now, &self.scope, text)
    }

    /// Signs the request, with all of its headers, for the server at `endpoint`.
    fn url(
        &self,
        keys: &SigningKeys,
        endpoint: &Endpoint,
        mut request: Request,
    ) -> Result<PresignedUrl, Error> {
        let host = visible(endpoint.host(), Field::Setting("public_endpoint"))?;
        request.headers.insert(HOST, host);
        let names: Vec<_> =
            sorted_names(&request.headers).into_iter().map(http::HeaderName::as_str).collect();
        let names = names.join(";");
        request = request
            .query("X-Amz-Algorithm", ALGORITHM)
            .query("X-Amz-Credential", self.credential())
            .query("X-Amz-Date", self.time.as_str())
            .query("X-Amz-Expires", self.seconds.to_string())
            .query("X-Amz-SignedHeaders", names);
        if let Some(token) = self.session_token() {
            request = request.query("X-Amz-Security-Token", token);
        }
        let (path, query) = (endpoint.path(request.key.as_deref()), request.canonical_query());
        let target =
            Target { method: &request.method, path: &path, query: &query, payload_hash: UNSIGNED_PAYLOAD };
        let (canonical, _) = canonical_request(&target, &request.headers);
        let to_sign = string_to_sign(&canonical, &self.time, &self.scope)?;
        let signature = self.signature(keys, &to_sign);
        let query = [&query, "&X-Amz-Signature=", &signature].concat();
        Ok(PresignedUrl { url: endpoint.url(&path, &query), headers: to_send(&request.headers)? })
    }
}

/// The headers that have to be sent. Every HTTP client sends `host`.
fn to_send(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Error> {
    let own = headers.iter().filter(|(name, _)| **name != HOST);
    own.map(|(name, value)| {
        let value = value.to_str().map_err(|_| unsignable())?;
        Ok((name.as_str().to_owned(), value.to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use aws_sigv4::{
        http_request::{
            PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
            UriPathNormalizationMode, sign,
        },
        sign::v4,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::s3::BucketSettings;

    const AKID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials::new(AKID, SECRET.to_owned(), token.map(Into::into))
    }

    /// 2013-05-24T00:00:00Z, the time of the published example and a whole number of hours after the epoch.
    fn then() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(380_376)
    }

    fn signing(credentials: Credentials, seconds: u64) -> Signing {
        let lifetime = Duration::from_secs(seconds);
        Signing::new(Arc::new(credentials), "us-east-1".to_owned(), then(), lifetime).unwrap()
    }

    fn url(settings: &BucketSettings, token: Option<&str>, seconds: u64, request: Request) -> PresignedUrl {
        let endpoint = Endpoint::public(settings, "us-east-1").unwrap();
        signing(credentials(token), seconds).url(&SigningKeys::default(), &endpoint, request).unwrap()
    }

    /// The example of "Authenticating Requests: Using Query Parameters" in the S3 API reference.
    #[test]
    fn the_published_signature_matches() {
        let mut settings = BucketSettings::new("examplebucket");
        settings.endpoint = Some("https://s3.amazonaws.com".to_owned());
        settings.virtual_hosted_style = true;
        let signed = url(&settings, None, 86400, Request::object("GetObject", Method::GET, "test.txt"));
        assert_eq!(
            signed.url,
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
        assert!(signed.headers.is_empty());
    }

    /// The signatures of boto3 1.44 (`generate_presigned_url`, `s3v4`) for the same requests at the same time.
    #[test]
    fn signatures_match_those_of_boto3() {
        let mut settings = BucketSettings::new("my-bucket");
        settings.endpoint = Some("https://s3.test:9000/base".to_owned());
        let signature = |seconds, request| {
            let signed = url(&settings, Some("to/k+en=="), seconds, request);
            signed.url.rsplit_once("&X-Amz-Signature=").unwrap().1.to_owned()
        };
        let response = ResponseHeaders {
            content_type: "text/plain; charset=utf-8".to_owned(),
            content_disposition: "attachment; filename=\"a b.txt\"".to_owned(),
            content_encoding: "identity".to_owned(),
            content_language: "de".to_owned(),
            cache_control: "no-cache".to_owned(),
            expires: "Thu, 01 Dec 1994 16:00:00 GMT".to_owned(),
        };
        let get = Request::object("GetObject", Method::GET, "a b/\u{fc}+%2F~//$&=@:.txt")
            .version(Some("v/1+"))
            .header("range", "bytes=5-9");
        let of = |method, seconds| {
            signature(seconds, Request::object("HeadObject", method, "k").version(Some("v1")))
        };
        let mut put = Request::object("PutObject", Method::PUT, "k");
        for (name, value) in [
            ("if-none-match", "*"),
            ("content-type", "text/plain"),
            ("content-length", "9"),
            ("cache-control", "no-cache"),
            ("x-amz-checksum-crc32c", "4waSgw=="),
            ("x-amz-tagging", "a%20b=c%26d"),
            ("x-amz-meta-quay", "  two  words "),
            ("x-amz-server-side-encryption", "aws:kms"),
            ("x-amz-server-side-encryption-aws-kms-key-id", "key-1"),
            ("x-amz-server-side-encryption-bucket-key-enabled", "true"),
            ("x-amz-storage-class", "STANDARD_IA"),
        ] {
            put.headers.insert(name, HeaderValue::from_static(value));
        }
        for (ours, boto3s) in [
            (
                signature(1, response.add(get)),
                "7b3662d0376a769524b688b90d9e960682c7f651d3a0706c83c7ebf69e7a4a65",
            ),
            (of(Method::HEAD, 604_800), "d7c82f9c8eab01ba6196ed8ccadfcc0ef54006bcc90cd7fb93b723ea2d8b9507"),
            (of(Method::DELETE, 60), "f7b33e9a1a6ae52d0a688504fdab875afab42161a99163a14083f410e03f0d80"),
            (signature(60, put), "3baf07e7045daf44b4b80fd6f346a3359ccc44f7710f28afb384d60e52c704a4"),
        ] {
            assert_eq!(ours, boto3s);
        }
    }

    /// A policy and its signature from boto3's `generate_presigned_post`.
    #[test]
    fn the_signature_of_a_policy_matches_that_of_boto3() {
        const POLICY: &str = concat!(
            "eyJleHBpcmF0aW9uIjogIjIwMjYtMTItMDFUMTQ6MjA6NTVaIiwgImNvbmRpdGlvbnMiOiBbeyJDb250ZW50LVR5cGUiOiAidGV4dC9wbGFpbiJ9",
            "LCBbImNvbnRlbnQtbGVuZ3RoLXJhbmdlIiwgMSwgMTBdLCB7ImJ1Y2tldCI6ICJteS1idWNrZXQifSwgeyJrZXkiOiAicC9rIn0sIHsieC1hbXot",
            "YWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwgeyJ4LWFtei1jcmVkZW50aWFsIjogIkFLSUFJT1NGT0ROTjdFWEFNUExFLzIwMTMwNTI0",
            "L3VzLWVhc3QtMS9zMy9hd3M0X3JlcXVlc3QifSwgeyJ4LWFtei1kYXRlIjogIjIwMTMwNTI0VDAwMDAwMFoifSwgeyJ4LWFtei1zZWN1cml0eS10",
            "b2tlbiI6ICJ0by9rK2VuPT0ifV19",
        );
        let signature = signing(credentials(None), 60).signature(&SigningKeys::default(), POLICY);
        assert_eq!(signature, "b3e8ce079bf30e481d727530640e9e43a083f29c2194bd4bb5a4a182ed2a4c7b");
    }

    #[test]
    fn a_url_does_not_outlive_its_credentials() {
        let expiring = |seconds: u64| {
            let at = then() + Duration::from_millis(seconds * 1000 + 999);
            let credentials = Arc::new(credentials(None).expiring(at));
            let now = then() + Duration::from_millis(500);
            let signing = Signing::new(credentials, "r".to_owned(), now, Duration::from_mins(1))?;
            Ok::<_, Error>((signing.seconds, signing.expires_at()))
        };
        let at = |seconds| then() + Duration::from_secs(seconds);
        assert_eq!(expiring(3600).unwrap(), (60, at(60)));
        assert_eq!(expiring(59).unwrap(), (59, at(59)));
        assert_eq!(expiring(1).unwrap(), (1, at(1)));
        assert_eq!(expiring(0).unwrap_err().kind(), ErrorKind::CredentialsExpired);
    }

    #[test]
    fn the_public_endpoint_is_in_the_url_and_signed() {
        let settings = |public: Option<&str>, virtual_hosted_style| BucketSettings {
            endpoint: Some("http://minio.internal:9000".to_owned()),
            public_endpoint: public.map(str::to_owned),
            virtual_hosted_style,
            ..BucketSettings::new("b")
        };
        let of = |settings: &BucketSettings| {
            let signed = url(settings, None, 60, Request::object("GetObject", Method::GET, "k"));
            signed.url.split_once('?').map(|(at, query)| (at.to_owned(), query.to_owned())).unwrap()
        };
        let inside = of(&settings(None, false));
        let outside = of(&settings(Some("https://files.example.com:443/s3"), false));
        assert_eq!(inside.0, "http://minio.internal:9000/b/k");
        assert_eq!(outside.0, "https://files.example.com/s3/b/k");
        assert_eq!(of(&settings(Some("https://files.example.com"), true)).0, "https://b.files.example.com/k");
        assert_ne!(inside.1, outside.1);
    }

    #[test]
    fn urls_and_their_headers_are_not_shown() {
        let signed = url(&BucketSettings::new("b"), Some("t0ken"), 60, {
            Request::object("GetObject", Method::GET, "k")
        });
        assert_eq!(format!("{signed:?}"), "PresignedUrl { .. }");
    }

    proptest! {
        /// Compares with the official signer.
        #[test]
        fn signatures_match_aws_sigv4_for_every_key(
            key in "\\PC{1,40}|[a-z/.+@% ~]{1,40}",
            version in "\\PC{0,8}",
            value in "[!-~]([ -~]{0,20}[!-~])?",
            token in proptest::option::of("[a-zA-Z0-9/+=]{1,30}"),
            seconds in 1_u64..604_801,
        ) {
            let mut settings = BucketSettings::new("bucket");
            settings.endpoint = Some("https://s3.test".to_owned());
            let mut request = Request::object("GetObject", Method::GET, &key).query("versionId", version.as_str());
            request.headers.insert("x-amz-meta-a", HeaderValue::from_str(&value).unwrap());
            let ours = url(&settings, token.as_deref(), seconds, request).url;

            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
            let identity = aws_credential_types::Credentials::new(AKID, SECRET, token, None, "test").into();
            let params = v4::SigningParams::builder()
                .identity(&identity).region("us-east-1").name("s3").time(then()).settings(settings)
                .build().unwrap().into();
            let version = crate::s3::encode::query(&version).into_owned();
            let target = format!("https://s3.test/bucket/{}?versionId={version}", crate::s3::encode::path(&key));
            let headers = [("host", "s3.test"), ("x-amz-meta-a", value.as_str())];
            let body = SignableBody::UnsignedPayload;
            let request = SignableRequest::new("GET", &target, headers.into_iter(), body).unwrap();
            let theirs = sign(request, &params).unwrap().into_parts().1;
            let ours = ours.rsplit_once("X-Amz-Signature=").unwrap().1;
            prop_assert_eq!(ours, theirs);
        }
    }
}
