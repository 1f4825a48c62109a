//! `type: grpc`: credentials from a service that the operator runs: `CredentialProviderService` in
//! `proto/longshore/v1/credential_provider_service.proto`.

mod connection;

use std::{
    error::Error,
    time::{Duration, SystemTime},
};

use futures::{FutureExt, future::BoxFuture};
use secrecy::SecretString;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
};

use super::{
    Credentials, CredentialsError, GrpcSettings, cache::Source, document::MAX_DOCUMENT,
    metadata_http::origin, small_file,
};
use crate::{
    pb::{
        GetCredentialsRequest, GetCredentialsResponse, S3Credential, code_name,
        credential_provider_service_client::CredentialProviderServiceClient,
    },
    telemetry::cut,
    transport::Lookups,
};

/// The number of attempts for a request, as with STS.
const ATTEMPTS: u32 = 3;

/// The average pause before the second attempt. Further pauses are twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// The latest time that a `google.protobuf.Timestamp` may have: the end of the year 9999.
const LATEST: i64 = 253_402_300_799;

/// The longest message of a status that errors show, in bytes.
const MAX_MESSAGE: usize = 512;

/// A service that returns credentials.
#[derive(Debug)]
pub(super) struct Grpc {
    pub(super) settings: GrpcSettings,
    /// The tenant's.
    pub(super) lookups: Lookups,
}

/// Why an attempt failed.
struct Failure {
    error: CredentialsError,
    /// Whether another attempt may succeed.
    is_transient: bool,
}

impl From<CredentialsError> for Failure {
    fn from(error: CredentialsError) -> Self {
        Self { error, is_transient: false }
    }
}

impl Source for Grpc {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        self.request().boxed()
    }
}

impl Grpc {
    async fn request(&self) -> Result<Credentials, CredentialsError> {
        let mut pause = PAUSE.mul_f64(0.5 + fastrand::f64());
        let latest = Instant::now() + GrpcSettings::LONGEST_TIMEOUT;
        for _ in 1..ATTEMPTS {
            match self.attempt().await {
                Err(failure)
                    if failure.is_transient && Instant::now() + pause + self.settings.timeout <= latest =>
                {
                    sleep(pause).await;
                    pause *= 2;
                }
                found => return found.map_err(|failure| failure.error),
            }
        }
        self.attempt().await.map_err(|failure| failure.error)
    }

    /// One attempt. Its time limit includes everything: reading files, DNS, TCP, TLS and the call.
    async fn attempt(&self) -> Result<Credentials, Failure> {
        let deadline = Instant::now() + self.settings.timeout;
        match timeout_at(deadline, self.call(deadline)).await {
            // tonic has its own timer for the deadline, whose error does not say what expired.
            Ok(found) if found.is_ok() || Instant::now() < deadline => found,
            _ => {
                let limit = humantime::format_duration(self.settings.timeout);
                let text = format!("{} did not answer within {limit}", self.place());
                Err(Failure { error: CredentialsError::new(text), is_transient: true })
            }
        }
    }

    /// Calls the service on a new connection. Requests are rare, and a new connection follows changes of DNS, of the
    /// certificates and of the token.
    async fn call(&self, deadline: Instant) -> Result<Credentials, Failure> {
        let GrpcSettings { tenant, store, .. } = &self.settings;
        let token = self.token().await?;
        let channel = connection::open(&self.settings, self.lookups.clone()).await?;
        let mut client =
            CredentialProviderServiceClient::new(channel).max_decoding_message_size(MAX_DOCUMENT);
        let names = GetCredentialsRequest { tenant: tenant.clone(), store: store.clone() };
        let mut request = Request::new(names);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        if let Some((_, header)) = &token {
            request.metadata_mut().insert("authorization", header.clone());
        }
        let response = client.get_credentials(request).await;
        let response = response.map_err(|status| self.failed(&status, token.map(|(token, _)| token)))?;
        Ok(self.received(response.into_inner())?)
    }

    /// The token, and the header that carries it.
    async fn token(&self) -> Result<Option<(String, MetadataValue<Ascii>)>, CredentialsError> {
        let Some(path) = &self.settings.token_file else { return Ok(None) };
        let text = small_file::read(path).await?;
        let token = text.trim();
        let header = MetadataValue::try_from(format!("Bearer {token}"));
        let mut header = header.map_err(|_| {
            let text = format!(
                "the token in {} contains a character that headers cannot have",
                path.path().display()
            );
            CredentialsError::new(text)
        })?;
        header.set_sensitive(true);
        Ok(Some((token.to_owned(), header)))
    }

    /// The failure that a status stands for. Some servers repeat a token that they reject, so it is removed from the
    /// message.
    fn failed(&self, status: &Status, token: Option<String>) -> Failure {
        let message = match token {
            Some(token) => status.message().replace(&token, "TOKEN"),
            None => status.message().to_owned(),
        };
        let (code, message) = (status.code(), cut(&message, MAX_MESSAGE));
        let text = format!("GetCredentials of {} failed with {}: {message}", self.place(), code_name(code));
        let error = match code {
            Code::NotFound => CredentialsError::absent(text),
            _ => CredentialsError::new(text),
        };
        // A status with a source comes from tonic, for a connection that broke.
        let is_transient =
            matches!(code, Code::Unavailable | Code::DeadlineExceeded) || status.source().is_some();
        Failure { error, is_transient }
    }

    fn received(&self, response: GetCredentialsResponse) -> Result<Credentials, CredentialsError> {
        let failed = |what: &str| CredentialsError::new(format!("{} returned {what}", self.place()));
        let Some(credential) = response.credential else { return Err(failed("no credential")) };
        let S3Credential { access_key_id, secret_access_key, token, expires_at } = credential;
        if access_key_id.is_empty() || secret_access_key.is_empty() {
            return Err(failed("no access_key_id or no secret_access_key"));
        }
        let token = token.filter(|token| !token.is_empty()).map(SecretString::from);
        let credentials = Credentials::new(access_key_id, secret_access_key, token);
        let Some(time) = expires_at else { return Ok(credentials) };
        let is_valid = (0..1_000_000_000).contains(&time.nanos) && time.seconds <= LATEST;
        match SystemTime::try_from(time) {
            Ok(time) if is_valid => Ok(credentials.expiring(time)),
            _ => Err(failed("an expires_at that is not a valid time")),
        }
    }

    /// The part of the address that errors show.
    fn place(&self) -> String {
        origin(&self.settings.endpoint)
    }
}
