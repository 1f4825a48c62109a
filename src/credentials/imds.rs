//! `type: imds`: credentials of an EC2 instance's role, from the instance metadata service.
//!
//! See <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>.

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::{
    Credentials, CredentialsError, ImdsSettings, cache::Source, document, metadata_http::MetadataHttp,
};

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const TOKEN_LIFETIME: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");

/// An instance metadata service.
#[derive(Debug)]
pub(super) struct Imds(pub(super) ImdsSettings);

impl Imds {
    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let http = MetadataHttp::new(self.0.timeout, self.0.attempts)?;
        let headers = self.session(&http).await?;
        let roles = self.get(&http, ROLE_PATH, &headers).await?;
        let role = String::from_utf8_lossy(&roles);
        let role = role.lines().next().unwrap_or_default().trim();
        if role.is_empty() {
            return Err(self.failed("names no role of this instance"));
        }
        let body = self.get(&http, &format!("{ROLE_PATH}{role}"), &headers).await?;
        document::parse(&self.0.endpoint, &body)
    }

    /// The headers of a session: a token, or none with IMDSv1.
    async fn session(&self, http: &MetadataHttp) -> Result<HeaderMap, CredentialsError> {
        let lifetime = HeaderMap::from_iter([(TOKEN_LIFETIME, HeaderValue::from_static("300"))]);
        let url = format!("{}{TOKEN_PATH}", self.0.endpoint);
        // On another machine than EC2's, nothing answers.
        let answer = http.send(Method::PUT, &url, &lifetime).await;
        let (status, token) = answer.map_err(|error| CredentialsError::absent(error.to_string()))?;
        if status == StatusCode::FORBIDDEN && self.0.v1_fallback {
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
        let (status, body) = http.send(Method::GET, &format!("{}{path}", self.0.endpoint), headers).await?;
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
        CredentialsError::new(format!("the instance metadata service at {} {why}", self.0.endpoint))
    }
}

impl Source for Imds {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}
