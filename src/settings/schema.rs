//! JSON Schemas of settings.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Section, Setting};

/// The text in place of a default that marks a setting as required.
const REQUIRED: &str = "required";

/// The schema of the mapping that `S` declares.
pub(crate) fn object<S: Section>() -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for setting in S::settings() {
        let schema = described(&setting);
        let names: Vec<_> = [setting.name].into_iter().chain(setting.aliases.iter().copied()).collect();
        if !S::KEY_PREFIX.is_empty() {
            patterns.insert(format!("^{}({})$", S::KEY_PREFIX, names.join("|")), schema.clone());
        }
        for name in names {
            properties.insert(name.to_owned(), schema.clone());
        }
    }
    let required: Vec<_> = S::settings()
        .iter()
        .filter(|setting| setting.default.as_deref() == Some(REQUIRED))
        .map(|setting| setting.name)
        .collect();
    let mut object = json!({
        "type": "object", "properties": properties, "additionalProperties": false, "required": required,
    });
    if !patterns.is_empty() {
        object["patternProperties"] = patterns.into();
    }
    object
}

fn described(setting: &Setting) -> Value {
    let mut schema = (setting.schema)();
    let mut text = setting.meaning.split_whitespace().collect::<Vec<_>>().join(" ");
    // Writing to a String does not fail.
    let _ = write!(text, " Form: {}.", (setting.form)());
    if let Some(default) = &setting.default {
        let _ = write!(text, " Default: {default}.");
    }
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), text.into());
    }
    schema
}

/// The schema of one of `words`, in upper or lower case.
pub(crate) fn case_insensitive(words: &[&str]) -> Value {
    let letter = |c: char| match (c.to_ascii_lowercase(), c.to_ascii_uppercase()) {
        (lower, upper) if lower == upper => c.to_string(),
        (lower, upper) => format!("[{lower}{upper}]"),
    };
    let patterns: Vec<String> = words.iter().map(|word| word.chars().map(letter).collect()).collect();
    json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": format!("^({})$", patterns.join("|"))}]})
}
