//! Reads a JWKS from a URL.

use std::{
    io::Read as _,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderValue, Request, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use secrecy::zeroize::Zeroizing;
use tokio::task::spawn_blocking;

use super::{JwksUrl, KeySet, KeysError, key_set::MAX_JWKS};
use crate::{
    settings::LocalPath,
    transport::{ClientOptions, HttpClient, Lookups, Payload},
};

/// How long the whole request may take.
pub(super) const LONGEST_REQUEST: Duration = Duration::from_secs(5);

/// How long the connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The largest file with a bearer token, in bytes.
const MAX_TOKEN_FILE: u64 = 64 * 1024;

/// Requests the JWKS once. Redirects are not followed: they could lead to where the settings do not. `lookups` are those
/// of the URL, since a lookup can outlive the request that began it.
pub(super) async fn fetch(from: &JwksUrl, lookups: Lookups) -> Result<KeySet, KeysError> {
    let requested = tokio::time::timeout(LONGEST_REQUEST, request(from, lookups)).await;
    let late = || KeysError::new(format!("no answer within {} s", LONGEST_REQUEST.as_secs()));
    requested.map_err(|_| late())?
}

async fn request(from: &JwksUrl, lookups: Lookups) -> Result<KeySet, KeysError> {
    let mut request = Request::get(&from.url).body(()).map_err(|_| KeysError::new("the URL is invalid"))?;
    let accepted = HeaderValue::from_static("application/jwk-set+json, application/json");
    request.headers_mut().insert(ACCEPT, accepted);
    // A client for each request, because requests are rare. Creating one reads the CA certificates of the system.
    let (options, file) = (options(from), from.bearer_token_file.clone());
    let prepared = blocking(move || {
        let client = HttpClient::new(&options, lookups).map_err(|error| KeysError::new(error.to_string()))?;
        Ok((client, file.as_ref().map(authorization).transpose()?))
    });
    let (client, authorization) = prepared.await?;
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    let (head, ()) = request.into_parts();
    let answer = client.send(head, &Payload::default(), 1).await.map_err(|error| transport(&error))?;
    if answer.status() != StatusCode::OK {
        return Err(KeysError::new(format!("the answer has HTTP status {}", answer.status().as_u16())));
    }
    let jwks = answer.into_body().collect(MAX_JWKS).await.map_err(|error| transport(&error))?;
    blocking(move || parse_in_turn(&jwks)).await
}

/// Parses a JWKS after those that came before it, so that many issuers together take no more memory, and no more than one
/// processor.
fn parse_in_turn(jwks: &[u8]) -> Result<KeySet, KeysError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    KeySet::parse(jwks)
}

fn options(from: &JwksUrl) -> ClientOptions {
    ClientOptions {
        // For this host only, which the settings have checked.
        allow_http: true,
        disable_system_certificates: from.ca.is_some() || !from.url.starts_with("https:"),
        root_certificates: from.ca.clone(),
        connect_timeout: CONNECT_TIMEOUT,
        read_timeout: LONGEST_REQUEST,
        timeout: Some(LONGEST_REQUEST),
        refuse_local: from.refuse_local,
        ..ClientOptions::default()
    }
}

fn transport(error: &crate::transport::TransportError) -> KeysError {
    KeysError::new(error.to_string())
}

/// The header that carries the token in a file. It is marked as sensitive, so that it is not logged.
fn authorization(file: &LocalPath) -> Result<HeaderValue, KeysError> {
    let failed = |why: &str| KeysError::new(format!("cannot use {}: {why}", file.path().display()));
    let mut text = Zeroizing::new(String::new());
    let opened = file.open().map_err(|error| failed(&error.to_string()))?;
    opened.take(MAX_TOKEN_FILE + 1).read_to_string(&mut text).map_err(|error| failed(&error.to_string()))?;
    if text.len() as u64 > MAX_TOKEN_FILE {
        return Err(failed("it is larger than 64 KiB"));
    }
    let token = text.trim();
    if token.is_empty() {
        return Err(failed("it is empty"));
    }
    let value = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&value)
        .map_err(|_| failed("it contains a character that headers cannot have"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Runs `work` on a thread for work that blocks or computes.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeysError> + Send + 'static,
) -> Result<T, KeysError> {
    let stopped = |_| Err(KeysError::new("the request was interrupted"));
    spawn_blocking(work).await.unwrap_or_else(stopped)
}
