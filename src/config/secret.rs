//! Secrets: written plainly, kept in a file, or in a variable.

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
    problem::{Notes, Spot},
    values::Text,
    variables::{NotText, Variables},
};

/// No credential is longer; session tokens are the longest, at some thousand characters.
const LONGEST: u64 = 64 * 1024;

/// A secret as the settings give it.
#[derive(Clone)]
pub(super) enum Secret {
    Plain(SecretString),
    Elsewhere(Elsewhere),
}

sparse! {
    /// Where else a secret is.
    Elsewhere, "secret" {
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
        f.write_str("text (a number in quotes), {file: PATH} or {env: NAME}")
    }

    fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret::Plain(text.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Secret, A::Error> {
        Elsewhere::deserialize(MapAccessDeserializer::new(map)).map(Secret::Elsewhere)
    }
}

impl Secret {
    /// The secret itself; if it cannot be had, notes why not.
    pub(super) fn reveal(&self, spot: Spot, variables: &Variables, notes: &Notes) -> Option<SecretString> {
        let found = match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Elsewhere(Elsewhere { file, env }) => match (file.placed(), env.placed()) {
                (Some((file, _)), None) if !env.is_given() => from_file(Path::new(&file.0)),
                (None, Some((name, _))) if !file.is_given() => from_variable(&name.0, variables),
                // A wrong path or name has been noted already.
                (None, None) if file.is_given() != env.is_given() => return None,
                _ => Err("should be text, {file: PATH} or {env: NAME}".to_owned()),
            },
        };
        found.and_then(check).map_err(|text| notes.problem(spot, text)).ok()
    }
}

fn from_file(path: &Path) -> Result<SecretString, String> {
    let broken = |error: io::Error| format!("cannot read {}: {error}", path.display());
    let mut text = String::new();
    let file = File::open(path).map_err(broken)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(broken)?;
    if text.len() as u64 > LONGEST {
        return Err(format!("{} is too large to be a secret", path.display()));
    }
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return Err(format!("{} is empty", path.display()));
    }
    Ok(line.into())
}

fn from_variable(name: &str, variables: &Variables) -> Result<SecretString, String> {
    match variables.text(name) {
        Ok(Some("")) => Err(format!("the variable {name} is empty")),
        Ok(Some(text)) => Ok(text.into()),
        Ok(None) => Err(format!("the variable {name} is not set")),
        Err(NotText) => Err(format!("the variable {name} {}", NotText::TEXT)),
    }
}

/// Credentials travel in HTTP headers (RFC 9110, section 5.5), so that other characters can only be a mistake.
fn check(secret: SecretString) -> Result<SecretString, String> {
    let text = secret.expose_secret();
    if text.is_empty() {
        return Err("is empty: give a value or leave the key out".to_owned());
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("holds a character that no credential has, such as a space or a line break".to_owned());
    }
    Ok(secret)
}

/// The secret of a field; `None` if it is missing or cannot be had.
pub(super) fn reveal(field: &Field<Secret>, variables: &Variables, notes: &Notes) -> Option<SecretString> {
    field.placed().and_then(|(secret, spot)| secret.reveal(spot, variables, notes))
}
