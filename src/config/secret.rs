//! Secrets: written in the tenants file, in a file of their own, or in a variable.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use super::{
    field::{Field, Layer, sparse},
    problem::{Notes, PlaceId},
    values::Text,
    variables::{NotText, Variables},
};

/// The maximum length of a secret. The longest credentials are session tokens, of a few thousand characters.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret as the tenants file contains it.
#[derive(Clone)]
pub(super) enum Secret {
    Plain(SecretString),
    SecretReference(SecretReference),
}

sparse! {
    /// A reference to a secret in another place.
    SecretReference, "secret" {
        file: Text,
        env: Text,
    }
}

impl Layer for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string (put a number in quotes), {file: PATH} or {env: NAME}")
    }

    fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::Plain(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        SecretReference::deserialize(MapAccessDeserializer::new(map)).map(Secret::SecretReference)
    }
}

impl Secret {
    /// The secret itself. Records a problem if it cannot be read.
    pub(super) fn reveal(
        &self,
        place_id: PlaceId,
        variables: &Variables,
        notes: &Notes,
    ) -> Option<SecretString> {
        let found = match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::SecretReference(SecretReference { file, env }) => match (file.placed(), env.placed()) {
                (Some((file, _)), None) if !env.is_given() => from_file(Path::new(&file.0)),
                (None, Some((name, _))) if !file.is_given() => from_variable(&name.0, variables),
                // The problem of an invalid path or name has already been recorded.
                (None, None) if file.is_given() != env.is_given() => return None,
                _ => Err("expected either {file: PATH} or {env: NAME}".to_owned()),
            },
        };
        found.and_then(check).map_err(|text| notes.problem(place_id, text)).ok()
    }
}

fn from_file(path: &Path) -> Result<SecretString, String> {
    let broken = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(broken)?;
    file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text).map_err(broken)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("{} is larger than 64 KiB, the limit for a secret", path.display()));
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(format!("{} is empty: write the secret to it", path.display()));
    }
    Ok(line.into())
}

fn from_variable(name: &str, variables: &Variables) -> Result<SecretString, String> {
    match variables.text(name) {
        Ok(Some("")) => Err(format!("the variable {name} is empty: set it to the secret")),
        Ok(Some(text)) => Ok(text.into()),
        Ok(None) => Err(format!("the variable {name} is not set: set it to the secret")),
        Err(NotText) => Err(format!("the variable {name} {}", NotText::TEXT)),
    }
}

/// Credentials are sent in HTTP headers (RFC 9110, section 5.5), so any other character is a mistake.
fn check(secret: SecretString) -> Result<SecretString, String> {
    let text = secret.expose_secret();
    if text.is_empty() {
        return Err("is empty: set a value or remove the key".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "contains a character that is invalid in credentials, such as a space or line break: remove it"
                .to_owned(),
        );
    }
    Ok(secret)
}

/// The secret of a field. `None` if the field is missing or the secret cannot be read.
pub(super) fn reveal(field: &Field<Secret>, variables: &Variables, notes: &Notes) -> Option<SecretString> {
    field.placed().and_then(|(secret, place_id)| secret.reveal(place_id, variables, notes))
}
