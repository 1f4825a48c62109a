//! Page tokens: where the next page begins, and which request it belongs to (AIP-158).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;

/// The format's version, the token's first byte, so that a token of another release is not misread.
const VERSION: u8 = 2;

/// How much of a digest tells requests apart. A token is no secret and grants nothing, since every page is
/// authorized anew; the digest only catches a token handed to another request by mistake.
const DIGEST: usize = 8;

/// What must be the same in every request for a page of one listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing([u8; DIGEST]);

impl Listing {
    /// A listing told apart by these texts.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With its length in front, so that no two lists of parts look alike.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&hash.finalize()[..DIGEST]);
        Self(digest)
    }

    /// The token of the page that begins at `continuation`; empty where there is none.
    pub(crate) fn token(self, continuation: Option<&str>) -> String {
        let Some(continuation) = continuation else {
            return String::new();
        };
        let mut bytes = vec![VERSION];
        bytes.extend(self.0);
        bytes.extend(continuation.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page of `token` begins; `None` for the first page.
    pub(crate) fn continuation(self, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let wrong = |message: &str| Failure::field("page_token", message);
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| wrong("is not a token of this server"))?;
        let (version, rest) = bytes.split_first().ok_or_else(|| wrong("is not a token of this server"))?;
        if *version != VERSION || rest.len() < DIGEST {
            return Err(wrong("is not a token of this server"));
        }
        let (digest, continuation) = rest.split_at(DIGEST);
        if digest != self.0 {
            return Err(wrong("belongs to another request: only `page_size` may change from page to page"));
        }
        let continuation = String::from_utf8(continuation.to_vec());
        continuation.map(Some).map_err(|_| wrong("is not a token of this server"))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::convert::testing::field, *};

    #[test]
    fn a_token_leads_back_to_its_page() {
        let listing = Listing::new(&["acme", "default", "a/", "/", ""]);
        for continuation in ["", "key", "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=", "\u{1f600}"] {
            let token = listing.token(Some(continuation));
            assert_eq!(listing.continuation(&token).unwrap().as_deref(), Some(continuation));
        }
        assert_eq!(listing.token(None), "");
        assert_eq!(listing.continuation("").unwrap(), None);
    }

    #[test]
    fn a_token_of_another_request_is_refused() {
        let token = Listing::new(&["acme", "default", "a/", "/", ""]).token(Some("key"));
        for other in [
            ["acme", "default", "a", "/", ""],
            ["acme", "default", "a/", "", "/"],
            ["zeta", "default", "a/", "/", ""],
            ["acme", "archive", "a/", "/", ""],
            ["acme", "default", "a/", "/", "b"],
            ["acmed", "efault", "a/", "/", ""],
        ] {
            assert_eq!(field(Listing::new(&other).continuation(&token)), "page_token", "{other:?}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_refused() {
        let listing = Listing::new(&["acme"]);
        let of_another_version = URL_SAFE_NO_PAD.encode([&[1][..], &listing.0, b"key"].concat());
        let cut = &listing.token(Some(""))[..8];
        for token in ["?", "AA", "key", cut, &of_another_version] {
            assert_eq!(field(listing.continuation(token)), "page_token", "{token}");
        }
    }
}
