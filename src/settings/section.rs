//! Mappings with a fixed set of keys.

use serde_json::Value;

use super::{Cursor, suggestion};

/// What is declared about one setting.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The key.
    pub(crate) name: &'static str,
    /// Other names of the key.
    pub(crate) aliases: Vec<&'static str>,
    /// The environment variables that set it, in the order in which they are tried.
    pub(crate) variables: Vec<String>,
    /// The meaning, in Markdown.
    pub(crate) meaning: &'static str,
    /// The valid values, in a few words.
    pub(crate) form: fn() -> String,
    /// The text in the column "default": the default, in Markdown, or `required`. `None` if the setting has no default.
    pub(crate) default: Option<String>,
    /// The valid values, as a JSON Schema.
    pub(crate) schema: fn() -> Value,
}

/// A struct whose fields are settings, declared with [`settings!`](super::settings).
pub(crate) trait Section: Sized {
    /// The settings of one source, each of which may be missing.
    type Layer: Clone + Default;

    /// A prefix that users may write before every key. Empty if no prefix is allowed.
    const KEY_PREFIX: &'static str;

    /// What the variables of the keys begin with; empty if the keys have none.
    const VARIABLE_PREFIX: &'static str;

    /// Every setting, in the order of the declaration.
    fn settings() -> Vec<Setting>;

    /// Reads the value of `key` into `layer`. `false` if this section has no such key.
    fn read_key(layer: &mut Self::Layer, key: &str, cursor: Cursor<'_>) -> bool;

    /// Keys that are recognized but not supported, each with the message to report.
    fn rejected() -> Vec<(&'static str, &'static str)>;

    /// `upper`, with the settings that it lacks taken from `lower`.
    fn merged(upper: Self::Layer, lower: &Self::Layer) -> Self::Layer;

    /// The settings to use, with defaults for missing ones.
    fn resolved(layer: &Self::Layer) -> Self;

    /// Why a key that the section does not have is rejected.
    fn unknown_key(key: &str) -> String {
        let key = key.strip_prefix(Self::KEY_PREFIX).unwrap_or(key);
        if let Some((_, why)) = Self::rejected().into_iter().find(|(rejected, _)| *rejected == key) {
            return why.to_owned();
        }
        let settings = Self::settings();
        let names: Vec<_> = settings.iter().map(|setting| setting.name).collect();
        let aliases: Vec<_> = settings.iter().flat_map(|setting| setting.aliases.iter().copied()).collect();
        format!("unknown key; {}", suggestion(key, &names, &aliases))
    }

    /// The settings that have a value, as GetStore shows them: key and value, without secrets.
    fn shown(&self) -> Vec<(&'static str, String)>;
}

/// Reads a mapping as a section. Records a problem for each key that the section does not have.
pub(crate) fn read_section<S: Section>(cursor: Cursor<'_>) -> Option<S::Layer> {
    let mut layer = S::Layer::default();
    cursor.each_key(|key, value| {
        if !S::read_key(&mut layer, key, value) {
            value.notes().problem_with(value.place(), || S::unknown_key(key));
        }
    })?;
    Some(layer)
}
