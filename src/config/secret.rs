//! Secrets: written in the tenants file, in a file of their own, or in a variable.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::settings::{
    Content, Cursor, Field, FileName, Form, Notes, Optional, PlaceId, Text, object, quoted, read_section,
    settings,
};

use super::variables::{NotText, Variables};

/// The maximum length of a secret. The longest credentials are session tokens, of a few thousand characters.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// A secret as the tenants file contains it.
#[derive(Clone)]
pub(crate) enum SecretSource {
    /// The secret itself.
    Plain(SecretString),
    /// Where the secret is.
    Reference(SecretReferenceLayer),
}

settings! {
    /// A reference to a secret in another place.
    pub(crate) struct SecretReference(SecretReferenceLayer) {
        /// The file that contains the secret. A line break at its end is ignored.
        file: Option<PathBuf> as Optional<FileName> = None,
        /// The variable that contains the secret.
        env: Option<String> as Optional<Text> = None,
    }
}

/// How a secret is written.
pub(crate) struct Secret;

impl Form for Secret {
    type Layer = SecretSource;
    /// The secret itself is read with [`reveal`].
    type Value = ();
    const IS_SECRET: bool = true;

    fn read(cursor: Cursor<'_>) -> Option<SecretSource> {
        match cursor.content() {
            Content::Text(text) => Some(SecretSource::Plain(text.as_str().into())),
            Content::Mapping(pairs) => read_section::<SecretReference>(cursor)
                // Of a mapping with other keys only, these have been reported.
                .filter(|layer| pairs.is_empty() || layer.file.is_given() || layer.env.is_given())
                .map(SecretSource::Reference),
            _ => cursor.refuse("a string (put a number in quotes), {file: PATH} or {env: NAME}"),
        }
    }

    fn resolve(_layer: &SecretSource) {}

    fn form() -> String {
        "secret".to_owned()
    }

    fn schema() -> Value {
        let mut reference = object::<SecretReference>();
        reference["minProperties"] = json!(1);
        reference["maxProperties"] = json!(1);
        json!({"anyOf": [{"type": "string", "minLength": 1}, reference]})
    }
}

impl SecretSource {
    /// The secret itself. Records a problem if it cannot be read.
    pub(super) fn reveal(
        &self,
        place_id: PlaceId,
        variables: &Variables,
        notes: &Notes,
    ) -> Option<SecretString> {
        let found = match self {
            Self::Plain(secret) => Ok(secret.clone()),
            Self::Reference(SecretReferenceLayer { file, env }) => match (file.placed(), env.placed()) {
                (Some(_), None) | (None, Some(_)) if variables.skip_secrets() => Ok(SKIPPED.into()),
                (Some((file, _)), None) if !env.is_given() => from_file(file),
                (None, Some((name, _))) if !file.is_given() => from_variable(name, variables),
                // The problem of an invalid path or name has already been recorded.
                (None, None) if file.is_given() != env.is_given() => return None,
                _ => Err("expected either {file: PATH} or {env: NAME}".to_owned()),
            },
        };
        found.and_then(check).map_err(|text| notes.problem(place_id, text)).ok()
    }
}

/// Stands for a secret that is not read.
const SKIPPED: &str = "not-read";

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
    // The name may be the secret itself.
    let shown = quoted(name);
    match variables.text(name) {
        Ok(Some("")) => Err(format!("the variable {shown} is empty: set it to the secret")),
        Ok(Some(text)) => Ok(text.into()),
        Ok(None) => Err(format!("the variable {shown} is not set: set it to the secret")),
        Err(NotText) => Err(format!("the variable {shown} {}", NotText::TEXT)),
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
pub(super) fn reveal(
    field: &Field<Optional<Secret>>,
    variables: &Variables,
    notes: &Notes,
) -> Option<SecretString> {
    field.placed().and_then(|(secret, place_id)| secret.reveal(place_id, variables, notes))
}
