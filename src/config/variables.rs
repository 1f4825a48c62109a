//! The environment as it was handed in.

use std::{collections::BTreeMap, ffi::OsString};

/// Environment variables by name. Has no `Debug`, since it holds secrets.
pub(super) struct Variables(BTreeMap<String, OsString>);

/// A value that is not UTF-8.
pub(super) struct NotText;

impl NotText {
    pub(super) const TEXT: &'static str = "is not UTF-8";
}

impl Variables {
    /// A name that is not UTF-8 is kept with its strange parts replaced: if it is one of ours it is
    /// refused as unknown, and nobody else asks for it.
    pub(super) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(
            variables.into_iter().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect(),
        )
    }

    /// The value, if the variable is set; it may be empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, NotText> {
        self.0.get(name).map(|value| value.to_str().ok_or(NotText)).transpose()
    }

    /// The names of all that begin with `prefix`.
    pub(super) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}
