//! Requests of the AWS SDK's clients, which are sent with the store's HTTP client, so that its settings apply to them.

use std::{fmt, time::Duration};

use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::{ConnectorError, SdkError},
    runtime_components::RuntimeComponents,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_smithy_types::{
    body::SdkBody, error::metadata::ProvideErrorMetadata, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_types::{SdkConfig, region::Region};
use bytes::Bytes;

use crate::transport::{HttpClient, Payload, TransportError, TransportErrorKind};

/// The maximum size of a response, in bytes.
const MAX_RESPONSE: usize = 1024 * 1024;

/// The number of attempts for a request, as in the AWS SDKs.
const ATTEMPTS: u32 = 3;

/// The time limit of an attempt.
const ATTEMPT: Duration = Duration::from_secs(6);

/// What the SDK's clients have in common. It is used instead of aws-config, which would read the environment.
pub(super) fn config(http: &HttpClient, region: &str, endpoint: Option<&str>) -> SdkConfig {
    let mut config = SdkConfig::builder()
        .behavior_version(aws_sdk_sts::config::BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .http_client(Http(http.clone()))
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        // All attempts together fit into the time that the cache gives a provider.
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
        // It takes a server that thinks for one that is stalled, because the connector sends the body at once.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    config.set_endpoint_url(endpoint.map(str::to_owned));
    config.build()
}

/// Why a request failed. The SDK's own texts can contain whole requests and responses, so they are not shown. The
/// service's messages are, except for those with one of the codes `about_credentials`.
pub(super) fn why<E>(error: &SdkError<E, HttpResponse>, service: &str, about_credentials: &[&str]) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(answer) => match answer.err().code() {
            Some(code) if about_credentials.contains(&code) => code.to_owned(),
            Some(code) => format!("{code}: {}", answer.err().message().unwrap_or_default()),
            None => {
                let status = answer.raw().status().as_u16();
                format!("its answer, HTTP status {status}, is not one of {service}")
            }
        },
        SdkError::ResponseError(_) => "its answer cannot be read".to_owned(),
        SdkError::TimeoutError(_) => "it did not answer in time".to_owned(),
        other => transport_error(other).map_or_else(
            || "the request could not be built: check `endpoint` and `region`".to_owned(),
            ToString::to_string,
        ),
    }
}

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
    let (mut head, body) = request.into_parts();
    // The SDK marks neither signatures nor the token of SSO as secrets.
    for value in head.headers.values_mut() {
        value.set_sensitive(true);
    }
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
