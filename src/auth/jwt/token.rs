//! The parts of a JWT (RFC 7519), before its signature is verified.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{JwtRejection, JwtSettings, algorithm::Algorithm, json};

/// The longest token, in bytes. Tokens of Kubernetes have about 1 KiB, and those of other issuers a few.
const MAX_TOKEN: usize = 16 * 1024;

/// The types of tokens that are meant for access, in lower case. Others, such as `logout+jwt`, may have the same
/// issuer, audience and signature (RFC 8725, section 3.11).
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];

/// A token whose signature has not been verified. It has no `Debug`, which would show a secret.
pub(super) struct Token<'a> {
    /// The signed part.
    pub(super) message: &'a str,
    /// The signature, in base64url.
    pub(super) signature: &'a str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Value,
    times: Times,
}

/// Claims with a time, in seconds since 1970.
struct Times {
    expires: f64,
    not_before: Option<f64>,
    issued: Option<f64>,
}

impl<'a> Token<'a> {
    /// Parses a token. `None` if it is not a JWT at all.
    pub(super) fn parse(text: &'a str) -> Option<Result<Self, JwtRejection>> {
        let (message, signature) = text.rsplit_once('.')?;
        let (header, claims) = message.split_once('.')?;
        let parts = [header, claims, signature];
        let is_part = |part: &&str| {
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let is_jwt = parts.iter().all(is_part) && !header.is_empty() && !claims.is_empty();
        is_jwt.then(|| Self::from_parts(message, [header, claims], signature))
    }

    fn from_parts(message: &'a str, parts: [&str; 2], signature: &'a str) -> Result<Self, JwtRejection> {
        if message.len() + signature.len() > MAX_TOKEN {
            return Err(JwtRejection::Malformed("it is larger than 16 KiB"));
        }
        let [header, claims] = parts;
        let header = object(header, "its header is not a JSON object whose names differ")?;
        let claims = object(claims, "its claims are not a JSON object whose names differ")?;
        let times = Times::of(&claims)?;
        let algorithm = algorithm(&header)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.clone()),
            Some(_) => return Err(JwtRejection::Malformed("its `kid` is not a string")),
        };
        Ok(Self { message, signature, algorithm, key_id, claims: claims.into(), times })
    }

    /// The issuer, if the claim is a string.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// Whether issuer, audience and claims are those of the caller.
    pub(super) fn fits(&self, settings: &JwtSettings) -> bool {
        self.issuer() == Some(&settings.issuer)
            && self.claims.get("aud").is_some_and(|found| has(found, &settings.audience))
            && settings
                .claims
                .iter()
                .all(|(pointer, value)| self.claims.pointer(pointer).is_some_and(|found| has(found, value)))
    }

    /// Why the token is not valid now, for clocks that differ by up to `leeway`.
    pub(super) fn problem(&self, now: SystemTime, leeway: Duration) -> Option<JwtRejection> {
        self.times.problem(seconds(now), leeway.as_secs_f64())
    }

    /// How long the token remains valid. Zero if it has expired.
    pub(super) fn lifetime(&self, now: SystemTime, leeway: Duration) -> Duration {
        let left = self.times.expires + leeway.as_secs_f64() - seconds(now);
        Duration::try_from_secs_f64(left.max(0.0)).unwrap_or(Duration::MAX)
    }
}

impl Times {
    fn of(claims: &Map<String, Value>) -> Result<Self, JwtRejection> {
        let expires = time(claims, "exp", "its `exp` is not a number")?;
        Ok(Self {
            expires: expires.ok_or(JwtRejection::Malformed("it has no `exp`"))?,
            not_before: time(claims, "nbf", "its `nbf` is not a number")?,
            issued: time(claims, "iat", "its `iat` is not a number")?,
        })
    }

    fn problem(&self, now: f64, leeway: f64) -> Option<JwtRejection> {
        let is_future = |time: &Option<f64>| time.is_some_and(|time| time > now + leeway);
        if self.expires + leeway <= now {
            Some(JwtRejection::Expired)
        } else if is_future(&self.not_before) || is_future(&self.issued) {
            Some(JwtRejection::NotYetValid)
        } else {
            None
        }
    }
}

/// Checks the header (RFC 7515, section 4). `jku`, `jwk`, `x5u` and `x5c` have no effect: keys come from the settings
/// only.
fn algorithm(header: &Map<String, Value>) -> Result<Algorithm, JwtRejection> {
    // The extensions that the verifier must support. Longshore supports none, not even `b64`.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(JwtRejection::Malformed("its header has `crit` or `b64`, which are not supported"));
    }
    let is_known = |typ: &Value| {
        typ.as_str().is_some_and(|typ| TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ)))
    };
    if !header.get("typ").is_none_or(is_known) {
        return Err(JwtRejection::Malformed("its `typ` is not JWT or at+jwt"));
    }
    let unsupported =
        "its `alg` is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, Ed25519";
    let name = header.get("alg").and_then(Value::as_str);
    name.and_then(Algorithm::named).ok_or(JwtRejection::Malformed(unsupported))
}

fn object(part: &str, otherwise: &'static str) -> Result<Map<String, Value>, JwtRejection> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok();
    match bytes.and_then(|bytes| json::parse(&bytes)) {
        Some(Value::Object(object)) => Ok(object),
        _ => Err(JwtRejection::Malformed(otherwise)),
    }
}

/// A NumericDate, which may have a fraction.
fn time(
    claims: &Map<String, Value>,
    name: &str,
    otherwise: &'static str,
) -> Result<Option<f64>, JwtRejection> {
    let Some(found) = claims.get(name) else { return Ok(None) };
    let time = found.as_f64().filter(|time| time.is_finite());
    time.map(Some).ok_or(JwtRejection::Malformed(otherwise))
}

/// Whether a claim is this string, or a list that contains it.
fn has(claim: &Value, expected: &str) -> bool {
    match claim {
        Value::String(found) => found == expected,
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(expected)),
        _ => false,
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
