//! Seals text so that only Longshore can create or read it: AES-256-GCM with a random nonce, encoded in base64.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest, rand,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

use crate::settings::Scalar;

/// The version of the format, in the first byte.
const VERSION: u8 = 1;
/// The number of bytes of a key's digest that identify the key.
const KEY_ID: usize = 4;
const KEY: usize = 32;
const HEAD: usize = 1 + KEY_ID + NONCE_LEN;
/// The maximum length of a sealed text. A longer text was not sealed here: an object key has at most 1,024 bytes, and
/// S3's upload ids have a few hundred.
const LONGEST: usize = 16 * 1024;

/// Keys that seal upload ids. The first key seals, and every key opens what it has sealed, so a key can be replaced
/// while uploads are in progress.
#[derive(Clone)]
pub struct UploadKeys(Arc<Vec<Key>>);

struct Key {
    id: [u8; KEY_ID],
    cipher: RandomizedNonceKey,
}

impl UploadKeys {
    /// A random key of this process.
    pub fn random() -> Self {
        let mut bytes = [0; KEY];
        // This fails only if the operating system has no randomness, and then TLS does not start either.
        let made = rand::fill(&mut bytes).ok().and_then(|()| Key::new(&bytes));
        Self(Arc::new(made.into_iter().collect()))
    }

    /// Encrypts `text` so that only these keys can read or create it. It can be opened for the same `owner` only.
    pub(super) fn seal(&self, owner: &str, text: &[u8]) -> Option<String> {
        let key = self.0.first()?;
        let mut sealed = text.to_vec();
        let nonce = key.cipher.seal_in_place_append_tag(Aad::from(owner.as_bytes()), &mut sealed).ok()?;
        let mut bytes = Vec::with_capacity(HEAD + sealed.len());
        bytes.push(VERSION);
        bytes.extend(key.id);
        bytes.extend(nonce.as_ref());
        bytes.extend(sealed);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Decrypts what was sealed for `owner`. `None` for anything else.
    pub(super) fn open(&self, owner: &str, sealed: &str) -> Option<Vec<u8>> {
        let text = Some(sealed).filter(|text| text.len() <= LONGEST)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, sealed) = bytes.split_at_checked(HEAD)?;
        let (version, head) = head.split_first()?;
        let (id, nonce) = head.split_at(KEY_ID);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let key = self.0.iter().find(|key| *version == VERSION && key.id == id)?;
        let mut sealed = sealed.to_vec();
        let opened = key.cipher.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut sealed).ok()?;
        Some(opened.to_vec())
    }
}

impl Key {
    fn new(bytes: &[u8; KEY]) -> Option<Self> {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&digest::digest(&digest::SHA256, bytes).as_ref()[..KEY_ID]);
        Some(Self { id, cipher: RandomizedNonceKey::new(&AES_256_GCM, bytes).ok()? })
    }
}

impl Scalar for UploadKeys {
    type Value = Self;

    fn expected() -> String {
        "32 random bytes in base64, as printed by `openssl rand -base64 32`, or several such keys separated by commas"
            .to_owned()
    }

    fn form() -> String {
        "keys".to_owned()
    }

    // The error does not contain the keys.
    fn from_text(text: &str) -> Result<Self, String> {
        let key = |text: &str| {
            let bytes = STANDARD.decode(text.trim()).ok()?;
            Key::new(&<[u8; KEY]>::try_from(bytes).ok()?)
        };
        let keys = text.split(',').map(key).collect::<Option<Vec<_>>>();
        keys.map(|keys| Self(Arc::new(keys))).ok_or_else(|| format!("expected {}", Self::expected()))
    }

    fn show(_value: &Self) -> Option<String> {
        None
    }
}

impl PartialEq for UploadKeys {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|key| key.id).eq(other.0.iter().map(|key| key.id))
    }
}

impl fmt::Debug for UploadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UploadKeys").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> UploadKeys {
        let texts: Vec<_> = bytes.iter().map(|byte| STANDARD.encode([*byte; KEY])).collect();
        UploadKeys::from_text(&texts.join(",")).unwrap()
    }

    #[test]
    fn a_sealed_text_opens_for_its_owner_only() {
        let keys = keys(b"a");
        let sealed = keys.seal("acme", b"text").unwrap();
        assert_eq!(keys.open("acme", &sealed).unwrap(), b"text");
        assert_eq!(keys.open("zeta", &sealed), None);
        assert_ne!(keys.seal("acme", b"text").unwrap(), sealed, "each seal uses a new nonce");
        assert_eq!(UploadKeys::random().open("acme", &sealed), None);
    }

    #[test]
    fn a_changed_or_cut_text_does_not_open() {
        let keys = keys(b"a");
        let sealed = URL_SAFE_NO_PAD.decode(keys.seal("acme", b"text").unwrap()).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(keys.open("acme", &URL_SAFE_NO_PAD.encode(&changed)), None, "byte {at}");
            assert_eq!(keys.open("acme", &URL_SAFE_NO_PAD.encode(&sealed[..at])), None, "cut to {at}");
        }
        for text in ["", "?", "AQ", &"A".repeat(LONGEST + 1)] {
            assert_eq!(keys.open("acme", text), None);
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let (old, both, new) = (keys(b"a"), keys(b"ba"), keys(b"b"));
        assert_eq!(both.open("acme", &old.seal("acme", b"text").unwrap()).unwrap(), b"text");
        let sealed = both.seal("acme", b"text").unwrap();
        assert_eq!(new.open("acme", &sealed).unwrap(), b"text");
        assert_eq!(old.open("acme", &sealed), None);
    }

    #[test]
    fn invalid_keys_are_rejected_and_not_repeated_in_the_error() {
        for text in ["", "c2VjcmV0", "secret", &format!("{},", STANDARD.encode([7; KEY]))] {
            let error = UploadKeys::from_text(text).unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        assert_eq!(format!("{:?}", keys(b"a")), "UploadKeys(1)");
    }
}
