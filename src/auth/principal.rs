//! Callers and their grants for each tenant.

use std::{borrow::Borrow, sync::Arc, time::SystemTime};

use super::{Access, CallerSettings, MissingGrant, Refusal};

/// An authenticated caller.
#[derive(Debug, Clone)]
pub struct Principal {
    name: Arc<str>,
    /// One for each tenant, in the order of their names. Most callers act for one tenant, and a map of one entry takes
    /// more than ten times the memory.
    actors: Vec<Actor>,
    /// Whether authentication is off. Then the existence of tenants is not hidden.
    trusted: bool,
}

/// A caller that acts for one tenant. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Actor {
    name: Arc<str>,
    tenant: Arc<str>,
    /// Shared with all other principals of the same callers.
    grants: Arc<Vec<Arc<Grant>>>,
    /// When the token that identifies the caller expires in this tenant.
    not_after: Option<SystemTime>,
    /// Whether the call has to name this tenant: if any of the callers demands it, whatever their order.
    must_be_named: bool,
}

/// The part of a store that a grant must cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// One key.
    Key(&'a str),
    /// Every key with this prefix.
    Prefix(&'a str),
    /// Some keys of the store. Each key must be checked when it is known.
    Store,
}

/// One grant from a tenant's callers, with the caller's name. Each caller has one, which its principals share.
#[derive(Debug)]
pub(super) struct Grant {
    caller: Arc<str>,
    /// Whether a call that is identified by something public, and not by a secret, has to name the tenant.
    must_name_tenant: bool,
    /// `None` means every kind of access.
    access: Option<Vec<Access>>,
    stores: Option<Vec<String>>,
    prefixes: Option<Vec<String>>,
}

impl Principal {
    /// The caller while authentication is off. It may do everything for every tenant.
    pub(super) fn anyone<'a>(tenants: impl IntoIterator<Item = &'a str>) -> Self {
        let name: Arc<str> = "anonymous".into();
        let grants = Arc::new(vec![Arc::new(Grant::everything())]);
        let actors = tenants.into_iter().map(|tenant| Actor {
            name: Arc::clone(&name),
            tenant: tenant.into(),
            grants: Arc::clone(&grants),
            not_after: None,
            must_be_named: false,
        });
        let mut actors: Vec<_> = actors.collect();
        actors.sort_unstable_by(|one, other| one.tenant.cmp(&other.tenant));
        Self { actors, name, trusted: true }
    }

    /// A caller without any grants.
    pub(super) fn named(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), actors: Vec::new(), trusted: false }
    }

    /// Adds a grant of a caller for `tenant`, which the caller has by a token that expires at `not_after`. If a
    /// tenant declares the same token twice, which the settings reject, the caller may do what either grant allows.
    pub(super) fn grant_by_token(
        &mut self,
        tenant: &Arc<str>,
        grant: &Arc<Grant>,
        not_after: Option<SystemTime>,
    ) {
        let actor = self.grant(tenant, grant);
        actor.not_after = actor.not_after.into_iter().chain(not_after).min();
    }

    /// Adds a grant of a caller for `tenant`, which the caller has by something public: a name in its certificate, or
    /// the claims of its JWT.
    pub(super) fn grant_by_name(&mut self, tenant: &Arc<str>, grant: &Arc<Grant>) {
        self.grant(tenant, grant).must_be_named |= grant.must_name_tenant;
    }

    fn grant(&mut self, tenant: &Arc<str>, grant: &Arc<Grant>) -> &mut Actor {
        let at = self.position(tenant).unwrap_or_else(|at| {
            let actor = Actor {
                name: Arc::clone(&grant.caller),
                tenant: Arc::clone(tenant),
                grants: Arc::default(),
                not_after: None,
                must_be_named: false,
            };
            self.insert(at, actor);
            at
        });
        let actor = &mut self.actors[at];
        Arc::make_mut(&mut actor.grants).push(Arc::clone(grant));
        actor
    }

    /// Adds what `other` may do.
    pub(super) fn join(&mut self, other: &Self) {
        for theirs in &other.actors {
            match self.position(&theirs.tenant) {
                Ok(at) => {
                    let ours = &mut self.actors[at];
                    Arc::make_mut(&mut ours.grants).extend(theirs.grants.iter().cloned());
                    ours.must_be_named |= theirs.must_be_named;
                }
                Err(at) => self.insert(at, theirs.clone()),
            }
        }
    }

    /// The index of the actor for this tenant, or where it belongs.
    fn position(&self, tenant: &str) -> Result<usize, usize> {
        self.actors.binary_search_by(|actor| (*actor.tenant).cmp(tenant))
    }

    fn insert(&mut self, at: usize, actor: Actor) {
        if self.actors.is_empty() {
            self.actors.reserve_exact(1);
        }
        self.actors.insert(at, actor);
    }

    /// The caller's name, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The caller acting for the named tenant, or for its only tenant if none is named.
    pub fn acting_for(&self, tenant: Option<&str>) -> Result<&Actor, Refusal> {
        let Some(name) = tenant else { return self.acting_for_only_tenant() };
        let unknown = if self.trusted { Refusal::TenantUnknown } else { Refusal::TenantNotAllowed };
        let actor = self.position(name).ok().and_then(|at| self.actors.get(at)).ok_or(unknown)?;
        if actor.is_expired() { Err(Refusal::TokenExpired) } else { Ok(actor) }
    }

    fn acting_for_only_tenant(&self) -> Result<&Actor, Refusal> {
        let (mut only, mut any_expired) = (None, false);
        for actor in self.actors.iter().filter(|actor| !actor.must_be_named) {
            if actor.is_expired() {
                any_expired = true;
            } else if only.replace(actor).is_some() {
                return Err(Refusal::TenantRequired);
            }
        }
        only.ok_or(if any_expired { Refusal::TokenExpired } else { Refusal::TenantRequired })
    }
}

