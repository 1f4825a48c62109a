//! Text that only Longshore can make and read: AES-256-GCM with a random nonce, base64 around it.

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    digest, rand,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// The format's version, the first byte.
const VERSION: u8 = 1;
/// How many bytes of a key's digest name it.
const KEY_ID: usize = 4;
const KEY: usize = 32;
const HEAD: usize = 1 + KEY_ID + NONCE_LEN;
/// A longer text is nothing that was sealed here: a key has 1,024 bytes, and S3's upload ids some hundred.
const LONGEST: usize = 16 * 1024;

/// Keys that seal upload ids. The first seals, and each can open what it has sealed, so that a key can be replaced while
/// uploads go on.
#[derive(Clone)]
pub struct UploadKeys(Arc<Vec<Key>>);

struct Key {
    id: [u8; KEY_ID],
    cipher: RandomizedNonceKey,
}

impl UploadKeys {
    /// One key that nobody else has.
    pub fn random() -> Self {
        let mut bytes = [0; KEY];
        // It fails only where the operating system has no randomness, and there TLS does not start either.
        let made = rand::fill(&mut bytes).ok().and_then(|()| Key::new(&bytes));
        Self(Arc::new(made.into_iter().collect()))
    }

    /// What `text` is in a form that nobody can read or make; it opens for the same `owner` only.
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

    /// What was sealed for `owner`; `None` for anything else.
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

impl FromStr for UploadKeys {
    type Err = String;

    /// Keys of 32 bytes in base64, with commas between them. The error does not repeat them.
    fn from_str(text: &str) -> Result<Self, String> {
        let key = |text: &str| {
            let bytes = STANDARD.decode(text.trim()).ok()?;
            Key::new(&<[u8; KEY]>::try_from(bytes).ok()?)
        };
        let keys = text.split(',').map(key).collect::<Option<Vec<_>>>();
        let keys = keys.ok_or("should be 32 random bytes in base64, as from `openssl rand -base64 32`, or several such keys with commas between them")?;
        Ok(Self(Arc::new(keys)))
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
        texts.join(",").parse().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_owner_only() {
        let keys = keys(b"a");
        let sealed = keys.seal("acme", b"text").unwrap();
        assert_eq!(keys.open("acme", &sealed).unwrap(), b"text");
        assert_eq!(keys.open("zeta", &sealed), None);
        assert_ne!(keys.seal("acme", b"text").unwrap(), sealed, "another nonce");
        assert_eq!(UploadKeys::random().open("acme", &sealed), None);
    }

    #[test]
    fn no_byte_of_it_can_be_changed() {
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
    fn an_old_key_opens_and_the_first_seals() {
        let (old, both, new) = (keys(b"a"), keys(b"ba"), keys(b"b"));
        assert_eq!(both.open("acme", &old.seal("acme", b"text").unwrap()).unwrap(), b"text");
        let sealed = both.seal("acme", b"text").unwrap();
        assert_eq!(new.open("acme", &sealed).unwrap(), b"text");
        assert_eq!(old.open("acme", &sealed), None);
    }

    #[test]
    fn keys_that_are_none_are_refused_and_not_repeated() {
        for text in ["", "c2VjcmV0", "secret", &format!("{},", STANDARD.encode([7; KEY]))] {
            let error = text.parse::<UploadKeys>().unwrap_err();
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
        assert_eq!(format!("{:?}", keys(b"a")), "UploadKeys(1)");
    }
}
