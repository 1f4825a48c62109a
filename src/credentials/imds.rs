//! `type: imds`: credentials of an EC2 instance's role, from the instance metadata service.
//!
//! See <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    Credentials, CredentialsError, ImdsSettings, cache::Source, document, metadata_http::MetadataHttp,
};
use crate::transport::Lookups;

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFETIME: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// An instance metadata service.
#[derive(Debug)]
pub(super) struct Imds {
    settings: ImdsSettings,
    /// Whether the service has answered. From then on, no answer is a failure.
    has_answered: AtomicBool,
}

impl Imds {
    pub(super) fn new(settings: ImdsSettings) -> Self {
        Self { settings, has_answered: AtomicBool::new(false) }
    }

    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let ImdsSettings { endpoint, timeout, attempts, .. } = &self.settings;
        let http = MetadataHttp::new(endpoint, *timeout, *attempts, false, Lookups::default())?;
        let headers = self.session(&http).await?;
        let roles = self.get(&http, ROLE_PATH, &headers).await?;
        let role = String::from_utf8_lossy(&roles);
        let role = role.lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(self.failed("names no role of this instance"));
        }
        let body = self.get(&http, &format!("{ROLE_PATH}{role}"), &headers).await?;
        document::parse(&self.settings.endpoint, &body)
    }

    /// The headers of a session: a token, or none with IMDSv1.
    async fn session(&self, http: &MetadataHttp) -> Result<HeaderMap, CredentialsError> {
        let lifetime = HeaderMap::from_iter([(TOKEN_LIFETIME, HeaderValue::from_static("300"))]);
        let url = format!("{}{TOKEN_PATH}", self.settings.endpoint);
        // On another machine than EC2's, nothing answers.
        let answer = http.send(Method::PUT, &url, &lifetime).await;
        let has_answered = self.has_answered.fetch_or(answer.is_ok(), Ordering::Relaxed);
        let (status, token) = match answer {
            Err(error) if !has_answered => return Err(CredentialsError::absent(error.to_string())),
            answer => answer?,
        };
        if status == StatusCode::FORBIDDEN && self.settings.v1_fallback {
            return Ok(HeaderMap::new());
        }
        if !status.is_success() {
            return Err(
                self.failed(&format!("answered a request for a session token with HTTP status {status}"))
            );
        }
        let mut token =
            HeaderValue::from_bytes(&token).map_err(|_| self.failed("returned an invalid session token"))?;
        token.set_sensitive(true);
        Ok(HeaderMap::from_iter([(TOKEN, token)]))
    }

    async fn get(
        &self,
        http: &MetadataHttp,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Bytes, CredentialsError> {
        let (status, body) =
            http.send(Method::GET, &format!("{}{path}", self.settings.endpoint), headers).await?;
        match status {
            status if status.is_success() => Ok(body),
            StatusCode::NOT_FOUND => {
                let text = "has no credentials: no role is attached to this instance";
                Err(CredentialsError::absent(self.failed(text).to_string()))
            }
            status => Err(self.failed(&format!("answered {path} with HTTP status {status}"))),
        }
    }

    fn failed(&self, why: &str) -> CredentialsError {
        CredentialsError::new(format!("the instance metadata service at {} {why}", self.settings.endpoint))
    }
}

impl Source for Imds {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}
