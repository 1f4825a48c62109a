//! What identifies a caller: API tokens, names in client certificates, and claims of JWTs.

use std::{fmt, time::SystemTime};

use super::CallerJwt;

/// What identifies a caller. The settings require at least one item, and any of them suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identities {
    /// The caller's API tokens.
    pub tokens: Vec<ApiToken>,
    /// Names in the caller's client certificates.
    pub names: Vec<SubjectAltName>,
    /// The JWTs that are the caller's.
    pub jwt: Option<CallerJwt>,
    /// Whether a call that is identified by something other than a secret has to name its tenant. Set if the author of
    /// the tenants file is not trusted: names in certificates and claims are public, so the author could list those of other
    /// tenants' callers, and would otherwise get the calls that name no tenant.
    pub must_name_tenant: bool,
}

/// An API token, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// The SHA-256 of the token.
    pub sha256: [u8; 32],
    /// When the token expires; `None`: never.
    pub not_after: Option<SystemTime>,
}

/// A name in the subjectAltName extension of a certificate (RFC 5280, section 4.2.1.6). Names are equal if they have
/// the same kind and the same characters: neither the case nor wildcards are interpreted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectAltName {
    /// A `dNSName`.
    Dns(Box<str>),
    /// A `uniformResourceIdentifier`, such as a SPIFFE id.
    Uri(Box<str>),
}

impl Identities {
    /// One API token that does not expire.
    pub fn token(sha256: [u8; 32]) -> Self {
        Self { tokens: vec![ApiToken { sha256, not_after: None }], ..Self::default() }
    }
}

impl SubjectAltName {
    /// The name without its kind, as it is written in the settings.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(name) | Self::Uri(name) => name,
        }
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "DNS:{name}"),
            Self::Uri(name) => write!(f, "URI:{name}"),
        }
    }
}
