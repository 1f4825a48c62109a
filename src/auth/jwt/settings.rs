//! The settings of a caller with a JWT.

use std::{sync::Arc, time::Duration};

use http::Uri;

use super::KeySet;
use crate::{settings::LocalPath, transport::RootCertificates};

/// The longest `leeway`. A longer one would extend the lifetime of every token noticeably.
pub(crate) const MAX_LEEWAY: Duration = Duration::from_mins(5);

/// Which tokens are a caller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// The issuer, exactly as in the claim `iss`.
    pub issuer: String,
    /// The audience: the claim `aud`, or one of its items.
    pub audience: String,
    /// Where the issuer's keys are. They verify the tokens of this caller, and of others with the same settings only.
    pub jwks: Jwks,
    /// JSON pointers into the claims, and the string that each must lead to: as the value, or as an item of a list.
    pub claims: Vec<(String, String)>,
    /// How far the issuer's clock may differ from this one.
    pub leeway: Duration,
}

/// A caller's `jwt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallerJwt {
    /// The tenant names the issuer.
    Own(JwtSettings),
    /// The issuer is that of the server. Tokens must name the tenant, and have these claims.
    Server(Vec<(String, String)>),
}

/// The issuer of the server, whose tokens name their tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerJwt {
    /// The issuer.
    pub issuer: String,
    /// The audience.
    pub audience: String,
    /// The JSON pointer of the claim that is the tenant's name, or lists names of tenants.
    pub tenant_claim: String,
    /// Where the issuer's keys are.
    pub jwks: Arc<JwksUrl>,
    /// How far the issuer's clock may differ from this one.
    pub leeway: Duration,
}

impl ServerJwt {
    /// The tokens that name this tenant and have these claims.
    fn of_tenant(&self, tenant: &str, claims: &[(String, String)]) -> JwtSettings {
        let tenant = (self.tenant_claim.clone(), tenant.to_owned());
        JwtSettings {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            jwks: Jwks::Url(Arc::clone(&self.jwks)),
            claims: [&[tenant], claims].concat(),
            leeway: self.leeway,
        }
    }
}

impl CallerJwt {
    /// Which tokens are the caller's. `None` if that depends on the server's issuer, and it has none.
    pub(super) fn settings(&self, tenant: &str, server: Option<&ServerJwt>) -> Option<JwtSettings> {
        match self {
            Self::Own(settings) => Some(settings.clone()),
            Self::Server(claims) => Some(server?.of_tenant(tenant, claims)),
        }
    }
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// In a file, which has been read with the settings.
    File(Arc<KeySet>),
    /// At a URL, which is read when keys are needed.
    Url(Arc<JwksUrl>),
}

/// A URL with a JWKS. Equal ones share one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwksUrl {
    /// The URL.
    pub url: String,
    /// The file with the bearer token of the request, read for each request.
    pub bearer_token_file: Option<LocalPath>,
    /// The only CA certificates that are trusted. `None`: those of the system.
    pub ca: Option<RootCertificates>,
    /// Whether connections to this machine and to metadata services fail.
    pub refuse_local: bool,
}

impl JwksUrl {
    /// What the log shows: the URL without its query, which can contain a secret.
    pub(super) fn shown(&self) -> &str {
        self.url.split(['?', '#']).next().unwrap_or_default()
    }
}

/// Checks the URL of a JWKS. The error says what would be right.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let wrong = "must be an https:// URL without a user name; http:// is allowed for this host only";
    let uri: Uri = url.parse().map_err(|_| wrong.to_owned())?;
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    let has_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if !host.is_empty() && !has_user => Ok(()),
        Some("http") if is_loopback && !has_user => Ok(()),
        _ => Err(wrong.to_owned()),
    }
}

/// Checks a JSON pointer (RFC 6901). The error says what would be right.
pub(crate) fn check_pointer(pointer: &str) -> Result<(), &'static str> {
    if !pointer.starts_with('/') {
        return Err("must be a JSON pointer, such as /sub or /kubernetes.io/namespace");
    }
    if pointer.split('~').skip(1).any(|rest| !rest.starts_with(['0', '1'])) {
        return Err("must be a JSON pointer, in which `~` is written as ~0, and `/` within a name as ~1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_over_tls_or_from_this_host() {
        for url in
            ["https://issuer.example/keys", "http://127.0.0.1:8000/keys", "http://[::1]/", "http://localhost"]
        {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "http://issuer.example/keys",
            "https://",
            "https://u:p@issuer.example/",
            "ftp://127.0.0.1/",
            "/keys",
            "",
        ] {
            assert!(check_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn pointers_begin_with_a_slash_and_have_valid_escapes() {
        for pointer in ["/sub", "/kubernetes.io/namespace", "/a~1b/c~0d", "/"] {
            assert_eq!(check_pointer(pointer), Ok(()), "{pointer}");
        }
        for pointer in ["", "sub", "/a~", "/a~2"] {
            assert!(check_pointer(pointer).is_err(), "{pointer}");
        }
    }
}
