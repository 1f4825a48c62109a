//! Page tokens: they hold where the next page begins and which request it belongs to (AIP-158).

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use crate::store::StoreSettings;

/// The version of the format, in the token's first byte. A token of a release with another format is rejected.
const VERSION: u8 = 2;

/// The version of the format whose continuation is encrypted.
const ENCRYPTED: u8 = 3;

/// The number of digest bytes that identify a request. A token is not a secret and grants nothing, because every page
/// is authorized again. The digest only detects a token that is sent with another request by mistake.
const DIGEST: usize = 8;

/// A digest of the parameters that must be the same in every request for a page of one listing.
#[derive(Clone, Copy)]
pub(crate) struct ListingDigest {
    digest: [u8; DIGEST],
    /// Encrypts the continuations.
    key: Option<[u8; 32]>,
}

impl ListingDigest {
    /// The digest of these parameters.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&hash(parts)[..DIGEST]);
        Self { digest, key: None }
    }

    /// The same digest, for tokens whose continuation only this store's settings can decrypt. S3's continuation tokens
    /// are often keys of the bucket, and callers do not learn the store's prefix.
    ///
    /// The key is derived from what such a token would reveal: every process with the same settings has it. A caller who
    /// knows bucket, prefix and endpoint can decrypt a token, and finds nothing else in it than these.
    pub(crate) fn hiding(self, store: Option<&StoreSettings>) -> Self {
        let key = store.map(|StoreSettings { bucket, prefix, .. }| {
            hash(&["page token", bucket.endpoint.as_deref().unwrap_or_default(), &bucket.bucket, prefix])
        });
        Self { key, ..self }
    }

    /// The token of the page that begins at `continuation`; empty if there is no next page.
    pub(crate) fn token(self, continuation: Option<&str>) -> String {
        let Some(continuation) = continuation else {
            return String::new();
        };
        let encrypted = self.key.and_then(|key| self.encrypt(key, continuation));
        let mut bytes = vec![if encrypted.is_some() { ENCRYPTED } else { VERSION }];
        bytes.extend(self.digest);
        bytes.extend(encrypted.unwrap_or_else(|| continuation.as_bytes().to_vec()));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The nonce and the encrypted continuation.
    fn encrypt(self, key: [u8; 32], continuation: &str) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).ok()?;
        let mut text = continuation.as_bytes().to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(self.digest), &mut text).ok()?;
        Some([&nonce.as_ref()[..], &text].concat())
    }

    fn decrypt(self, encrypted: &[u8]) -> Option<Vec<u8>> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.key?).ok()?;
        let (nonce, text) = encrypted.split_at_checked(NONCE_LEN)?;
        let (nonce, mut text) = (Nonce::try_assume_unique_for_key(nonce).ok()?, text.to_vec());
        Some(key.open_in_place(nonce, Aad::from(self.digest), &mut text).ok()?.to_vec())
    }

    /// Where the page of `token` begins. `None` for the first page.
    pub(crate) fn continuation(self, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let wrong = |message: &str| Failure::field("page_token", message);
        let foreign = || wrong("must be a `next_page_token` that Longshore returned");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| foreign())?;
        let (version, rest) = bytes.split_first().ok_or_else(foreign)?;
        let (digest, continuation) = rest.split_at_checked(DIGEST).ok_or_else(foreign)?;
        if *version != VERSION && *version != ENCRYPTED {
            return Err(foreign());
        }
        if digest != self.digest {
            return Err(wrong("belongs to a different request: only `page_size` may change between pages"));
        }
        let continuation = match *version {
            ENCRYPTED => self.decrypt(continuation),
            _ => Some(continuation.to_vec()).filter(|_| self.key.is_none()),
        };
        continuation.and_then(|text| String::from_utf8(text).ok()).map(Some).ok_or_else(foreign)
    }
}

/// A digest of the parts. Their lengths come first, so that different lists of parts never have the same digest.
fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::{super::convert::testing::field, *};

    #[test]
    fn a_token_returns_its_continuation() {
        let listing = ListingDigest::new(&["acme", "default", "a/", "/", ""]);
        for continuation in ["", "key", "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=", "\u{1f600}"] {
            let token = listing.token(Some(continuation));
            assert_eq!(listing.continuation(&token).unwrap().as_deref(), Some(continuation));
        }
        assert_eq!(listing.token(None), "");
        assert_eq!(listing.continuation("").unwrap(), None);
    }

    #[test]
    fn a_token_of_another_request_is_rejected() {
        let token = ListingDigest::new(&["acme", "default", "a/", "/", ""]).token(Some("key"));
        for other in [
            ["acme", "default", "a", "/", ""],
            ["acme", "default", "a/", "", "/"],
            ["zeta", "default", "a/", "/", ""],
            ["acme", "archive", "a/", "/", ""],
            ["acme", "default", "a/", "/", "b"],
            ["acmed", "efault", "a/", "/", ""],
        ] {
            assert_eq!(field(ListingDigest::new(&other).continuation(&token)), "page_token", "{other:?}");
        }
    }

    #[test]
    fn a_continuation_is_hidden_from_those_who_do_not_know_where_the_store_is() {
        let store = |bucket: &str, prefix: &str| {
            let mut settings = StoreSettings { prefix: prefix.to_owned(), ..StoreSettings::default() };
            settings.bucket.bucket = bucket.to_owned();
            settings
        };
        let listing = ListingDigest::new(&["acme", "default"]);
        let settings = store("b", "team-7/");
        let hiding = listing.hiding(Some(&settings));
        let token = hiding.token(Some("team-7/key"));
        assert_ne!(token, hiding.token(Some("team-7/key")), "equal places have different tokens");
        assert!(!URL_SAFE_NO_PAD.decode(&token).unwrap().windows(6).any(|part| part == b"team-7"));
        let elsewhere = store("b", "team-7/");
        assert_eq!(
            listing.hiding(Some(&elsewhere)).continuation(&token).unwrap().as_deref(),
            Some("team-7/key")
        );
        let (other, open) = (store("b", "team-8/"), listing.token(Some("team-8/key")));
        for (listing, token) in [(listing.hiding(Some(&other)), &token), (listing, &token), (hiding, &open)] {
            assert_eq!(field(listing.continuation(token)), "page_token");
        }
        for cut in [10, 20, token.len() - 4] {
            assert_eq!(field(hiding.continuation(&token[..cut])), "page_token");
        }
    }

    #[test]
    fn an_invalid_token_is_rejected() {
        let listing = ListingDigest::new(&["acme"]);
        let of_another_version = URL_SAFE_NO_PAD.encode([&[1][..], &listing.digest, b"key"].concat());
        let cut = &listing.token(Some(""))[..8];
        for token in ["?", "AA", "key", cut, &of_another_version] {
            assert_eq!(field(listing.continuation(token)), "page_token", "{token}");
        }
    }
}
