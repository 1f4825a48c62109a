//! Secrets: written in the tenants file, in a file of their own, or in a variable.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{
    Content, Cursor, FilePath, Form, LocalPath, NotText, Notes, Optional, VariableName, Variables, object,
    quoted, read_section, settings,
};

/// The maximum size of a file that contains a secret. The longest credentials are session tokens, of a few thousand
/// characters.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Stands for a secret that is not read.
const SKIPPED: &str = "not-read";

/// A secret: a string, `{file: PATH}` or `{env: NAME}`. The secret itself is read when the setting is read.
pub(crate) struct Secret;

/// The value of a secret. Wiped from memory when dropped, and never printed.
#[derive(Debug, Clone)]
pub struct SecretValue(SecretString);

impl From<&str> for SecretValue {
    fn from(secret: &str) -> Self {
        Self(secret.into())
    }
}

settings! {
    /// A reference to a secret in another place.
    pub(crate) struct SecretReference(SecretReferenceLayer) {
        /// The file that contains the secret. A line break at its end is ignored.
        file: Option<LocalPath> as Optional<FilePath> = None,
        /// The variable that contains the secret.
        env: Option<String> as Optional<VariableName> = None,
    }
}

impl SecretValue {
    /// The secret, for the code that sends it.
    pub(crate) fn expose(&self) -> &SecretString {
        &self.0
    }
}

impl PartialEq for SecretValue {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Form for Secret {
    type Layer = SecretValue;
    type Value = SecretValue;
    const IS_SECRET: bool = true;

    fn read(cursor: Cursor<'_>) -> Option<SecretValue> {
        let found = match cursor.content() {
            Content::Text(text) => Ok(text.as_str().into()),
            Content::Mapping(pairs) => {
                let reference = read_section::<SecretReference>(cursor)?;
                // If the mapping has only unknown keys, they have been reported.
                if !pairs.is_empty() && !reference.file.is_given() && !reference.env.is_given() {
                    return None;
                }
                reference.follow(cursor.notes())?
            }
            _ => return cursor.refuse("a string (put a number in quotes), {file: PATH} or {env: NAME}"),
        };
        found.and_then(check).map_err(|text| cursor.note(text)).ok().map(SecretValue)
    }

    fn resolve(layer: &SecretValue) -> SecretValue {
        layer.clone()
    }

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

impl SecretReferenceLayer {
    /// Reads the secret. `None` if the problem of an invalid path or name has already been recorded.
    fn follow(&self, notes: &Notes) -> Option<Result<SecretString, String>> {
        let one = self.file.is_given() != self.env.is_given();
        match (self.file.get(), self.env.get()) {
            _ if !one => Some(Err("expected either {file: PATH} or {env: NAME}".to_owned())),
            (None, None) => None,
            _ if notes.variables().skip_secrets() => Some(Ok(SKIPPED.into())),
            (Some(file), _) => Some(from_file(file, notes)),
            (None, Some(name)) => Some(from_variable(name, notes.variables())),
        }
    }
}

fn from_file(file: &LocalPath, notes: &Notes) -> Result<SecretString, String> {
    let path = file.path();
    let bytes = notes
        .read_file(file, MAX_SECRET_BYTES + 1)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_SECRET_BYTES {
        return Err(format!("{} is larger than 64 KiB, the limit for a secret", path.display()));
    }
    let text = str::from_utf8(&bytes)
        .map_err(|_| format!("cannot read {}: it is not valid UTF-8", path.display()))?;
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
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

/// Most secrets are sent in HTTP headers (RFC 9110, section 5.5), and S3's secret keys have no other characters either,
/// so a character that is not visible ASCII is a mistake.
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
