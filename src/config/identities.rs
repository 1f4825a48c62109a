//! What identifies a caller: its tokens, and the names in its certificates.

use std::{collections::HashMap, time::SystemTime};

use serde_json::{Value, json};

use crate::{
    auth::{AltName, ApiToken, CallerSettings, SubjectAltName},
    credentials::shown_time,
    settings::{Content, Cursor, Field, Form, List, Notes, Optional, PlaceId, Scalar, quoted, settings},
};

use super::store::Time;

settings! {
    /// One of several tokens of a caller.
    pub(super) struct Token(TokenSection) {
        /// The SHA-256 of the token, as in `token_sha256`.
        sha256: Option<[u8; 32]> as Optional<Digest> = None => "required",
        /// When the token expires (RFC 3339). Calls that begin later fail with TOKEN_EXPIRED.
        not_after: Option<SystemTime> as Optional<Time> = None => "never",
    }
}

impl TokenSection {
    /// The token, which is at `place_id`. Records a warning if it has expired.
    fn settle(&self, place_id: PlaceId, notes: &Notes) -> Option<ApiToken> {
        if !self.sha256.is_given() {
            notes.problem(place_id, format!("has no `sha256`: set it to {}", Digest::expected()));
        }
        let not_after = self.not_after.value().flatten();
        if let Some(expired) = not_after.filter(|not_after| *not_after < SystemTime::now()) {
            let text = format!(
                "the token expired at {}, so calls with it fail: remove it once the caller uses another one",
                shown_time(expired)
            );
            notes.warn(notes.place(place_id), text);
        }
        Some(ApiToken { sha256: self.sha256.value().flatten()?, not_after })
    }
}

/// The tokens in `token_sha256` and in `tokens`.
pub(super) fn tokens(
    single: &Field<Optional<Digest>>,
    list: &Field<List<Token, 1>>,
    notes: &Notes,
) -> Vec<ApiToken> {
    let first = single.value().flatten().map(|sha256| ApiToken { sha256, not_after: None });
    if let Some((items, place_id)) = list.placed()
        && items.is_empty()
    {
        notes.problem(place_id, "is empty: list at least one token, or remove the key");
    }
    let items = list.get().into_iter().flatten().filter_map(Field::placed);
    first.into_iter().chain(items.filter_map(|(token, place_id)| token.settle(place_id, notes))).collect()
}

/// The names of a certificate in `san`.
pub(super) fn names(given: &Field<Optional<SubjectAltNames>>, notes: &Notes) -> Vec<SubjectAltName> {
    if let Some((items, place_id)) = given.placed()
        && items.is_empty()
    {
        notes.problem(place_id, "is empty: list at least one name, or remove the key");
    }
    given.value().flatten().unwrap_or_default()
}

/// Finds callers of a tenant that share a token or a name.
#[derive(Default)]
pub(super) struct Owners {
    tokens: HashMap<[u8; 32], String>,
    names: HashMap<SubjectAltName, String>,
}

impl Owners {
    /// Records a problem for each token or name that another caller has, or that this one has twice.
    pub(super) fn add(&mut self, caller: &CallerSettings, place_id: PlaceId, notes: &Notes) {
        for token in &caller.identities.tokens {
            match self.tokens.insert(token.sha256, caller.name.clone()) {
                Some(owner) if owner == caller.name => {
                    notes.problem(place_id, "has the same token twice: remove one of the two");
                }
                Some(owner) => notes.problem(
                    place_id,
                    format!(
                        "has the same token as the caller {}: give each caller its own token",
                        quoted(&owner)
                    ),
                ),
                None => {}
            }
        }
        for name in &caller.identities.names {
            if let Some(owner) = self.names.insert(name.clone(), caller.name.clone()) {
                let text = format!(
                    "has the `san` {}, which the caller {} has too: give each caller its own name",
                    quoted(name.as_str()),
                    quoted(&owner)
                );
                notes.problem(place_id, text);
            }
        }
    }
}

/// The SHA-256 of a token, written in hexadecimal.
pub(crate) struct Digest;

/// The SHA-256 of the empty string. It is rejected as a mistake, such as the hash of a variable that was not set: an
/// empty token never authenticates.
const EMPTY_TOKEN_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl Scalar for Digest {
    type Value = [u8; 32];

    fn expected() -> String {
        "64 hexadecimal digits in quotes, as printed by `longshore token`".to_owned()
    }

    // The message omits the text, which may be the token itself.
    fn from_text(text: &str) -> Result<[u8; 32], String> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| format!("expected {}", Self::expected()))?;
        if digest == EMPTY_TOKEN_SHA256 {
            return Err("is the SHA-256 of an empty token: use the SHA-256 of the caller's token".to_owned());
        }
        Ok(digest)
    }

    fn show(value: &[u8; 32]) -> Option<String> {
        Some(hex::encode(value))
    }

    fn form() -> String {
        "64 hexadecimal digits".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9a-fA-F]{64}$"})
    }
}

/// One name of a certificate, or a list of them.
pub(crate) struct SubjectAltNames;

impl Form for SubjectAltNames {
    type Layer = Vec<Field<AltName>>;
    type Value = Vec<SubjectAltName>;

    fn read(cursor: Cursor<'_>) -> Option<Self::Layer> {
        match cursor.content() {
            Content::List(_) => List::<AltName>::read(cursor),
            _ => Some(vec![Field::read(cursor)]),
        }
    }

    fn resolve(layer: &Self::Layer) -> Vec<SubjectAltName> {
        List::<AltName>::resolve(layer)
    }

    fn form() -> String {
        "name, or list of names".to_owned()
    }

    fn schema() -> Value {
        json!({"anyOf": [<AltName as Scalar>::schema(), List::<AltName, 1>::schema()]})
    }
}
