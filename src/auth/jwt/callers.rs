//! Finds the callers of a JWT.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde_json::Value;

use super::{
    Jwks, JwtRejection, JwtSettings, KeySet, KeySources, KeysWanted,
    key_source::{Found, KeySource},
    many_callers::{FEW, ManyCallers},
    token::Token,
    verified::{Verified, VerifiedTokens},
};
use crate::auth::{CallerJwt, CallerSettings, Principal, Refusal, principal::Grant};

/// How long a token is remembered if further callers may accept it soon: a source could not say yet whether it has a key
/// for the token, or the token is not valid yet for a caller with a shorter `leeway`.
const UNDECIDED: Duration = Duration::from_secs(5);

/// How long a token is remembered that expires after the end of the clock's range.
const LONGEST: Duration = Duration::from_hours(24);

/// The callers of all tenants that authenticate with a JWT. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(in crate::auth) struct JwtCallers(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    /// By the issuer.
    callers: HashMap<String, OfIssuer>,
    verified: VerifiedTokens,
    many: ManyCallers,
}

/// The callers of one issuer, by the first of their claims: thousands of tenants may have the same issuer, and one
/// token must not cost a comparison with each.
#[derive(Debug, Default)]
struct OfIssuer(Vec<(String, HashMap<String, Vec<Caller>>)>);

#[derive(Debug)]
struct Caller {
    /// Its place among all callers, by which sets of callers are compared.
    number: usize,
    tenant: Arc<str>,
    grant: Arc<Grant>,
    /// Whether the tokens are those of the server's issuer. They name their tenant, so the call need not, even if the
    /// author of the tenants file is not trusted.
    is_of_server: bool,
    jwt: JwtSettings,
    keys: Keys,
}

/// The keys that verify the tokens of a caller.
#[derive(Debug, Clone)]
enum Keys {
    Set(Arc<KeySet>),
    Source(Arc<KeySource>),
}

/// The result of the search for a token's callers.
#[derive(Default)]
struct Search<'a> {
    found: Vec<&'a Caller>,
    decided_by: Vec<(Arc<KeySource>, u64)>,
    /// Requests whose answers are needed.
    wanted: Vec<KeysWanted>,
    is_unavailable: bool,
    /// Whether the token is not valid yet for a caller that it fits.
    is_early: bool,
    /// The rejection that comes closest to an acceptance.
    rejection: Option<JwtRejection>,
}

impl JwtCallers {
    /// The callers of these tenants that have `jwt`.
    pub(in crate::auth) fn new<'a>(
        tenants: impl IntoIterator<Item = (&'a str, &'a [CallerSettings])>,
        sources: &KeySources,
    ) -> Self {
        let mut callers: HashMap<String, OfIssuer> = HashMap::new();
        let mut numbers = 0..;
        for (tenant, of_tenant) in tenants {
            let name: Arc<str> = tenant.into();
            for settings in of_tenant {
                let jwt =
                    settings.identities.jwt.as_ref().and_then(|jwt| jwt.settings(tenant, sources.server()));
                let Some(jwt) = jwt else { continue };
                let keys = match &jwt.jwks {
                    Jwks::File(set) => Keys::Set(Arc::clone(set)),
                    Jwks::Url(from) => Keys::Source(sources.source(from)),
                };
                let of_issuer = callers.entry(jwt.issuer.clone()).or_default();
                of_issuer.add(Caller {
                    number: numbers.next().unwrap_or_default(),
                    tenant: Arc::clone(&name),
                    grant: Arc::new(Grant::of(settings)),
                    is_of_server: matches!(settings.identities.jwt, Some(CallerJwt::Server(_))),
                    jwt,
                    keys,
                });
            }
        }
        sources.forget_unused();
        let some = Some(callers).filter(|callers| !callers.is_empty());
        Self(some.map(|callers| {
            Arc::new(Inner { callers, verified: VerifiedTokens::new(), many: ManyCallers::default() })
        }))
    }

    /// Authenticates a token, whose SHA-256 is `digest`. Fails with [`Refusal::JwtKeysUnavailable`] if keys are
    /// missing: `wanted` says what to wait for, if anything.
    pub(in crate::auth) fn authenticate(
        &self,
        token: &str,
        digest: &[u8; 32],
    ) -> Result<Arc<Principal>, Refusal> {
        self.authenticate_at(SystemTime::now(), token, digest)
    }

    /// The same, at this time.
    pub(super) fn authenticate_at(
        &self,
        now: SystemTime,
        token: &str,
        digest: &[u8; 32],
    ) -> Result<Arc<Principal>, Refusal> {
        let Some(inner) = &self.0 else { return Err(Refusal::TokenUnknown) };
        if let Some(principal) = inner.verified.get(digest, now) {
            return Ok(principal);
        }
        let token = Token::parse(token).ok_or(Refusal::TokenUnknown)?.map_err(Refusal::JwtRejected)?;
        let search = inner.search(&token, now);
        if !search.found.is_empty() {
            let (principal, is_shared) = search.principal(&inner.many);
            if is_shared {
                let verified = search.verified(Arc::clone(&principal), &token, now);
                inner.verified.insert(*digest, verified);
            }
            return Ok(principal);
        }
        if !search.wanted.is_empty() || search.is_unavailable {
            return Err(Refusal::JwtKeysUnavailable);
        }
        let rejection =
            token.problem(now, Duration::ZERO).or(search.rejection).unwrap_or(JwtRejection::NoCaller);
        Err(Refusal::JwtRejected(rejection))
    }

    /// The requests for keys that have to end before the token can be accepted or rejected.
    pub(in crate::auth) fn wanted(&self, token: &str) -> Vec<KeysWanted> {
        let token = self.0.as_ref().and_then(|inner| Some((inner, Token::parse(token)?.ok()?)));
        token.map(|(inner, token)| inner.search(&token, SystemTime::now()).wanted).unwrap_or_default()
    }
}

