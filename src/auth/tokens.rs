//! Callers by their API tokens.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use subtle::ConstantTimeEq as _;

use super::{CallerSettings, Principal, principal::Grant};

/// Callers by the first bytes of their tokens' digests.
///
/// A lookup by the token's SHA-256 is safe although a hash map does not run in constant time. Its timing reveals
/// something about the digest of the token that was sent, which the sender knows anyway. To get closer to an unknown
/// token an attacker would have to choose digests, and an attacker who can find inputs for given SHA-256 digests does
/// not need timing. The map uses only the beginning of the digest as its key. The whole digest is compared in constant
/// time, so that not even a digest leaks.
#[derive(Debug, Default)]
pub(super) struct TokenIndex(HashMap<[u8; 8], Vec<Known>>);

#[derive(Debug)]
struct Known {
    sha256: [u8; 32],
    principal: Arc<Principal>,
}

impl TokenIndex {
    pub(super) fn new<'a>(tenants: impl Iterator<Item = (&'a str, &'a [CallerSettings])>) -> Self {
        let mut principals = BTreeMap::new();
        for (tenant, callers) in tenants {
            let tenant: Arc<str> = tenant.into();
            for caller in callers {
                let grant = Arc::new(Grant::of(caller));
                for token in &caller.identities.tokens {
                    principals
                        .entry(token.sha256)
                        .or_insert_with(|| Principal::named(Arc::clone(grant.caller())))
                        .grant_by_token(&tenant, &grant, token.not_after);
                }
            }
        }
        let mut index: HashMap<_, Vec<_>> = HashMap::new();
        for (sha256, principal) in principals {
            let known = Known { sha256, principal: Arc::new(principal) };
            index.entry(beginning(&sha256)).or_default().push(known);
        }
        Self(index)
    }

    /// The caller with the token that has this SHA-256, if there is one. The token may have expired
    /// ([`Principal::acting_for`]).
    pub(super) fn find(&self, digest: &[u8; 32]) -> Option<&Arc<Principal>> {
        let mut candidates = self.0.get(&beginning(digest)).into_iter().flatten();
        candidates.find(|known| known.sha256.ct_eq(digest).into()).map(|known| &known.principal)
    }
}

fn beginning(digest: &[u8; 32]) -> [u8; 8] {
    let mut beginning = [0; 8];
    beginning.copy_from_slice(&digest[..8]);
    beginning
}
