//! Tokens that have been verified, so that each call with the same token costs no signature.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::key_source::KeySource;
use crate::auth::Principal;

/// The number of parts that the tokens are divided into, so that calls rarely wait for the same lock.
const SHARDS: usize = 64;

/// The largest number of tokens in each part: 16,384 in total.
const MAX_IN_SHARD: usize = 256;

/// Verified tokens, by the SHA-256 of the token.
#[derive(Debug)]
pub(super) struct VerifiedTokens([Shard; SHARDS]);

type Shard = Mutex<HashMap<[u8; 32], Verified>>;

/// The caller of a verified token.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) principal: Arc<Principal>,
    /// The token is verified again from this time on.
    pub(super) until: SystemTime,
    /// The sources whose keys decided, and the generations of these keys.
    pub(super) decided_by: Vec<(Arc<KeySource>, u64)>,
}

impl Verified {
    fn is_valid(&self, now: SystemTime) -> bool {
        now < self.until && self.decided_by.iter().all(|(source, generation)| source.is_current(*generation))
    }
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }

    /// The caller of the token with this SHA-256, if it has been verified with the current keys.
    pub(super) fn get(&self, digest: &[u8; 32], now: SystemTime) -> Option<Arc<Principal>> {
        let mut shard = self.shard(digest);
        let found = shard.get(digest)?;
        if found.is_valid(now) {
            return Some(Arc::clone(&found.principal));
        }
        shard.remove(digest);
        None
    }

    /// Remembers a token. If there is no room, expired tokens are forgotten, or any other one.
    pub(super) fn insert(&self, digest: [u8; 32], verified: Verified) {
        let mut shard = self.shard(&digest);
        if shard.len() >= MAX_IN_SHARD {
            let now = SystemTime::now();
            shard.retain(|_, verified| now < verified.until);
        }
        if shard.len() >= MAX_IN_SHARD
            && let Some(any) = shard.keys().next().copied()
        {
            shard.remove(&any);
        }
        shard.insert(digest, verified);
    }

    fn shard(&self, digest: &[u8; 32]) -> MutexGuard<'_, HashMap<[u8; 32], Verified>> {
        // A panic while the lock is held leaves a valid map.
        self.0[usize::from(digest[0]) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn verified(until: SystemTime) -> Verified {
        Verified { principal: Arc::new(Principal::named("a")), until, decided_by: Vec::new() }
    }

    #[test]
    fn tokens_are_forgotten_when_they_expire() {
        let tokens = VerifiedTokens::new();
        let now = SystemTime::now();
        tokens.insert([1; 32], verified(now + Duration::from_mins(1)));
        assert!(tokens.get(&[1; 32], now).is_some() && tokens.get(&[2; 32], now).is_none());
        assert!(tokens.get(&[1; 32], now + Duration::from_mins(1)).is_none());
        assert!(tokens.get(&[1; 32], now).is_none());
    }

    #[test]
    fn the_number_of_tokens_is_limited() {
        let tokens = VerifiedTokens::new();
        let until = SystemTime::now() + Duration::from_mins(1);
        for number in 0..10_000_u32 {
            let mut digest = [0; 32];
            digest[4..8].copy_from_slice(&number.to_be_bytes());
            tokens.insert(digest, verified(until));
        }
        assert_eq!(tokens.shard(&[0; 32]).len(), MAX_IN_SHARD);
    }
}
