//! Authenticates callers by their tokens and certificates.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{
    AuthMode, CallerSettings, ClientCertificate, KeySources, KeysWanted, Principal, Refusal,
    certificate::NameIndex, jwt::JwtCallers, tokens::TokenIndex,
};

/// Finds the caller of a token or a certificate, among the callers of all tenants: by the digest of an API token, by
/// what the issuer of a JWT says, or by the names in a certificate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator {
    inner: Arc<Inner>,
    jwt: JwtCallers,
}

#[derive(Debug)]
enum Inner {
    /// Authentication is off.
    Anyone(Arc<Principal>),
    Known {
        tokens: TokenIndex,
        names: NameIndex,
    },
}

impl Authenticator {
    /// An authenticator for the callers of these tenants. If several tenants declare the same token, or the same name
    /// in a certificate, its caller may act for each of them.
    pub fn new<'a>(
        mode: AuthMode,
        tenants: impl IntoIterator<Item = (&'a str, &'a [CallerSettings])> + Clone,
    ) -> Self {
        let inner = match mode {
            AuthMode::None => {
                let names = tenants.into_iter().map(|(tenant, _)| tenant);
                Inner::Anyone(Arc::new(Principal::anyone(names)))
            }
            AuthMode::Required => Inner::Known {
                tokens: TokenIndex::new(tenants.clone().into_iter()),
                names: NameIndex::new(tenants.into_iter()),
            },
        };
        Self { inner: Arc::new(inner), jwt: JwtCallers::default() }
    }

    /// The same, for callers with a JWT too. The keys of their issuers are those in `sources`.
    #[must_use]
    pub fn with_jwt<'a>(
        self,
        tenants: impl IntoIterator<Item = (&'a str, &'a [CallerSettings])>,
        sources: &KeySources,
    ) -> Self {
        Self { jwt: JwtCallers::new(tenants, sources), ..self }
    }

    /// The requests for the keys of an issuer, after [`Authenticator::authenticate`] failed with
    /// [`Refusal::JwtKeysUnavailable`]. When one of them has ended, it may succeed.
    pub fn keys_wanted(&self, authorization: Option<&str>) -> Vec<KeysWanted> {
        authorization.and_then(bearer).map(|token| self.jwt.wanted(token)).unwrap_or_default()
    }

    /// Authenticates a caller by the value of the `authorization` metadata (RFC 6750, section 2.1), or, if the call has
    /// none, by the verified certificate of its connection. A certificate does not make up for an invalid token: the
    /// caller would act as someone other than it meant to.
    pub fn authenticate(
        &self,
        authorization: Option<&str>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Arc<Principal>, Refusal> {
        let (tokens, names) = match &*self.inner {
            Inner::Anyone(principal) => return Ok(Arc::clone(principal)),
            Inner::Known { tokens, names } => (tokens, names),
        };
        match (authorization, certificate) {
            (Some(value), _) => {
                let token = bearer(value).ok_or(Refusal::TokenMissing)?;
                let digest: [u8; 32] = Sha256::digest(token).into();
                match tokens.find(&digest) {
                    Some(principal) => Ok(Arc::clone(principal)),
                    None => self.jwt.authenticate(token, &digest),
                }
            }
            (None, Some(certificate)) => names.authenticate(certificate),
            (None, None) => Err(Refusal::TokenMissing),
        }
    }
}

