//! Requests to AWS STS, with the store's HTTP client, so that its settings apply to them.

use std::time::Duration;

use aws_sdk_sts::{
    error::{ProvideErrorMetadata, SdkError},
    types::Credentials as StsCredentials,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use secrecy::SecretString;

use super::{Credentials, CredentialsError, sdk};
use crate::transport::HttpClient;

/// How to reach STS.
#[derive(Debug, Clone)]
pub(super) struct Sts {
    pub(super) http: HttpClient,
    pub(super) region: String,
    /// The URL; `None` for the endpoint of the region.
    pub(super) endpoint: Option<String>,
}

impl Sts {
    /// A client that signs with `credentials`, or sends requests unsigned.
    pub(super) fn client(&self, credentials: Option<&Credentials>) -> aws_sdk_sts::Client {
        let shared = sdk::config(&self.http, &self.region, self.endpoint.as_deref());
        let config = aws_sdk_sts::config::Builder::from(&shared);
        let config = match credentials {
            Some(credentials) => config.credentials_provider(signing(credentials)),
            None => config.allow_no_auth(),
        };
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// The error for a request named `action`. STS's messages about credentials can contain what was signed, so they
    /// are not shown.
    pub(super) fn failed<E>(&self, action: &str, error: &SdkError<E, HttpResponse>) -> CredentialsError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let why = sdk::why(error, "STS", ABOUT_CREDENTIALS);
        CredentialsError::new(format!("{action} failed at STS of {}: {why}", self.region))
    }
}

/// The codes of errors whose messages can show what was signed.
const ABOUT_CREDENTIALS: &[&str] = &[
    "SignatureDoesNotMatch",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidIdentityToken",
    "ExpiredToken",
    "ExpiredTokenException",
    "UnrecognizedClientException",
];

/// The credentials in a response.
pub(super) fn received(
    action: &str,
    credentials: Option<StsCredentials>,
) -> Result<Credentials, CredentialsError> {
    let missing = || CredentialsError::new(format!("STS returned no valid credentials for {action}"));
    let StsCredentials { access_key_id, secret_access_key, session_token, expiration, .. } =
        credentials.ok_or_else(missing)?;
    let expires_at = expiration.try_into().map_err(|_| missing())?;
    if access_key_id.is_empty() || secret_access_key.is_empty() {
        return Err(missing());
    }
    let token = Some(session_token).filter(|token| !token.is_empty()).map(SecretString::from);
    Ok(Credentials::new(access_key_id, secret_access_key, token).expiring(expires_at))
}

fn signing(credentials: &Credentials) -> aws_credential_types::Credentials {
    aws_credential_types::Credentials::new(
        credentials.access_key_id(),
        credentials.secret_access_key(),
        credentials.session_token().map(str::to_owned),
        credentials.expires_at(),
        "longshore",
    )
}

/// The duration of a session as STS takes it, in seconds.
pub(super) fn seconds(duration: Option<Duration>) -> Option<i32> {
    duration.and_then(|duration| i32::try_from(duration.as_secs()).ok())
}
