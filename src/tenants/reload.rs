//! What a reload of the tenants has done.

use super::Invalid;

/// The tenants whose settings a reload has changed, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that were not served before.
    pub added: Vec<String>,
    /// Those whose settings differ from those before.
    pub changed: Vec<String>,
    /// Those that are no longer served.
    pub removed: Vec<String>,
}

impl Changes {
    /// These changes, followed by others.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        let mut all = Self::default();
        for (mut names, more, into) in [
            (self.added, next.added, &mut all.added),
            (self.changed, next.changed, &mut all.changed),
            (self.removed, next.removed, &mut all.removed),
        ] {
            names.extend(more);
            names.sort_unstable();
            names.dedup();
            *into = names;
        }
        all
    }
}

/// The outcome of a reload.
#[derive(Debug, Clone, Default)]
pub struct ReloadReport {
    /// What has changed. `None` if the reload failed and changed nothing.
    pub changes: Option<Changes>,
    /// The tenants that are invalid now.
    pub invalid: Invalid,
    /// How many tenants files kept changing, so that they will be read again.
    pub changing: usize,
    /// What is wrong with the settings, one sentence with its place for each problem. Not all are listed.
    pub problems: Vec<String>,
}

impl ReloadReport {
    /// A reload that changed nothing.
    pub fn failed(problems: Vec<String>) -> Self {
        Self { problems, ..Self::default() }
    }
}
