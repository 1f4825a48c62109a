//! A tenant: its callers and its stores.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    auth::{Access, CallerSettings, Identities, SubjectAltName},
    settings::{
        Entries, Field, Keyword, List, Notes, Optional, PlaceId, Scalar, Section, Text, UNSUPPORTED, quoted,
        settings,
    },
    store::StoreSettings,
    tenants::{CallLimits, CallLimitsLayer, Limits, TenantSettings},
};

use super::{
    caller_name::CallerName,
    defaults::{Inherited, calls_level, level, refuse_limits},
    identities::{self, Digest, Owners, SubjectAltNames, Token},
    jwt::{self, Jwt},
    overridable::{Overridable, OverridableLayer},
    store::{Names, Store},
};

settings! {
    /// A tenant as the tenants file defines it.
    pub(super) struct Tenant(TenantSection) {
        /// The callers that may act for the tenant.
        callers: Vec<Caller> as List<Caller> = Vec::new() => "none",
        /// The tenant's stores, by name.
        stores: Vec<(String, Store)> as Entries<Store> = Vec::new() => "required",
        /// How much of the process's resources the tenant may use.
        limits: Limits as Limits = Limits::default() => "those of `defaults`",
        /// Limits of each caller of the tenant.
        caller_limits: CallLimits as CallLimits = CallLimits::default() => "those of `defaults`",
    }
    include {
        /// Sections that stores and `defaults` may set too.
        options: Overridable,
    }
    reject { "memory" => UNSUPPORTED, }
}

settings! {
    /// A caller of a tenant.
    pub(super) struct Caller(CallerSection) {
        /// The name of the caller in the log and in the usage; no other caller of the tenant may have it, and `*` is not
        /// allowed.
        name: Option<String> as Optional<CallerName> = None => "required",
        /// The SHA-256 of the token, in quotes, as `longshore token` prints it; for a token of your own,
        /// `printf %s "$TOKEN" | sha256sum`.
        token_sha256: Option<[u8; 32]> as Optional<Digest> = None => "none",
        /// Several tokens, so that a new one can be introduced before the old one is removed:
        /// `{sha256: …, not_after: …}`. See [Tokens](#tokens).
        tokens: Vec<Token> as List<Token, 1> = Vec::new() => "none",
        /// The name, or a list of names, by which the caller's client certificate identifies it: a DNS name or a URI of
        /// the subjectAltName extension, compared exactly. Requires `LONGSHORE_TLS_CLIENT_CA`.
        san: Option<Vec<SubjectAltName>> as Optional<SubjectAltNames> = None => "none",
        /// The JWTs that identify the caller.
        jwt: Option<Jwt> as Optional<Jwt> = None => "none",
        /// What the caller may do, at least one item.
        access: Vec<Access> as List<Keyword<Access>, 1> = Vec::new() => "required",
        /// The stores of this tenant that the caller may use.
        stores: Option<Vec<String>> as Optional<List<Text, 1>> = None => "all stores",
        /// The prefixes of the keys that the caller may access, compared character by character, without the store's own
        /// `prefix`.
        prefixes: Option<Vec<String>> as Optional<List<Text, 1>> = None => "all keys",
        /// Limits of the caller, besides those of its tenant.
        limits: CallLimits as CallLimits = CallLimits::default() => "the tenant's `caller_limits`",
    }
}

/// Checks the name of a tenant or store.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(
        "a name must consist of 1 to 64 of the characters a-z, 0-9, `.`, `_` and `-`, and must not begin with a dot",
    )
}

impl TenantSection {
    /// The settings of tenant `name`, which is at `place_id`. They are usable only if no problem was recorded.
    pub(super) fn settle(
        self,
        name: &str,
        place_id: PlaceId,
        base: &Inherited,
        notes: &Notes,
    ) -> TenantSettings {
        if let Err(why) = check_name(name) {
            notes.problem(place_id, why);
        }
        let options = self.options.level(notes).over(&base.options);
        if self.stores.get().is_some_and(Vec::is_empty) || !self.stores.is_given() {
            notes.problem(place_id, "has no stores: define at least one under `stores`");
        }
        let stores = self.stores.into_layer().unwrap_or_default();
        let names: BTreeSet<&str> = stores.iter().map(|(name, _)| name.as_str()).collect();
        let for_callers = self.caller_limits.into_layer().unwrap_or_default();
        let for_callers =
            CallLimits::merged(calls_level(for_callers, base.has_replicas, notes), &base.caller_limits);
        let caller_limits = caller_limits(&self.callers, &for_callers, base.has_replicas, notes);
        let mut sources = jwt::Sources::new(&base.key_files);
        let callers = callers(self.callers, &names, &mut sources, notes);
        sources.check_number(place_id, notes);
        let tenant_name = name;
        let stores = stores
            .into_iter()
            .filter_map(|(store_name, store)| {
                settle_store(tenant_name, store_name, store, place_id, &options, notes)
            })
            .collect::<BTreeMap<_, _>>();
        refuse_limits(self.limits.place_id(), notes);
        let limits = level(self.limits.into_layer().unwrap_or_default(), base.has_replicas, notes);
        let limits = Limits::resolved(&Limits::merged(limits, &base.limits));
        TenantSettings { name: name.to_owned(), callers, limits, caller_limits, stores }
    }
}

