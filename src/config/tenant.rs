//! A tenant: its callers and its stores.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::{
    auth::{Access, CallerSettings},
    store::StoreSettings,
    tenants::TenantSettings,
};

use super::{
    client::{Client, OverridableOptions, RetryConfig, Transfer},
    field::{Entries, Field},
    keywords::{Keyword, Keywords},
    path::quoted,
    problem::{Notes, PlaceId},
    store::Store,
    values::{Scalar, Size, Text, scalars},
    variables::Variables,
};

/// A tenant as the tenants file defines it.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename = "tenant")]
pub(super) struct Tenant {
    callers: Field<Vec<Field<Caller>>>,
    stores: Field<Entries<Store>>,
    client_options: Field<Client>,
    retry_config: Field<RetryConfig>,
    transfer: Field<Transfer>,
    limits: Field<Limits>,
}

/// Limits on what a tenant may use of the process's resources.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename = "limits")]
struct Limits {
    max_buffered: Field<Size<MIB, { 1024 * 1024 * MIB }>>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename = "caller")]
struct Caller {
    name: Field<Text>,
    token_sha256: Field<Digest>,
    access: Field<Vec<Field<Keyword<Access>>>>,
    stores: Field<Vec<Field<Text>>>,
    prefixes: Field<Vec<Field<Text>>>,
}

impl Keywords for Access {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("read", Self::Read),
        ("write", Self::Write),
        ("delete", Self::Delete),
        ("list", Self::List),
        ("sign", Self::Sign),
        ("bucket_admin", Self::BucketAdmin),
    ];
}

const MIB: u64 = 1024 * 1024;

scalars! {
    Digest,
}

/// The SHA-256 of a token, written in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Digest([u8; 32]);

/// The SHA-256 of the empty string. It is rejected, because any caller could send an empty token.
const EMPTY_TOKEN_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl Scalar for Digest {
    fn expected() -> String {
        "64 hexadecimal digits in quotes, as printed by `printf %s TOKEN | sha256sum`".to_owned()
    }

    // The message omits the text, which may be the token itself.
    fn from_text(text: &str) -> Result<Self, String> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| format!("expected {}", Self::expected()))?;
        if digest == EMPTY_TOKEN_SHA256 {
            return Err("is the SHA-256 of an empty token: use the SHA-256 of the caller's token".to_owned());
        }
        Ok(Self(digest))
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

impl Tenant {
    /// The settings of tenant `name`, which is at `place_id`. They are usable only if no problem was recorded.
    pub(super) fn settle(
        self,
        name: &str,
        place_id: PlaceId,
        base: &OverridableOptions,
        variables: &Variables,
        notes: &Notes,
    ) -> TenantSettings {
        if let Err(why) = check_name(name) {
            notes.problem(place_id, why);
        }
        let layers =
            OverridableOptions::new(self.client_options, self.retry_config, self.transfer, notes).over(base);
        if self.stores.get().is_some_and(|Entries(stores)| stores.is_empty()) || !self.stores.is_given() {
            notes.problem(place_id, "has no stores: define at least one under `stores`");
        }
        let stores = self.stores.into_value().map(|Entries(stores)| stores).unwrap_or_default();
        let callers = callers(self.callers, &stores, notes);
        let stores = stores
            .into_iter()
            .filter_map(|(name, store)| settle_store(name, store, place_id, &layers, variables, notes))
            .collect::<BTreeMap<_, _>>();
        let max_buffered = self.limits.get().and_then(|limits| limits.max_buffered.get()).map(|size| size.0);
        TenantSettings { name: name.to_owned(), callers, max_buffered, stores }
    }
}

fn settle_store(
    name: String,
    store: Field<Store>,
    tenant: PlaceId,
    layers: &OverridableOptions,
    variables: &Variables,
    notes: &Notes,
) -> Option<(String, StoreSettings)> {
    let place_id = store.place_id().unwrap_or(tenant);
    if let Err(why) = check_name(&name) {
        notes.problem(place_id, why);
    }
    let settings = store.into_value()?.settle(place_id, layers, variables, notes)?;
    Some((name, settings))
}

fn callers(
    callers: Field<Vec<Field<Caller>>>,
    stores: &[(String, Field<Store>)],
    notes: &Notes,
) -> Vec<CallerSettings> {
    let mut owners: HashMap<[u8; 32], String> = HashMap::new();
    let mut settled = Vec::new();
    for caller in callers.into_value().unwrap_or_default() {
        let Some((caller, place_id)) = caller.placed() else { continue };
        let Some(caller) = caller.settle(place_id, stores, notes) else { continue };
        if let Some(owner) = owners.get(&caller.token_sha256) {
            notes.problem(
                place_id,
                format!("has the same token as the caller {}: give each caller its own token", quoted(owner)),
            );
        }
        owners.entry(caller.token_sha256).or_insert_with(|| caller.name.clone());
        settled.push(caller);
    }
    settled
}

impl Caller {
    fn settle(
        &self,
        place_id: PlaceId,
        stores: &[(String, Field<Store>)],
        notes: &Notes,
    ) -> Option<CallerSettings> {
        if !self.name.is_given() {
            notes.problem(place_id, "has no `name`: set one, by which the log identifies the caller");
        }
        if !self.token_sha256.is_given() {
            notes.problem(place_id, format!("has no `token_sha256`: set it to {}", Digest::expected()));
        }
        let access = self.access(place_id, notes);
        for (name, place_id) in self.stores.get().into_iter().flatten().filter_map(Field::placed) {
            if !stores.iter().any(|(known, _)| *known == name.0) {
                let known: Vec<_> = stores.iter().map(|(known, _)| known.as_str()).collect();
                notes.problem(
                    place_id,
                    format!(
                        "{} is not a store of this tenant; expected one of: {}",
                        quoted(&name.0),
                        known.join(", ")
                    ),
                );
            }
        }
        Some(CallerSettings {
            name: self.name.get()?.0.clone(),
            token_sha256: self.token_sha256.get()?.0,
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

    fn access(&self, place_id: PlaceId, notes: &Notes) -> Vec<Access> {
        let given = self
            .access
            .placed()
            .map_or((&[][..], place_id), |(access, place_id)| (access.as_slice(), place_id));
        if given.0.is_empty() && (self.access.get().is_some() || !self.access.is_given()) {
            notes.problem(
                given.1,
                format!("grants no access: list at least {}", Keyword::<Access>::expected()),
            );
        }
        given.0.iter().filter_map(Field::get).map(|word| word.0).collect()
    }
}

/// A list that restricts a caller. `None` if it is not given.
fn texts(list: &Field<Vec<Field<Text>>>, empty: &str, notes: &Notes) -> Option<Vec<String>> {
    let (items, place_id) = list.placed()?;
    if items.is_empty() {
        notes.problem(place_id, format!("is empty, {empty}"));
    }
    Some(items.iter().filter_map(Field::get).map(|text| text.0.clone()).collect())
}
