//! `type: container`: credentials of an EKS Pod Identity or of an ECS task.
//!
//! See <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, header::AUTHORIZATION};
use secrecy::ExposeSecret;

use super::{
    ContainerSettings, ContainerToken, Credentials, CredentialsError,
    cache::Source,
    document,
    metadata_http::{MetadataHttp, origin},
    small_file,
};
use crate::transport::Lookups;

/// Time limit of an attempt, and the number of attempts, as in botocore.
const TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 3;

/// A container's credentials endpoint.
#[derive(Debug)]
pub(super) struct Container {
    settings: ContainerSettings,
    lookups: Lookups,
}

impl Container {
    /// `lookups`: those of the tenant.
    pub(super) fn new(settings: ContainerSettings, lookups: Lookups) -> Self {
        Self { settings, lookups }
    }

    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let ContainerSettings { endpoint, token, refuse_local } = &self.settings;
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            headers.insert(AUTHORIZATION, authorization(token).await?);
        }
        let http = MetadataHttp::new(endpoint, TIMEOUT, ATTEMPTS, *refuse_local, self.lookups.clone())?;
        let (status, body) = http.send(Method::GET, endpoint, &headers).await?;
        if !status.is_success() {
            let place = origin(endpoint);
            return Err(CredentialsError::new(format!("{place} answered with HTTP status {status}")));
        }
        document::parse(&origin(endpoint), &body)
    }
}

impl Source for Container {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}

/// The header that carries the token. It is marked as sensitive, so that it is not logged.
async fn authorization(token: &ContainerToken) -> Result<HeaderValue, CredentialsError> {
    let (value, place) = match token {
        ContainerToken::Value(token) => {
            (HeaderValue::from_str(token.expose().expose_secret()), String::new())
        }
        ContainerToken::File(path) => {
            let text = small_file::read(path).await?;
            (HeaderValue::from_str(text.trim_end()), format!(" in {}", path.path().display()))
        }
    };
    let mut value = value.map_err(|_| {
        CredentialsError::new(format!(
            "the authorization token{place} contains a character that headers cannot have"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}