fn settle_store(
    tenant_name: &str,
    name: String,
    store: Field<Store>,
    tenant: PlaceId,
    options: &OverridableLayer,
    notes: &Notes,
) -> Option<(String, Arc<StoreSettings>)> {
    let place_id = store.place_id().unwrap_or(tenant);
    if let Err(why) = check_name(&name) {
        notes.problem(place_id, why);
    }
    let names = Names { tenant: tenant_name, store: &name };
    let settings = store.into_layer()?.settle(place_id, names, options, notes)?;
    Some((name, Arc::new(settings)))
}

fn callers(
    callers: Field<List<Caller>>,
    stores: &BTreeSet<&str>,
    sources: &mut jwt::Sources<'_>,
    notes: &Notes,
) -> Vec<CallerSettings> {
    let mut owners = Owners::default();
    let (mut names, mut settled) = (BTreeSet::new(), Vec::new());
    for caller in callers.into_layer().unwrap_or_default() {
        let Some((caller, place_id)) = caller.placed() else { continue };
        let Some(caller) = caller.settle(place_id, stores, sources, notes) else { continue };
        if !names.insert(caller.name.clone()) {
            let text = format!(
                "has the same name as another caller of the tenant, {}: give each caller its own name (one caller can \
                 have several `tokens`, a list as `san`, and `jwt`)",
                quoted(&caller.name)
            );
            notes.problem(place_id, text);
        }
        owners.add(&caller, place_id, notes);
        settled.push(caller);
    }
    // Most tenants have one caller, and a vector makes room for four.
    settled.shrink_to_fit();
    settled
}

/// The limits of each caller, by name, that has any. `inherited` applies to all of them.
fn caller_limits(
    callers: &Field<List<Caller>>,
    inherited: &CallLimitsLayer,
    has_replicas: bool,
    notes: &Notes,
) -> BTreeMap<String, CallLimits> {
    let mut by_name: BTreeMap<String, CallLimits> = BTreeMap::new();
    for caller in callers.get().into_iter().flatten().filter_map(Field::get) {
        let Some(name) = caller.name.get() else { continue };
        let own = calls_level(caller.limits.get().cloned().unwrap_or_default(), has_replicas, notes);
        by_name.insert(name.clone(), CallLimits::resolved(&CallLimits::merged(own, inherited)));
    }
    // Collected anew: a map that has become empty still has room for eleven values, in every tenant.
    by_name.into_iter().filter(|(_, limits)| *limits != CallLimits::default()).collect()
}

impl CallerSection {
    fn settle(
        &self,
        place_id: PlaceId,
        stores: &BTreeSet<&str>,
        sources: &mut jwt::Sources<'_>,
        notes: &Notes,
    ) -> Option<CallerSettings> {
        if !self.name.is_given() {
            notes.problem(place_id, "has no `name`: set one, by which the log identifies the caller");
        }
        let identities = self.identities(place_id, sources, notes);
        let access = self.access(place_id, notes);
        for (name, place_id) in self.stores.get().into_iter().flatten().filter_map(Field::placed) {
            if !stores.contains(name.as_str()) {
                notes.problem(
                    place_id,
                    format!("{} is not a store of this tenant; {}", quoted(name), some(stores)),
                );
            }
        }
        Some(CallerSettings {
            name: self.name.get()?.clone(),
            identities,
            access,
            stores: texts(
                &self.stores,
                "so the caller can use no store: list at least one, or remove the key to allow all stores",
                notes,
            ),
            prefixes: texts(
                &self.prefixes,
                "so the caller can access no key: list at least one prefix, or remove the key to allow all keys",
                notes,
            ),
        })
    }

    fn identities(&self, place_id: PlaceId, sources: &mut jwt::Sources<'_>, notes: &Notes) -> Identities {
        let is_given =
            [self.token_sha256.is_given(), self.tokens.is_given(), self.san.is_given(), self.jwt.is_given()];
        if !is_given.contains(&true) {
            notes.problem(
                place_id,
                format!(
                    "has none of `token_sha256`, `tokens`, `san` and `jwt`: set one of them; `token_sha256` is {}",
                    Digest::expected()
                ),
            );
        }
        Identities {
            tokens: identities::tokens(&self.token_sha256, &self.tokens, notes),
            names: identities::names(&self.san, notes),
            jwt: self.jwt.placed().and_then(|(jwt, place_id)| jwt.settle(place_id, sources, notes)),
            must_name_tenant: !notes.trusts_author(),
        }
    }

    fn access(&self, place_id: PlaceId, notes: &Notes) -> Vec<Access> {
        let given = self
            .access
            .placed()
            .map_or((&[][..], place_id), |(access, place_id)| (access.as_slice(), place_id));
        if given.0.is_empty() && (self.access.get().is_some() || !self.access.is_given()) {
            notes.problem(
                given.1,
                format!("grants no access: list at least {}", <Keyword<Access> as Scalar>::expected()),
            );
        }
        given.0.iter().filter_map(Field::value).collect()
    }
}

/// Some of the names that would have been right.
fn some(names: &BTreeSet<&str>) -> String {
    const SHOWN: usize = 10;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("expected one of: {shown}{more}")
}

/// A list that restricts a caller. `None` if it is not given.
fn texts(list: &Field<Optional<List<Text, 1>>>, empty: &str, notes: &Notes) -> Option<Vec<String>> {
    let (items, place_id) = list.placed()?;
    if items.is_empty() {
        notes.problem(place_id, format!("is empty, {empty}"));
    }
    Some(items.iter().filter_map(Field::value).collect())
}
