//! How the settings of providers are written.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    credentials::shown_time,
    settings::{Content, Cursor, Form, Notes, Scalar, Text, UNTRUSTED, quoted},
    transport::names_local_host,
};

/// A command: a string, which is split into words, or a list of words.
pub(in crate::config) struct Command;

impl Form for Command {
    type Layer = Vec<String>;
    type Value = Vec<String>;

    fn read(cursor: Cursor<'_>) -> Option<Vec<String>> {
        if !cursor.notes().trusts_author() {
            cursor.note(format!("is run by the server, {UNTRUSTED}: remove it"));
            return None;
        }
        let words = match cursor.content() {
            Content::Text(text) => shlex::split(text),
            Content::List(_) => {
                let mut words = Vec::new();
                cursor.each_item(|item| words.extend(Text::read(item)))?;
                Some(words)
            }
            _ => return cursor.refuse("a command, or a list of its words"),
        };
        match words {
            Some(words) if !words.is_empty() => Some(words),
            Some(_) => {
                cursor.note("is empty: set a command");
                None
            }
            None => {
                cursor.note("has a quote without an end: add it");
                None
            }
        }
    }

    fn resolve(layer: &Vec<String>) -> Vec<String> {
        layer.clone()
    }

    fn form() -> String {
        "command, or list of its words".to_owned()
    }

    fn schema() -> Value {
        json!({"anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]})
    }
}

/// Session tags: a mapping of names and values.
pub(in crate::config) struct Tags;

impl Form for Tags {
    type Layer = Vec<(String, String)>;
    type Value = Vec<(String, String)>;

    fn read(cursor: Cursor<'_>) -> Option<Self::Layer> {
        let mut tags = Vec::new();
        cursor.each_key(|name, value| {
            let is_valid =
                |text: &str| text.chars().all(|c| c.is_alphanumeric() || " _.:/=+-@{}".contains(c));
            let Some(text) = Text::read(value) else { return };
            if name.is_empty() || name.chars().count() > 128 || text.chars().count() > 256 {
                value.note("must have a name of 1 to 128 characters and a value of at most 256");
            } else if !is_valid(name) || !is_valid(&text) {
                value.note("may contain letters, digits, spaces and _.:/=+-@ only");
            } else {
                tags.push((name.to_owned(), text));
            }
        })?;
        if tags.len() > 50 {
            cursor.note("has more than 50 tags, which is STS's limit");
        }
        Some(tags)
    }

    fn resolve(layer: &Self::Layer) -> Self::Value {
        layer.clone()
    }

    fn form() -> String {
        "mapping of strings".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 50})
    }
}

/// The URL of a service that has credentials. Each type has rules of its own for it.
pub(in crate::config) struct ProviderUrl;

impl Scalar for ProviderUrl {
    type Value = String;

    fn expected() -> String {
        "a URL".to_owned()
    }

    fn form() -> String {
        "URL".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        Text::from_text(text)
    }

    fn admit(url: String, notes: &Notes) -> Result<String, String> {
        if notes.trusts_author() || !names_local_host(&url) {
            return Ok(url);
        }
        Err(format!(
            "is not a URL of another machine. On its own machine and at link-local addresses, the server is identified \
             by where it runs, {UNTRUSTED}: set the URL of another machine"
        ))
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }

    fn schema() -> Value {
        <Text as Scalar>::schema()
    }
}

/// The ARN of a role.
pub(in crate::config) struct RoleArn;

impl Scalar for RoleArn {
    type Value = String;

    fn expected() -> String {
        "the ARN of a role, such as arn:aws:iam::123456789012:role/NAME".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        let parts: Vec<_> = text.splitn(6, ':').collect();
        // Other servers than AWS's leave the account out, or have names instead of numbers.
        let is_role = matches!(parts[..], ["arn", partition, "iam", "", account, role]
            if !partition.is_empty() && account.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
                && role.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
        if !is_role {
            return Err(format!("expected {}, found {}", Self::expected(), quoted(text)));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// The name of a role's session.
pub(in crate::config) struct SessionName;

impl Scalar for SessionName {
    type Value = String;

    fn expected() -> String {
        "2 to 64 of the characters a-z, A-Z, 0-9 and _=,.@+-".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.@+-".contains(&byte);
        if !(2..=64).contains(&text.len()) || !text.bytes().all(is_valid) {
            return Err(format!("expected {}, found {}", Self::expected(), quoted(text)));
        }
        Ok(text.to_owned())
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// A point in time.
pub(in crate::config) struct Time;

impl Scalar for Time {
    type Value = SystemTime;

    fn expected() -> String {
        "a time such as 2030-01-02T03:04:05Z".to_owned()
    }

    fn form() -> String {
        "time".to_owned()
    }

    fn from_text(text: &str) -> Result<SystemTime, String> {
        let found = text.parse::<Timestamp>();
        found
            .map(SystemTime::from)
            .map_err(|_| format!("expected {}, found {}", Self::expected(), quoted(text)))
    }

    fn show(value: &SystemTime) -> Option<String> {
        Some(shown_time(*value))
    }
}
