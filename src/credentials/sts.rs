//! Requests to AWS STS, with the store's HTTP client, so that its settings apply to them.

use std::{fmt, time::Duration};

use aws_sdk_sts::{
    config::{
        BehaviorVersion, Region, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    types::Credentials as StsCredentials,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use secrecy::SecretString;

use super::{Credentials, CredentialsError};
use crate::transport::{HttpClient, Payload, TransportError, TransportErrorKind};

/// The maximum size of a response, in bytes.
const MAX_RESPONSE: usize = 1024 * 1024;

/// The number of attempts for a request, as in the AWS SDKs.
const ATTEMPTS: u32 = 3;

/// The time limit of an attempt.
const ATTEMPT: Duration = Duration::from_secs(6);

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
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .http_client(Http(self.http.clone()))
            .sleep_impl(TokioSleep::new())
            // All attempts together fit into the time that the cache gives a provider.
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
            // It takes a server that thinks for one that is stalled, because the connector sends the body at once.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        config.set_endpoint_url(self.endpoint.clone());
        config = match credentials {
            Some(credentials) => config.credentials_provider(signing(credentials)),
            None => config.allow_no_auth(),
        };
        aws_sdk_sts::Client::from_conf(config.build())
    }

    /// The error for a request named `action`. The SDK's own texts can contain whole requests and responses, and STS's
    /// messages about credentials can contain what was signed, so neither is shown.
    pub(super) fn failed<E>(&self, action: &str, error: &SdkError<E, HttpResponse>) -> CredentialsError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let why = match error {
            SdkError::ServiceError(answer) => match answer.err().code() {
                Some(code) if ABOUT_CREDENTIALS.contains(&code) => code.to_owned(),
                Some(code) => format!("{code}: {}", answer.err().message().unwrap_or_default()),
                None => {
                    format!("its answer, HTTP status {}, is not one of STS", answer.raw().status().as_u16())
                }
            },
            SdkError::ResponseError(_) => "its answer cannot be read".to_owned(),
            SdkError::TimeoutError(_) => "it did not answer in time".to_owned(),
            other => transport_error(other).map_or_else(
                || "the request could not be built: check `endpoint` and `region`".to_owned(),
                ToString::to_string,
            ),
        };
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

/// Our own error below one of the SDK.
fn transport_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a TransportError> {
    let mut error = Some(error);
    while let Some(found) = error {
        if let Some(found) = found.downcast_ref::<TransportError>() {
            return Some(found);
        }
        error = found.source();
    }
    None
}

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

/// Sends the SDK's requests.
#[derive(Clone)]
struct Http(HttpClient);

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Http")
    }
}

impl SdkHttpClient for Http {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Http {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let http = self.0.clone();
        HttpConnectorFuture::new(async move { send(&http, request).await })
    }
}

async fn send(http: &HttpClient, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    let body = body.bytes().map(Bytes::copy_from_slice);
    let body = body.ok_or_else(|| ConnectorError::user("a request body that is a stream".into()))?;
    let payload = if body.is_empty() { Payload::default() } else { Payload::from(body) };
    let response = http.send(head, &payload, 1).await.map_err(connector_error)?;
    let (head, body) = response.into_parts();
    let body = body.collect(MAX_RESPONSE).await.map_err(connector_error)?;
    let response = http::Response::from_parts(head, SdkBody::from(body));
    HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
}

/// The SDK retries timeouts and connection failures.
fn connector_error(error: TransportError) -> ConnectorError {
    match error.kind() {
        TransportErrorKind::Timeout => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}
