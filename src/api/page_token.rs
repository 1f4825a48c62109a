//! Page tokens: they hold where the next page begins and which request it belongs to (AIP-158).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::failure::Failure;

/// The version of the format, in the token's first byte. A token of a release with another format is rejected.
const VERSION: u8 = 2;

/// The number of digest bytes that identify a request. A token is not a secret and grants nothing, because every page
/// is authorized again. The digest only detects a token that is sent with another request by mistake.
const DIGEST: usize = 8;

/// A digest of the parameters that must be the same in every request for a page of one listing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ListingDigest([u8; DIGEST]);

impl ListingDigest {
    /// The digest of these parameters.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // The length comes first, so that different lists of parts never have the same digest.
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(&hash.finalize()[..DIGEST]);
        Self(digest)
    }

    /// The token of the page that begins at `continuation`; empty if there is no next page.
    pub(crate) fn token(self, continuation: Option<&str>) -> String {
        let Some(continuation) = continuation else {
            return String::new();
        };
        let mut bytes = vec![VERSION];
        bytes.extend(self.0);
        bytes.extend(continuation.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page of `token` begins. `None` for the first page.
    pub(crate) fn continuation(self, token: &str) -> Result<Option<String>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let wrong = |message: &str| Failure::field("page_token", message);
        let bytes = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_| wrong("must be a `next_page_token` that Longshore returned"))?;
        let (version, rest) = bytes
            .split_first()
            .ok_or_else(|| wrong("must be a `next_page_token` that Longshore returned"))?;
        if *version != VERSION || rest.len() < DIGEST {
            return Err(wrong("must be a `next_page_token` that Longshore returned"));
        }
        let (digest, continuation) = rest.split_at(DIGEST);
        if digest != self.0 {
            return Err(wrong("belongs to a different request: only `page_size` may change between pages"));
        }
        let continuation = String::from_utf8(continuation.to_vec());
        continuation.map(Some).map_err(|_| wrong("must be a `next_page_token` that Longshore returned"))
    }
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
    fn an_invalid_token_is_rejected() {
        let listing = ListingDigest::new(&["acme"]);
        let of_another_version = URL_SAFE_NO_PAD.encode([&[1][..], &listing.0, b"key"].concat());
        let cut = &listing.token(Some(""))[..8];
        for token in ["?", "AA", "key", cut, &of_another_version] {
            assert_eq!(field(listing.continuation(token)), "page_token", "{token}");
        }
    }
}