impl Actor {
    /// The caller's name in this tenant, for logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenant that the caller acts for.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    #[cfg(test)]
    pub(super) fn grants(&self) -> &[Arc<Grant>] {
        &self.grants
    }

    fn is_expired(&self) -> bool {
        self.not_after.is_some_and(|not_after| not_after < SystemTime::now())
    }

    /// Whether any grant covers this store.
    pub fn sees(&self, store: &str) -> bool {
        self.grants.iter().any(|grant| grant.covers_store(store))
    }

    /// Checks that the caller has `access` to `scope` of `store`. The error says what its grants lack.
    pub fn authorize(&self, access: Access, store: &str, scope: Scope<'_>) -> Result<(), Refusal> {
        decide(&self.grants, access, store, scope).map(drop)
    }
}

/// Finds the first grant that allows `access` to `scope` of `store`, by its index. The error says what the grants lack.
pub(super) fn decide<G: Borrow<Grant>>(
    grants: &[G],
    access: Access,
    store: &str,
    scope: Scope<'_>,
) -> Result<usize, Refusal> {
    let mut nearest = MissingGrant::Access;
    for (index, grant) in grants.iter().enumerate() {
        match grant.borrow().missing(access, store, scope) {
            None => return Ok(index),
            Some(missing) => nearest = nearest.max(missing),
        }
    }
    Err(Refusal::AccessNotGranted { access, store: store.to_owned(), missing: nearest })
}

impl Grant {
    /// The grant of a caller's settings.
    pub(super) fn of(caller: &CallerSettings) -> Self {
        Self {
            caller: caller.name.as_str().into(),
            must_name_tenant: caller.identities.must_name_tenant,
            access: Some(caller.access.clone()),
            stores: caller.stores.clone(),
            prefixes: caller.prefixes.clone(),
        }
    }

    /// The grant that covers everything.
    pub(super) fn everything() -> Self {
        Self {
            caller: "anonymous".into(),
            must_name_tenant: false,
            access: None,
            stores: None,
            prefixes: None,
        }
    }

    fn missing(&self, access: Access, store: &str, scope: Scope<'_>) -> Option<MissingGrant> {
        if self.access.as_ref().is_some_and(|granted| !granted.contains(&access)) {
            Some(MissingGrant::Access)
        } else if !self.covers_store(store) {
            Some(MissingGrant::Store)
        } else if !self.covers(scope) {
            Some(MissingGrant::Prefix)
        } else {
            None
        }
    }

    /// The caller's name.
    pub(super) fn caller(&self) -> &Arc<str> {
        &self.caller
    }

    pub(super) fn covers_store(&self, store: &str) -> bool {
        self.stores.as_ref().is_none_or(|stores| stores.iter().any(|granted| granted == store))
    }

