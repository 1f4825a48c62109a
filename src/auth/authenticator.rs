//! Authenticates callers by their tokens.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{AuthMode, CallerSettings, Principal, Refusal};

/// Finds the caller of a token, among the callers of all tenants, by the token's digest. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Authenticator(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    /// Authentication is off.
    Anyone(Arc<Principal>),
    /// Callers by the first bytes of their token's digest. See [`Authenticator::authenticate`].
    Known(HashMap<[u8; 8], Vec<Known>>),
}

#[derive(Debug)]
struct Known {
    token_sha256: [u8; 32],
    principal: Arc<Principal>,
}

impl Authenticator {
    /// An authenticator for the callers of these tenants. If several tenants declare the same token, its caller may act
    /// for each of them.
    pub fn new<'a>(
        mode: AuthMode,
        tenants: impl IntoIterator<Item = (&'a str, &'a [CallerSettings])>,
    ) -> Self {
        let inner = match mode {
            AuthMode::None => {
                let names = tenants.into_iter().map(|(tenant, _)| tenant);
                Inner::Anyone(Arc::new(Principal::anyone(names)))
            }
            AuthMode::Required => Inner::Known(index(tenants)),
        };
        Self(Arc::new(inner))
    }

    /// Authenticates a caller by the value of the `authorization` metadata (RFC 6750, section 2.1).
    ///
    /// A lookup by the token's SHA-256 is safe although a hash map does not run in constant time. Its timing reveals
    /// something about the digest of the token that was sent, which the sender knows anyway. To get closer to an
    /// unknown token an attacker would have to choose digests, and an attacker who can find inputs for given SHA-256
    /// digests does not need timing. The map uses only the beginning of the digest as its key. The whole digest is
    /// compared in constant time, so that not even a digest leaks.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Arc<Principal>, Refusal> {
        let known = match &*self.0 {
            Inner::Anyone(principal) => return Ok(Arc::clone(principal)),
            Inner::Known(known) => known,
        };
        let token = authorization.and_then(bearer).ok_or(Refusal::TokenMissing)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        known
            .get(&beginning(&digest))
            .into_iter()
            .flatten()
            .find(|known| known.token_sha256.ct_eq(&digest).into())
            .map(|known| Arc::clone(&known.principal))
            .ok_or(Refusal::TokenUnknown)
    }
}

fn index<'a>(
    tenants: impl IntoIterator<Item = (&'a str, &'a [CallerSettings])>,
) -> HashMap<[u8; 8], Vec<Known>> {
    let mut principals = BTreeMap::new();
    for (tenant, callers) in tenants {
        for caller in callers {
            principals
                .entry(caller.token_sha256)
                .or_insert_with(|| Principal::named(&caller.name))
                .grant(tenant, caller);
        }
    }
    let mut index: HashMap<_, Vec<_>> = HashMap::new();
    for (token_sha256, principal) in principals {
        let known = Known { token_sha256, principal: Arc::new(principal) };
        index.entry(beginning(&token_sha256)).or_default().push(known);
    }
    index
}

fn beginning(digest: &[u8; 32]) -> [u8; 8] {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&digest[..8]);
    beginning
}

/// The token of a `Bearer` value. The name of the scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim_start();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Access, Scope};

    fn caller(name: &str, token: &str, access: Access) -> CallerSettings {
        CallerSettings {
            name: name.to_owned(),
            token_sha256: Sha256::digest(token).into(),
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
            let found = authenticator().authenticate(*value).map(|principal| principal.name().to_owned());
            assert_eq!(found.as_deref().map_err(Clone::clone), *expected, "{value:?}");
        }
    }

    #[test]
    fn a_digest_is_not_accepted_as_a_token() {
        let digest = hex::encode(Sha256::digest("token-a"));
        let refusal = authenticator().authenticate(Some(&format!("Bearer {digest}"))).unwrap_err();
        assert_eq!(refusal, Refusal::TokenUnknown);
    }

    #[test]
    fn a_token_of_two_tenants_has_the_grant_of_each_tenant() {
        let principal = authenticator().authenticate(Some("Bearer token-s")).unwrap();
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
        let principal = authenticator().authenticate(Some("Bearer token-a")).unwrap();
        let theirs = principal.acting_for(Some("zeta")).unwrap_err();
        let nobodys = principal.acting_for(Some("nobody")).unwrap_err();
        assert_eq!(theirs, nobodys);
        assert_eq!(theirs.to_string(), nobodys.to_string());
    }

    #[test]
    fn without_authentication_every_caller_acts_for_every_existing_tenant() {
        let off = |tenants: &[&'static str]| {
            let tenants = tenants.iter().map(|tenant| (*tenant, [].as_slice()));
            Authenticator::new(AuthMode::None, tenants)
        };
        for token in [None, Some("Bearer whatever"), Some("Basic x")] {
            let principal = off(&["demo"]).authenticate(token).unwrap();
            let actor = principal.acting_for(None).unwrap();
            assert_eq!(actor.tenant(), "demo");
            assert!(actor.authorize(Access::BucketAdmin, "default", Scope::Prefix("")).is_ok());
            assert_eq!(principal.acting_for(Some("other")).unwrap_err(), Refusal::TenantUnknown);
        }
        let several = off(&["a", "b"]).authenticate(None).unwrap();
        assert_eq!(several.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        assert_eq!(several.acting_for(Some("b")).unwrap().tenant(), "b");
    }
}
