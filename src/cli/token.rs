//! `longshore token`: creates a caller's token.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// What a token begins with, so that people and scanners for secrets recognize it.
const PREFIX: &str = "longshore_";

/// A new token. `Display` writes it, and its SHA-256, as the tenants file needs it.
#[derive(Debug)]
pub(super) struct Token(SecretString);

/// A token of 256 random bits. `None` if the system has no random bytes.
pub(super) fn new() -> Option<Token> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    Some(Token(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)).into()))
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.0.expose_secret();
        write!(f, "token: {token}\ntoken_sha256: \"{}\"", hex::encode(Sha256::digest(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_the_digest_is_of_the_whole_token() {
        let [first, second] = [(), ()].map(|()| new().unwrap().to_string());
        assert_ne!(first, second);
        let (token, digest) = first.split_once('\n').unwrap();
        let token = token.strip_prefix("token: ").unwrap();
        assert!(token.starts_with("longshore_") && token.len() == 53, "{token}");
        assert_eq!(digest, format!("token_sha256: \"{}\"", hex::encode(Sha256::digest(token))));
        assert!(!format!("{:?}", new().unwrap()).contains("longshore_"));
    }
}
