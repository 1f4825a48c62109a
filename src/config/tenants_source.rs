//! Where the tenants are read from, and how they are read again while the server runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    settings::{Place, Problems, Variables},
    tenants::TenantSettings,
};

use super::files::{self, Found, Inputs};

/// The tenants file, or the folder of tenants files, and what it contained when it was last read.
pub struct TenantsSource {
    path: PathBuf,
    /// What names the path.
    place: Place,
    variables: Arc<Variables>,
    /// Whether the authors of the files may use what belongs to the server.
    is_trusted: bool,
    inputs: Inputs,
    /// The file of each tenant.
    origins: BTreeMap<String, Arc<Path>>,
}

/// The tenants after a change of their files.
#[derive(Debug)]
pub struct Reloaded {
    /// All tenants to serve.
    pub tenants: Vec<TenantSettings>,
    /// Names of those whose settings have become invalid. They keep the last valid ones.
    pub stale: Vec<String>,
    /// Names of tenants that are invalid and have never been valid.
    pub rejected: Vec<String>,
    /// What is wrong with both.
    pub problems: Problems,
    /// What is valid, but probably not meant.
    pub warnings: Problems,
}

/// What the files contained when they were read again. It takes effect when the source accepts it.
#[derive(Debug)]
pub struct Reading {
    inputs: Inputs,
    /// The tenants with their files; the problems, if no tenant would be left.
    outcome: Result<(Reloaded, BTreeMap<String, Arc<Path>>), Problems>,
}

impl TenantsSource {
    pub(super) fn new(
        path: PathBuf,
        place: Place,
        variables: Arc<Variables>,
        is_trusted: bool,
        found: &Found,
    ) -> Self {
        let (inputs, origins) = (found.inputs.clone(), found.origins.clone());
        Self { path, place, variables, is_trusted, inputs, origins }
    }

    /// Whether a tenants file, or a file that one refers to, has other contents than in the last reading that was
    /// accepted. Reads all of them.
    pub fn has_changed(&self) -> bool {
        !self.inputs.are_unchanged(&self.path)
    }

    /// Whether the files still contain what they did when they were read. Reads all of them.
    pub fn is_current(&self, reading: &Reading) -> bool {
        reading.inputs.are_unchanged(&self.path)
    }

    /// Reads the tenants again. `current` returns the settings of a tenant that is served now.
    ///
    /// A tenant that has become invalid keeps its current settings, and so do all tenants of a file that cannot be used
    /// as a whole.
    pub fn read(&self, current: impl Fn(&str) -> Option<TenantSettings>) -> Reading {
        let found = files::read_all(&self.path, &self.place, &self.variables, self.is_trusted);
        let Found { mut tenants, mut origins, rejected, unusable, mut general, .. } = found;
        let mut stale = BTreeSet::new();
        for (name, file) in &self.origins {
            let is_invalid = rejected.contains(name) || unusable.contains(file);
            if is_invalid
                && !origins.contains_key(name)
                && let Some(settings) = current(name)
            {
                tenants.push(settings);
                origins.insert(name.clone(), Arc::clone(file));
                stale.insert(name.clone());
            }
        }
        general.append(found.problems_of_rejected);
        if found.inputs.is_unreadable() || tenants.is_empty() {
            return Reading { inputs: found.inputs, outcome: Err(general) };
        }
        let reloaded = Reloaded {
            rejected: rejected.into_iter().filter(|name| !stale.contains(name)).collect(),
            stale: stale.into_iter().collect(),
            tenants,
            problems: general,
            warnings: found.warnings,
        };
        Reading { inputs: found.inputs, outcome: Ok((reloaded, origins)) }
    }

    /// Takes a reading as the current state of the files, so that it does not count as a change any more. Returns the
    /// tenants, or why the current ones stay in use.
    pub fn accept(&mut self, reading: Reading) -> Result<Reloaded, Problems> {
        self.inputs = reading.inputs;
        let (reloaded, origins) = reading.outcome?;
        self.origins = origins;
        Ok(reloaded)
    }
}

/// The variables contain secrets.
impl fmt::Debug for TenantsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantsSource").field("path", &self.path).finish_non_exhaustive()
    }
}
