//! The environment variables that the settings are read from.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    sync::Arc,
};

/// Environment variables by name. Does not implement `Debug`, because it contains secrets.
pub(crate) struct Variables {
    values: BTreeMap<String, OsString>,
    /// The names of the server's own variables, also if their values are hidden.
    of_server: Arc<BTreeSet<String>>,
    secrets: Secrets,
}

/// Whether secrets in variables and in files of their own are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Secrets {
    /// They are read, and a problem is reported if that fails.
    #[default]
    Read,
    /// They are not read: for a check on a machine that does not have them.
    Skip,
}

/// A value that is not UTF-8.
pub(crate) struct NotText;

impl NotText {
    pub(crate) const TEXT: &'static str = "is not valid UTF-8: set it to text in UTF-8";
}

impl Variables {
    /// In a name that is not UTF-8, the invalid parts are replaced. If the name begins with `LONGSHORE_`, it is
    /// then rejected as unknown; otherwise it is never read.
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>, secrets: Secrets) -> Self {
        let named = |(name, value): (OsString, OsString)| (name.to_string_lossy().into_owned(), value);
        let values: BTreeMap<_, _> = variables.into_iter().map(named).collect();
        let of_server = values.keys().filter(|name| name.starts_with("LONGSHORE_")).cloned().collect();
        Self { values, of_server: Arc::new(of_server), secrets }
    }

    /// No variables, for a file whose author must not learn what they contain.
    pub(crate) fn hidden(&self) -> Self {
        Self { values: BTreeMap::new(), of_server: Arc::clone(&self.of_server), secrets: self.secrets }
    }

    /// Whether a variable of the server itself is set, even if its value is hidden.
    pub(crate) fn server_has(&self, name: &str) -> bool {
        self.of_server.contains(name)
    }

    /// Whether secrets are not read.
    pub(crate) fn skip_secrets(&self) -> bool {
        self.secrets == Secrets::Skip
    }

    /// The value of a variable, `None` if it is not set. The value may be empty.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, NotText> {
        self.values.get(name).map(|value| value.to_str().ok_or(NotText)).transpose()
    }

    /// The names of all variables that begin with `prefix`.
    pub(crate) fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.values.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}
