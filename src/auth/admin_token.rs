//! The token of the admin listener.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Refusal, authenticator::bearer};
use crate::settings::Scalar;

/// The fewest characters of a token, so that it cannot be guessed.
const SHORTEST: usize = 16;

/// The token that calls of the admin listener must carry. Only its SHA-256 is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Checks the value of the `authorization` metadata, in constant time.
    pub fn check(&self, authorization: Option<&str>) -> Result<(), Refusal> {
        let token = authorization.and_then(bearer).ok_or(Refusal::TokenMissing)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        if self.0.ct_eq(&digest).into() { Ok(()) } else { Err(Refusal::TokenUnknown) }
    }
}

impl Scalar for AdminToken {
    type Value = Self;

    fn expected() -> String {
        format!("at least {SHORTEST} visible ASCII characters, as printed by `longshore token`")
    }

    fn form() -> String {
        "secret".to_owned()
    }

    // The error does not contain the token.
    fn from_text(text: &str) -> Result<Self, String> {
        if text.len() < SHORTEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("expected {}", Self::expected()));
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    fn show(_value: &Self) -> Option<String> {
        None
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminToken").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_itself_is_accepted() {
        let token = AdminToken::from_text("0123456789abcdef").unwrap();
        assert_eq!(token.check(Some("Bearer 0123456789abcdef")), Ok(()));
        for (authorization, refusal) in [
            (None, Refusal::TokenMissing),
            (Some("0123456789abcdef"), Refusal::TokenMissing),
            (Some("Basic 0123456789abcdef"), Refusal::TokenMissing),
            (Some("Bearer 0123456789abcdeF"), Refusal::TokenUnknown),
            (Some("Bearer 0123456789abcdef0"), Refusal::TokenUnknown),
        ] {
            assert_eq!(token.check(authorization), Err(refusal), "{authorization:?}");
        }
        assert_eq!(format!("{token:?}"), "AdminToken { .. }");
    }

    #[test]
    fn short_tokens_and_spaces_are_rejected_without_repeating_them() {
        for text in ["", "short", "0123456789abcde", "0123456789 abcdef", "0123456789abcdé0"] {
            let error = AdminToken::from_text(text).unwrap_err();
            assert!(error.starts_with("expected at least 16"), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