/// The token of a `Bearer` value. The name of the scheme is case-insensitive (RFC 9110, section 11.1).
pub(super) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::auth::{Access, ApiToken, Identities, Scope, SubjectAltName};

    fn caller(name: &str, token: &str, access: Access) -> CallerSettings {
        CallerSettings {
            name: name.to_owned(),
            identities: Identities::token(Sha256::digest(token).into()),
            access: vec![access],
            stores: None,
            prefixes: None,
        }
    }

    fn authenticator() -> Authenticator {
        let acme = [caller("billing", "token-a", Access::Read), caller("shared", "token-s", Access::Read)];
        let zeta = [caller("guest", "token-s", Access::Write)];
        Authenticator::new(AuthMode::Required, [("acme", acme.as_slice()), ("zeta", zeta.as_slice())])
    }

    #[test]
    fn the_authorization_value_is_parsed_as_in_rfc_6750() {
        let cases: &[(Option<&str>, Result<&str, Refusal>)] = &[
            (Some("Bearer token-a"), Ok("billing")),
            (Some("bearer token-a"), Ok("billing")),
            (Some("BEARER  token-a "), Ok("billing")),
            (None, Err(Refusal::TokenMissing)),
            (Some(""), Err(Refusal::TokenMissing)),
            (Some("Bearer"), Err(Refusal::TokenMissing)),
            (Some("Bearer  "), Err(Refusal::TokenMissing)),
            (Some("token-a"), Err(Refusal::TokenMissing)),
            (Some("Basic token-a"), Err(Refusal::TokenMissing)),
            (Some("Bearer token-b"), Err(Refusal::TokenUnknown)),
            (Some("Bearer Token-a"), Err(Refusal::TokenUnknown)),
            (Some("Bearer token-a token-a"), Err(Refusal::TokenUnknown)),
        ];
        for (value, expected) in cases {
            let found =
                authenticator().authenticate(*value, None).map(|principal| principal.name().to_owned());
            assert_eq!(found.as_deref().map_err(Clone::clone), *expected, "{value:?}");
        }
    }

    #[test]
    fn a_digest_is_not_accepted_as_a_token() {
        let digest = hex::encode(Sha256::digest("token-a"));
        let refusal = authenticator().authenticate(Some(&format!("Bearer {digest}")), None).unwrap_err();
        assert_eq!(refusal, Refusal::TokenUnknown);
    }

    #[test]
    fn a_token_of_two_tenants_has_the_grant_of_each_tenant() {
        let principal = authenticator().authenticate(Some("Bearer token-s"), None).unwrap();
        assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        let acme = principal.acting_for(Some("acme")).unwrap();
        let zeta = principal.acting_for(Some("zeta")).unwrap();
        assert_eq!((acme.name(), zeta.name()), ("shared", "guest"));
        assert!(acme.authorize(Access::Read, "default", Scope::Key("k")).is_ok());
        assert!(acme.authorize(Access::Write, "default", Scope::Key("k")).is_err());
        assert!(zeta.authorize(Access::Write, "default", Scope::Key("k")).is_ok());
    }

    #[test]
    fn other_tenants_and_missing_tenants_are_rejected_alike() {
        let principal = authenticator().authenticate(Some("Bearer token-a"), None).unwrap();
        let theirs = principal.acting_for(Some("zeta")).unwrap_err();
        let missing = principal.acting_for(Some("nobody")).unwrap_err();
        assert_eq!(theirs, missing);
        assert_eq!(theirs.to_string(), missing.to_string());
    }

    #[test]
    fn without_authentication_every_caller_acts_for_every_existing_tenant() {
        let off = |tenants: &[&'static str]| {
            let tenants = tenants.iter().map(|tenant| (*tenant, [].as_slice()));
            Authenticator::new(AuthMode::None, tenants)
        };
        for token in [None, Some("Bearer whatever"), Some("Basic x")] {
            let principal = off(&["demo"]).authenticate(token, None).unwrap();
            let actor = principal.acting_for(None).unwrap();
            assert_eq!(actor.tenant(), "demo");
            assert!(actor.authorize(Access::BucketAdmin, "default", Scope::Prefix("")).is_ok());
            assert_eq!(principal.acting_for(Some("other")).unwrap_err(), Refusal::TenantUnknown);
        }
        let several = off(&["a", "b"]).authenticate(None, None).unwrap();
        assert_eq!(several.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        assert_eq!(several.acting_for(Some("b")).unwrap().tenant(), "b");
    }
    #[test]
    fn each_token_of_a_caller_is_accepted_until_it_expires() {
        let now = SystemTime::now();
        let token = |text: &str, not_after| ApiToken { sha256: Sha256::digest(text).into(), not_after };
        let (before, after) = (now - Duration::from_secs(1), now + Duration::from_hours(1));
        let tokens = vec![token("old", Some(before)), token("current", Some(after)), token("new", None)];
        let rotating = |name: &str, tokens| CallerSettings {
            identities: Identities { tokens, ..Identities::default() },
            ..caller(name, "", Access::Read)
        };
        let acme = [rotating("billing", tokens), rotating("shared", vec![token("both", Some(before))])];
        let zeta = [rotating("guest", vec![token("both", None)])];
        let authenticator =
            Authenticator::new(AuthMode::Required, [("acme", &acme[..]), ("zeta", &zeta[..])]);
        let acts = |text: &str, tenant| {
            let principal = authenticator.authenticate(Some(&format!("Bearer {text}")), None).unwrap();
            principal.acting_for(tenant).map(|actor| actor.tenant().to_owned())
        };
        assert_eq!(acts("current", None).as_deref(), Ok("acme"));
        assert_eq!(acts("new", Some("acme")).as_deref(), Ok("acme"));
        assert_eq!(acts("old", None), Err(Refusal::TokenExpired));
        assert_eq!(acts("old", Some("acme")), Err(Refusal::TokenExpired));
        assert_eq!(acts("old", Some("zeta")), Err(Refusal::TenantNotAllowed));
        // Each tenant decides for itself how long a token is valid.
        assert_eq!(acts("both", None).as_deref(), Ok("zeta"));
        assert_eq!(acts("both", Some("zeta")).as_deref(), Ok("zeta"));
        assert_eq!(acts("both", Some("acme")), Err(Refusal::TokenExpired));
    }

    #[test]
    fn a_token_decides_even_if_the_certificate_is_that_of_another_caller() {
        let name = SubjectAltName::Dns("billing.internal".into());
        let by_name = CallerSettings {
            identities: Identities { names: vec![name.clone()], ..Identities::default() },
            ..caller("by-name", "", Access::Write)
        };
        let acme = [caller("by-token", "token-a", Access::Read), by_name];
        let authenticator = Authenticator::new(AuthMode::Required, [("acme", &acme[..])]);
        let certificate = ClientCertificate::new(vec![name], SystemTime::now() + Duration::from_mins(1));
        let found = |authorization| {
            let found = authenticator.authenticate(authorization, Some(&certificate));
            found.map(|principal| principal.name().to_owned())
        };
        assert_eq!(found(None).as_deref(), Ok("by-name"));
        assert_eq!(found(Some("Bearer token-a")).as_deref(), Ok("by-token"));
        assert_eq!(found(Some("Bearer unknown")), Err(Refusal::TokenUnknown));
        assert_eq!(found(Some("Basic abc")), Err(Refusal::TokenMissing));
        assert_eq!(found(Some("")), Err(Refusal::TokenMissing));
    }
}
