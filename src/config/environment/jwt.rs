//! `LONGSHORE_JWT_*`: an issuer whose tokens name their tenant.

use std::{sync::Arc, time::Duration};

use crate::{
    auth::{JwksUrl, MAX_LEEWAY, ServerJwt, check_pointer, check_url},
    settings::{FilePath, LocalPath, Notes, Optional, Period, Scalar, Section as _, Text, settings},
    transport::{CertificatesFile, RootCertificates},
};

use super::place;

settings! {
    /// An issuer whose tokens name their tenant.
    pub(in crate::config) struct JwtVariables(JwtVariablesSection), variables "LONGSHORE_" {
        /// Issuer of tokens that name their tenant in a claim, for callers with `jwt: {server: true}`.
        issuer = "jwt_issuer": Option<String> as Optional<Text> = None => "none",
        /// Audience of these tokens.
        audience = "jwt_audience": Option<String> as Optional<Text> = None => "required with the issuer",
        /// The claim that names the tenant, or lists tenants: a JSON pointer, such as `/tenant`.
        tenant_claim = "jwt_tenant_claim": Option<String> as Optional<Pointer> = None => "required with the issuer",
        /// URL of the issuer's keys, with https.
        jwks_url = "jwt_jwks_url": Option<String> as Optional<KeysUrl> = None => "required with the issuer",
        /// File with the bearer token for requests to this URL, read for each request.
        jwks_bearer_token_file = "jwt_jwks_bearer_token_file": Option<LocalPath> as Optional<FilePath> = None => "none",
        /// CA certificates for this URL in PEM, in place of those of the system. Read at startup.
        jwks_ca_file = "jwt_jwks_ca_file": Option<RootCertificates> as Optional<CertificatesFile> = None => "those of the system",
        /// How far the issuer's clock may differ from this one; at most 5m.
        leeway = "jwt_leeway": Duration as Period = Duration::from_secs(30),
    }
}

/// A JSON pointer.
pub(in crate::config) struct Pointer;

impl Scalar for Pointer {
    type Value = String;

    fn expected() -> String {
        "a JSON pointer, such as /tenant".to_owned()
    }

    fn form() -> String {
        "JSON pointer".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        check_pointer(text)?;
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// The URL of a JWKS.
pub(in crate::config) struct KeysUrl;

impl Scalar for KeysUrl {
    type Value = String;

    fn expected() -> String {
        "an https:// URL".to_owned()
    }

    fn form() -> String {
        "URL".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        check_url(text)?;
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

impl JwtVariables {
    /// The issuer. Records a problem for each variable that is missing.
    pub(super) fn settle(self, notes: &Notes) -> Option<ServerJwt> {
        let required = ["JWT_ISSUER", "JWT_AUDIENCE", "JWT_TENANT_CLAIM", "JWT_JWKS_URL"];
        let variables = notes.variables();
        let is_set =
            |name: &str| variables.text(&format!("LONGSHORE_{name}")).is_ok_and(|text| text.is_some());
        let own = Self::settings();
        let mut names = own.iter().flat_map(|setting| &setting.variables);
        if names.all(|name| variables.text(name).is_ok_and(|text| text.is_none())) {
            return None;
        }
        for name in required.into_iter().filter(|name| !is_set(name)) {
            let all = required.map(|name| format!("LONGSHORE_{name}")).join(", ");
            notes.problem_at(place(name), format!("is not set: set {all}, or no variable of them"));
        }
        if self.leeway > MAX_LEEWAY {
            notes.problem_at(place("JWT_LEEWAY"), "must be at most 5m");
        }
        Some(ServerJwt {
            issuer: self.issuer?,
            audience: self.audience?,
            tenant_claim: self.tenant_claim?,
            jwks: Arc::new(JwksUrl {
                url: self.jwks_url?,
                bearer_token_file: self.jwks_bearer_token_file,
                ca: self.jwks_ca_file,
                refuse_local: false,
            }),
            leeway: self.leeway,
        })
    }
}