impl OfIssuer {
    fn add(&mut self, caller: Caller) {
        let first = caller.jwt.claims.first().cloned().unwrap_or_default();
        let known = self.0.iter().position(|(pointer, _)| *pointer == first.0);
        let at = known.unwrap_or_else(|| {
            self.0.push((first.0, HashMap::new()));
            self.0.len() - 1
        });
        self.0[at].1.entry(first.1).or_default().push(caller);
    }

    /// The callers whose issuer, audience and claims are those of the token.
    fn fitting<'a>(&'a self, token: &Token<'_>) -> Vec<&'a Caller> {
        let mut fitting = Vec::new();
        for (pointer, callers) in &self.0 {
            let found = token.claims.pointer(pointer);
            let mut values: Vec<_> = match found {
                Some(Value::String(value)) => vec![value.as_str()],
                Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            values.sort_unstable();
            values.dedup();
            let callers = values.into_iter().filter_map(|value| callers.get(value)).flatten();
            fitting.extend(callers.filter(|caller| token.fits(&caller.jwt)));
        }
        fitting
    }
}

impl Inner {
    /// Looks for the callers of a token. The signature comes last, since it costs the most, and is verified once with
    /// each set of keys.
    fn search(&self, token: &Token<'_>, now: SystemTime) -> Search<'_> {
        let mut search = Search::default();
        let callers = token.issuer().and_then(|issuer| self.callers.get(issuer));
        let mut verified: Vec<(&Keys, bool)> = Vec::new();
        for caller in callers.map(|callers| callers.fitting(token)).unwrap_or_default() {
            if let Some(problem) = token.problem(now, caller.jwt.leeway) {
                search.is_early |= problem == JwtRejection::NotYetValid;
                continue;
            }
            let before = verified.iter().find(|(keys, _)| keys.are(&caller.keys));
            let is_signed = before.map_or_else(|| search.verify(token, &caller.keys), |(_, before)| *before);
            if before.is_none() {
                verified.push((&caller.keys, is_signed));
            }
            if is_signed {
                search.found.push(caller);
            }
        }
        search
    }
}

impl Search<'_> {
    /// Whether one of these keys signed the token.
    fn verify(&mut self, token: &Token<'_>, keys: &Keys) -> bool {
        let found = match keys {
            Keys::Set(set) => Found::Keys(Arc::clone(set), 0),
            Keys::Source(source) => source.find(token),
        };
        let generation = match &found {
            Found::Keys(_, generation) | Found::Unknown(generation) => Some(*generation),
            Found::Unavailable | Found::Wanted(_) => None,
        };
        if let (Keys::Source(source), Some(generation)) = (keys, generation) {
            self.decided_by.push((Arc::clone(source), generation));
        }
        let Some(key) = found.key(token) else {
            match found {
                Found::Wanted(request) => self.wanted.push(request),
                Found::Unavailable => self.is_unavailable = true,
                Found::Keys(..) | Found::Unknown(_) => self.reject(JwtRejection::KeyUnknown),
            }
            return false;
        };
        let is_signed = key.verifies(token);
        if !is_signed {
            self.reject(JwtRejection::Signature);
        }
        is_signed
    }

    fn reject(&mut self, rejection: JwtRejection) {
        if self.rejection != Some(JwtRejection::Signature) {
            self.rejection = Some(rejection);
        }
    }

    /// The caller, with the grants of all callers that were found, and whether it is small enough, or shared with enough
    /// other tokens, to be remembered.
    fn principal(&self, many: &ManyCallers) -> (Arc<Principal>, bool) {
        let build = || {
            let name = self.found.first().map(|caller| Arc::clone(caller.grant.caller()));
            let mut principal = Principal::named(name.unwrap_or_default());
            for caller in &self.found {
                if caller.is_of_server {
                    principal.grant_by_token(&caller.tenant, &caller.grant, None);
                } else {
                    principal.grant_by_name(&caller.tenant, &caller.grant);
                }
            }
            Arc::new(principal)
        };
        if self.found.len() <= FEW {
            return (build(), true);
        }
        many.principal(self.found.iter().map(|caller| caller.number).collect(), build)
    }

    fn verified(self, principal: Arc<Principal>, token: &Token<'_>, now: SystemTime) -> Verified {
        // The longest time for which the token stays valid for each of them.
        let lifetimes = self.found.iter().map(|caller| token.lifetime(now, caller.jwt.leeway));
        let mut lifetime = lifetimes.min().unwrap_or_default();
        if self.is_unavailable || self.is_early || !self.wanted.is_empty() {
            lifetime = lifetime.min(UNDECIDED);
        }
        let until = now.checked_add(lifetime).unwrap_or(now + LONGEST);
        Verified { principal, until, decided_by: self.decided_by }
    }
}

impl Keys {
    /// Whether both are the same keys.
    fn are(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Set(one), Self::Set(other)) => Arc::ptr_eq(one, other) || one == other,
            (Self::Source(one), Self::Source(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}
