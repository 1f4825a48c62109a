//! Callers that authenticate with a JWT: which callers a token is for, by its issuer, audience, claims and signature.
//!
//! `token` reads a token, `callers` finds the callers that its claims fit, and `key_set` verifies its signature with
//! the keys of these callers. `key_source` keeps the keys that are read from a URL, and `fetch` reads them. `verified`
//! remembers which tokens have been verified, and `many_callers` shares what tokens with many callers would remember.

mod algorithm;
mod callers;
mod error;
mod fetch;
mod json;
mod jwk;
mod key;
mod key_set;
mod key_source;
mod many_callers;
mod rejection;
mod settings;
#[cfg(test)]
mod tests;
mod token;
mod verified;

pub(super) use callers::JwtCallers;
pub use error::KeysError;
pub use key_set::KeySet;
pub use key_source::{KeySources, KeysWanted};
pub use rejection::JwtRejection;
pub use settings::{CallerJwt, Jwks, JwksUrl, JwtSettings, ServerJwt};
pub(crate) use settings::{MAX_LEEWAY, check_pointer, check_url};
