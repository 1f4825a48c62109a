//! Tests with keys and tokens that joserfc has made: tests/tools/make_jwts.py.

mod sources;
mod tokens;

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::auth::{Access, CallerSettings, Identities, Principal, Refusal};

/// The keys and tokens.
fn made() -> Value {
    serde_json::from_str(include_str!("tokens.json")).unwrap()
}

fn jwks() -> KeySet {
    KeySet::parse(made()["jwks"].to_string().as_bytes()).unwrap()
}

/// The token that every caller accepts.
fn good() -> String {
    made()["accepted"]["RS256"].as_str().unwrap().to_owned()
}

fn jwt(jwks: Jwks) -> JwtSettings {
    JwtSettings {
        issuer: "https://issuer.example".to_owned(),
        audience: "longshore".to_owned(),
        jwks,
        claims: vec![("/kubernetes.io/namespace".to_owned(), "billing".to_owned())],
        leeway: Duration::from_secs(30),
    }
}

fn caller(name: &str, jwt: JwtSettings) -> CallerSettings {
    CallerSettings {
        name: name.to_owned(),
        identities: Identities { jwt: Some(CallerJwt::Own(jwt)), ..Identities::default() },
        access: vec![Access::Read],
        stores: None,
        prefixes: None,
    }
}

fn callers(tenants: &[(&str, Vec<CallerSettings>)], sources: &KeySources) -> JwtCallers {
    JwtCallers::new(tenants.iter().map(|(name, callers)| (*name, callers.as_slice())), sources)
}

fn authenticate(callers: &JwtCallers, token: &str) -> Result<Arc<Principal>, Refusal> {
    callers.authenticate(token, &Sha256::digest(token).into())
}

/// The tenants that the caller of a token may act for.
fn tenants(callers: &JwtCallers, token: &str) -> Vec<&'static str> {
    let principal = authenticate(callers, token);
    let acts_for = |name: &&str| principal.as_ref().is_ok_and(|found| found.acting_for(Some(name)).is_ok());
    ["acme", "globex"].into_iter().filter(acts_for).collect()
}