    /// Compares characters only: keys are never normalised, so `public/../private` is a key under `public/`. A listing
    /// must be covered completely, so its prefix must begin with a granted prefix.
    fn covers(&self, scope: Scope<'_>) -> bool {
        let (Scope::Key(text) | Scope::Prefix(text)) = scope else {
            return true;
        };
        self.prefixes.as_ref().is_none_or(|prefixes| prefixes.iter().any(|granted| text.starts_with(granted)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*, sample::select};

    use super::*;
    use crate::auth::Identities;
    use crate::settings::Keywords as _;

    fn caller(access: &[Access], stores: Option<&[&str]>, prefixes: Option<&[&str]>) -> CallerSettings {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        CallerSettings {
            name: "billing".to_owned(),
            identities: Identities::default(),
            access: access.to_vec(),
            stores: stores.map(owned),
            prefixes: prefixes.map(owned),
        }
    }

    fn actor(callers: &[CallerSettings]) -> Actor {
        let mut principal = Principal::named("billing");
        for caller in callers {
            principal.grant_by_token(&"acme".into(), &Arc::new(Grant::of(caller)), None);
        }
        principal.acting_for(None).unwrap().clone()
    }

    #[test]
    fn grants_are_checked_for_access_store_and_prefix() {
        use {Access::*, MissingGrant as Lacks};
        let narrow = actor(&[caller(&[Read, List], Some(&["default"]), Some(&["public/"]))]);
        let cases: &[(Access, &str, Scope<'_>, Option<Lacks>)] = &[
            (Read, "default", Scope::Key("public/a"), None),
            (Read, "default", Scope::Key("public/"), None),
            (Read, "default", Scope::Key("public"), Some(Lacks::Prefix)),
            (Read, "default", Scope::Key("Public/a"), Some(Lacks::Prefix)),
            (Read, "default", Scope::Key("public/../private"), None),
            (Read, "default", Scope::Key("x/public/a"), Some(Lacks::Prefix)),
            (Read, "archive", Scope::Key("public/a"), Some(Lacks::Store)),
            (Write, "default", Scope::Key("public/a"), Some(Lacks::Access)),
            (Write, "archive", Scope::Key("other"), Some(Lacks::Access)),
            (List, "default", Scope::Prefix("public/2026/"), None),
            (List, "default", Scope::Prefix("public/"), None),
            (List, "default", Scope::Prefix("pub"), Some(Lacks::Prefix)),
            (List, "default", Scope::Prefix(""), Some(Lacks::Prefix)),
            (List, "default", Scope::Store, None),
            (Delete, "default", Scope::Store, Some(Lacks::Access)),
        ];
        for (access, store, scope, expected) in cases {
            let lacks = narrow.authorize(*access, store, *scope).err().map(|refusal| match refusal {
                Refusal::AccessNotGranted { missing, .. } => missing,
                other => panic!("{other}"),
            });
            assert_eq!(lacks, *expected, "{access:?} {store} {scope:?}");
        }
    }

    #[test]
    fn absent_stores_and_prefixes_in_a_grant_mean_all() {
        let wide = actor(&[caller(&[Access::Write], None, None)]);
        assert_eq!(wide.authorize(Access::Write, "any", Scope::Key("k")), Ok(()));
        assert!(wide.authorize(Access::Read, "any", Scope::Key("k")).is_err());
    }

    #[test]
    fn empty_lists_in_a_grant_mean_none() {
        let nowhere = actor(&[caller(&[Access::Write], Some(&[]), None)]);
        assert!(nowhere.authorize(Access::Write, "default", Scope::Store).is_err());
        assert!(!nowhere.sees("default"));
    }

    #[test]
    fn two_grants_of_one_token_are_checked_separately() {
        let both = actor(&[
            caller(&[Access::Read], None, None),
            caller(&[Access::Write], Some(&["default"]), Some(&["in/"])),
        ]);
        assert_eq!(both.authorize(Access::Read, "archive", Scope::Key("x")), Ok(()));
        assert_eq!(both.authorize(Access::Write, "default", Scope::Key("in/x")), Ok(()));
        let refusal = both.authorize(Access::Write, "default", Scope::Key("out/x")).unwrap_err();
        let expected = "`write` access to the store `default` for other key prefixes only";
        assert!(refusal.to_string().contains(expected));
        assert!(both.authorize(Access::Write, "archive", Scope::Key("in/x")).is_err());
    }

    #[test]
    fn the_tenant_may_be_omitted_if_there_is_only_one() {
        let mut principal = Principal::named("billing");
        assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        let grant = Arc::new(Grant::of(&caller(&[Access::Read], None, None)));
        principal.grant_by_token(&"acme".into(), &grant, None);
        assert_eq!(principal.acting_for(None).unwrap().tenant(), "acme");
        principal.grant_by_token(&"zeta".into(), &grant, None);
        assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        assert_eq!(principal.acting_for(Some("zeta")).unwrap().tenant(), "zeta");
        assert_eq!(principal.acting_for(Some("other")).unwrap_err(), Refusal::TenantNotAllowed);
        assert_eq!(principal.acting_for(Some("")).unwrap_err(), Refusal::TenantNotAllowed);
    }

    #[test]
    fn a_tenant_must_be_named_if_any_of_its_callers_demands_it_in_whatever_order() {
        let grant = |must_name_tenant| {
            let mut settings = caller(&[Access::Read], None, None);
            settings.identities.must_name_tenant = must_name_tenant;
            Arc::new(Grant::of(&settings))
        };
        let acme = "acme".into();
        for (first, second) in [(false, true), (true, false), (true, true), (false, false)] {
            let mut together = Principal::named("billing");
            together.grant_by_name(&acme, &grant(first));
            together.grant_by_name(&acme, &grant(second));
            let (mut joined, mut other) = (Principal::named("billing"), Principal::named("other"));
            joined.grant_by_name(&acme, &grant(first));
            other.grant_by_name(&acme, &grant(second));
            joined.join(&other);
            for principal in [together, joined] {
                let unnamed = principal.acting_for(None).map(|actor| actor.grants.len());
                let expected = if first || second { Err(Refusal::TenantRequired) } else { Ok(2) };
                assert_eq!(unnamed, expected, "{first} {second}");
                assert_eq!(principal.acting_for(Some("acme")).unwrap().grants.len(), 2);
            }
        }
    }

    fn accesses() -> impl Strategy<Value = Access> {
        select(Access::KEYWORDS.iter().map(|(_, access)| *access).collect::<Vec<_>>())
    }

    fn names() -> impl Strategy<Value = String> {
        select(vec!["default".to_owned(), "archive".to_owned(), "a".to_owned()])
    }

    /// Short texts of few characters, so that one is often a prefix of another.
    fn texts() -> impl Strategy<Value = String> {
        "[a/é.]{0,3}"
    }

    fn grants() -> impl Strategy<Value = Vec<CallerSettings>> {
        let grant = (vec(accesses(), 0..4), option::of(vec(names(), 0..3)), option::of(vec(texts(), 0..3)));
        let grant = grant.prop_map(|(access, stores, prefixes)| CallerSettings {
            name: "billing".to_owned(),
            identities: Identities::default(),
            access,
            stores,
            prefixes,
        });
        vec(grant, 1..4)
    }

    /// What the documentation says: one grant must have the access, the store and a prefix of the key.
    fn model(grants: &[CallerSettings], access: Access, store: &str, key: Option<&str>) -> bool {
        let listed = |list: &Option<Vec<String>>, is_match: &dyn Fn(&str) -> bool| match list {
            None => true,
            Some(list) => list.iter().any(|item| is_match(item)),
        };
        grants.iter().any(|grant| {
            grant.access.contains(&access)
                && listed(&grant.stores, &|granted| granted == store)
                && key.is_none_or(|key| {
                    listed(&grant.prefixes, &|granted| key.as_bytes().starts_with(granted.as_bytes()))
                })
        })
    }

    proptest! {
        #[test]
        fn a_call_is_allowed_exactly_when_one_grant_covers_it(
            grants in grants(),
            access in accesses(),
            store in names(),
            key in texts(),
        ) {
            let actor = actor(&grants);
            for (scope, key) in [
                (Scope::Key(&key), Some(key.as_str())),
                (Scope::Prefix(&key), Some(key.as_str())),
                (Scope::Store, None),
            ] {
                let is_allowed = actor.authorize(access, &store, scope).is_ok();
                prop_assert_eq!(is_allowed, model(&grants, access, &store, key), "{:?}", scope);
            }
            let any = Access::KEYWORDS.iter().any(|(_, access)| model(&grants, *access, &store, None));
            prop_assert!(actor.sees(&store) || !any);
        }
    }
}
