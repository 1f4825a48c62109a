//! Shares the principals of tokens that many callers accept, so that the cache of verified tokens stores little for
//! each such token.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use crate::auth::Principal;

/// The largest number of callers whose principal each token has for itself. It takes some kilobytes.
pub(super) const FEW: usize = 16;

/// The largest number of sets of more callers. Tokens with other sets are verified for each call.
const MAX_SETS: usize = 64;

/// The principals in use that have more than [`FEW`] callers, by the numbers of these.
#[derive(Debug, Default)]
pub(super) struct ManyCallers(Mutex<HashMap<Box<[usize]>, Weak<Principal>>>);

impl ManyCallers {
    /// The principal of these callers, which `build` makes if it does not exist yet, and whether it is shared.
    pub(super) fn principal(
        &self,
        numbers: Box<[usize]>,
        build: impl FnOnce() -> Arc<Principal>,
    ) -> (Arc<Principal>, bool) {
        // A panic while the lock is held leaves a valid map.
        let mut sets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sets.get(&numbers).and_then(Weak::upgrade) {
            return (known, true);
        }
        let principal = build();
        sets.retain(|_, known| known.strong_count() > 0);
        let has_room = sets.len() < MAX_SETS;
        if has_room {
            sets.insert(numbers, Arc::downgrade(&principal));
        }
        (principal, has_room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(many: &ManyCallers, number: usize) -> (Arc<Principal>, bool) {
        many.principal([number].into(), || Arc::new(Principal::named("a")))
    }

    #[test]
    fn sets_of_callers_are_shared_while_they_are_in_use_and_limited_in_number() {
        let many = ManyCallers::default();
        let mut in_use: Vec<_> = (0..MAX_SETS).map(|number| of(&many, number)).collect();
        assert!(in_use.iter().all(|(_, is_shared)| *is_shared));
        assert!(Arc::ptr_eq(&of(&many, 0).0, &in_use[0].0));
        assert!(!of(&many, MAX_SETS).1);
        in_use.pop();
        assert!(of(&many, MAX_SETS).1);
    }
}
