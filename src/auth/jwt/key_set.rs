//! The keys of an issuer: a JSON Web Key Set (RFC 7517, section 5).

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{
    KeysError,
    jwk::{self, Keys, MAX_KEYS},
    key::Key,
    token::Token,
};

/// The largest JWKS, in bytes.
pub(super) const MAX_JWKS: usize = 1024 * 1024;

/// The keys of an issuer that signatures can be verified with.
pub struct KeySet {
    keys: Vec<Key>,
    /// The digest of the JWKS, by which changes are noticed.
    digest: [u8; 32],
}

impl KeySet {
    /// The largest JWKS, in bytes.
    pub(crate) const MAX_BYTES: u64 = MAX_JWKS as u64;

    /// The keys in a JWKS. Keys that are not for signatures, or whose type is not supported, are ignored, but there
    /// must be one more.
    pub fn parse(jwks: &[u8]) -> Result<Self, KeysError> {
        if jwks.len() > MAX_JWKS {
            return Err(KeysError::new("the JWKS is larger than 1 MiB"));
        }
        let keys = match jwk::parse(jwks) {
            Ok(Keys::Listed(keys)) => keys,
            Ok(Keys::TooMany) => {
                return Err(KeysError::new(format!("the JWKS has more than {MAX_KEYS} keys")));
            }
            Ok(Keys::Missing) => return Err(KeysError::new("the JWKS has no list `keys`")),
            Err(_) => {
                return Err(KeysError::new("the JWKS is not JSON, or a name occurs twice in an object"));
            }
        };
        let usable: Vec<_> = keys.iter().filter_map(Key::parse).collect();
        if usable.is_empty() {
            return Err(KeysError::new(
                "the JWKS has no key for signatures: expected an RSA key of 2048 to 4096 bits, an EC key on P-256 or \
                 P-384, or an Ed25519 key",
            ));
        }
        Ok(Self { keys: usable, digest: Sha256::digest(jwks).into() })
    }

    /// No keys, in place of those of a file that is not read.
    pub(crate) fn not_read() -> Self {
        Self { keys: Vec::new(), digest: [0; 32] }
    }

    /// The key for a token: the first one with its key id that may be used with its algorithm. For a token without a
    /// key id, the only key that may be used with its algorithm.
    pub(super) fn find(&self, token: &Token<'_>) -> Option<&Key> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.is_for(token.algorithm) && (token.key_id.is_none() || key.id == token.key_id));
        let first = fitting.next();
        if token.key_id.is_none() && fitting.next().is_some() { None } else { first }
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for KeySet {}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys).finish_non_exhaustive()
    }
}
