//! Requests to endpoints that give this machine or container its identity.
//!
//! They never go through a proxy, which would return the identity of its own host.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};

use super::{CredentialsError, document::MAX_DOCUMENT};
use crate::transport::{ClientOptions, HttpClient, Lookups, Payload};

/// Sends one request at a time. A client is created for each request for credentials, which are rare.
#[derive(Debug)]
pub(super) struct MetadataHttp {
    http: HttpClient,
    attempts: u32,
}

impl MetadataHttp {
    /// For requests to `url`. `timeout` is for one attempt. `refuse_local`: whether connections to this machine and to
    /// metadata services fail. `lookups`: those of the tenant.
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        attempts: u32,
        refuse_local: bool,
        lookups: Lookups,
    ) -> Result<Self, CredentialsError> {
        let options = ClientOptions {
            allow_http: true,
            // They are not needed, may be missing, and take a while to load.
            disable_system_certificates: !url.starts_with("https:"),
            connect_timeout: timeout,
            read_timeout: timeout,
            timeout: Some(timeout),
            refuse_local,
            ..ClientOptions::default()
        };
        let http = HttpClient::new(&options, lookups).map_err(|error| {
            CredentialsError::new(format!("no HTTP client for credentials could be created: {error}"))
        })?;
        Ok(Self { http, attempts: attempts.max(1) })
    }

    /// Sends a request until there is a response that is not a server error (5xx), at most as many times as allowed.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), CredentialsError> {
        let mut attempt = 1;
        loop {
            let last = attempt >= self.attempts;
            match self.try_send(method.clone(), url, headers).await {
                Ok((status, _)) if status.is_server_error() && !last => {}
                Err(_) if !last => {}
                outcome => return outcome,
            }
            attempt += 1;
        }
    }

    async fn try_send(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), CredentialsError> {
        let failed = |why: String| CredentialsError::new(format!("{} cannot be read: {why}", origin(url)));
        let mut request =
            Request::builder().method(method).uri(url).body(()).map_err(|error| failed(error.to_string()))?;
        request.headers_mut().clone_from(headers);
        let (head, ()) = request.into_parts();
        let response =
            self.http.send(head, &Payload::default(), 1).await.map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        let body = response.into_body().collect(MAX_DOCUMENT).await;
        Ok((status, body.map_err(|error| failed(error.to_string()))?))
    }
}

/// The part of a URL that errors show: the rest may identify a container, and thus be a secret.
pub(super) fn origin(url: &str) -> String {
    let uri = url.parse::<Uri>().unwrap_or_default();
    let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default())
}
