//! Where the tenants are read from, and how they are read again while the server runs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsStr,
    fmt, mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    settings::{Place, Problems, Variables},
    tenants::TenantSettings,
};

use super::{
    defaults::Terms,
    environment::warn_of_unused_names,
    files::{self, Found, Inputs, Origin, Unchanged},
};

/// The tenants file, or the folder of tenants files, and what it contained when it was last read.
pub struct TenantsSource {
    path: PathBuf,
    /// What names the path.
    place: Place,
    variables: Arc<Variables>,
    terms: Terms,
    inputs: Inputs,
    /// Where each tenant that is served is defined.
    origins: BTreeMap<String, Origin>,
}

/// The tenants after a change of their files.
#[derive(Debug)]
pub struct Reloaded {
    /// All tenants to serve. Those of a file that has not changed are the current ones.
    pub tenants: Vec<Arc<TenantSettings>>,
    /// Names of those whose settings have become invalid. They keep the last valid ones.
    pub stale: Vec<String>,
    /// Names of tenants that are invalid and have never been valid.
    pub rejected: Vec<String>,
    /// The tenants files that cannot be used as a whole.
    pub unusable: Vec<String>,
    /// Some problems of each stale or rejected tenant, by its name.
    pub reasons: BTreeMap<String, Vec<String>>,
    /// How many tenants files kept changing. Their tenants keep their settings, and are read again later.
    pub changing: usize,
    /// What is wrong with the invalid ones.
    pub problems: Problems,
    /// Warnings: what is valid, but probably a mistake.
    pub warnings: Problems,
}

/// What the files contained when they were read again. It takes effect when the source accepts it.
pub struct Reading(Found);

impl TenantsSource {
    pub(super) fn new(
        path: PathBuf,
        place: Place,
        variables: Arc<Variables>,
        terms: Terms,
        found: &Found,
    ) -> Self {
        let (inputs, origins) = (found.inputs.clone(), found.origins.clone());
        Self { path, place, variables, terms, inputs, origins }
    }

    /// Whether a tenants file, or a file that one refers to, has other contents than in the last reading that was
    /// accepted. Reads all of them.
    pub fn has_changed(&self) -> bool {
        !self.inputs.are_unchanged(&self.path)
    }

    /// Reads the tenants again. `current` returns the settings of a tenant that is served now.
    pub fn read(&self, current: impl Fn(&str) -> Option<Arc<TenantSettings>>) -> Reading {
        // By the paths' texts: paths are compared component by component, which takes a fifth of a reload's time.
        let mut flawless: HashMap<&OsStr, Vec<_>> = HashMap::new();
        for (name, Origin { file, place, .. }) in self.origins.iter().filter(|(_, origin)| origin.is_flawless)
        {
            flawless.entry(file.as_os_str()).or_default().push((place, name));
        }
        let unchanged = |file: &Path| {
            let tenants = flawless.get(file.as_os_str())?;
            let files = self.inputs.unchanged(file)?.clone();
            let tenants = tenants.iter().map(|(place, name)| Some(((*place).clone(), current(name)?)));
            Some(Unchanged { files, tenants: tenants.collect::<Option<_>>()? })
        };
        Reading(files::read_all(&self.path, &self.place, &self.variables, &self.terms, unchanged))
    }

    /// Takes a reading as the current state of the files, so that it does not count as a change any more. Returns the
    /// tenants, or why all of the current ones stay in use. `current` returns the settings of a tenant that is served
    /// now.
    ///
    /// A tenant that has become invalid keeps its current settings, and so do all tenants of a file that cannot be used
    /// as a whole, or that has changed since it was read. If the set of files has changed since then, there is no
    /// result.
    pub fn accept(
        &mut self,
        reading: Reading,
        current: impl Fn(&str) -> Option<Arc<TenantSettings>>,
    ) -> Option<Result<Reloaded, Problems>> {
        let Reading(mut found) = reading;
        if !found.inputs.lists_the_same(&self.path) {
            return None;
        }
        let changing = found.inputs.changed();
        found.inputs.forget(&changing);
        self.inputs = mem::take(&mut found.inputs);
        let reloaded = self.merged(found, &changing, current);
        Some(if self.inputs.is_unreadable() || reloaded.tenants.is_empty() {
            // The tenants that are served are not those of the files.
            self.origins.values_mut().for_each(|origin| origin.is_flawless = false);
            Err(reloaded.problems)
        } else {
            Ok(reloaded)
        })
    }

    fn merged(
        &mut self,
        found: Found,
        changing: &BTreeSet<Arc<Path>>,
        current: impl Fn(&str) -> Option<Arc<TenantSettings>>,
    ) -> Reloaded {
        let Found {
            tenants,
            origins,
            mut rejected,
            unusable,
            mut general,
            mut reasons,
            reasons_of_files,
            ..
        } = found;
        general.append(found.problems_of_rejected);
        let is_settled =
            |name: &String| origins.get(name).is_none_or(|origin| !changing.contains(&origin.file));
        let mut warnings = found.warnings;
        warn_of_unused_names(&self.variables, &tenants, &mut warnings);
        let mut tenants: Vec<_> = tenants.into_iter().filter(|tenant| is_settled(&tenant.name)).collect();
        let mut stale = BTreeSet::new();
        let mut kept = BTreeMap::new();
        for (name, Origin { file, place, .. }) in &self.origins {
            // The tenant may have moved to a file that is still changing.
            let moves = origins.get(name).is_some_and(|origin| changing.contains(&origin.file));
            let is_changing = moves || changing.contains(file);
            let is_settled = origins.contains_key(name) && is_settled(name);
            let is_invalid = rejected.contains(name) || unusable.contains(file);
            if (is_changing || is_invalid)
                && !is_settled
                && let Some(settings) = current(name)
            {
                tenants.push(settings);
                let origin = Origin { file: Arc::clone(file), place: place.clone(), is_flawless: false };
                kept.insert(name.clone(), origin);
                if is_invalid && !is_changing {
                    stale.insert(name.clone());
                    let of_file = reasons_of_files.get(file).cloned();
                    reasons.entry(name.clone()).or_insert_with(|| of_file.unwrap_or_default());
                }
            }
        }
        rejected.retain(|name| !kept.contains_key(name));
        if !tenants.is_empty() {
            self.origins = origins
                .into_iter()
                .filter(|(_, origin)| !changing.contains(&origin.file))
                .chain(kept)
                .collect();
        }
        Reloaded {
            tenants,
            stale: stale.into_iter().collect(),
            rejected: rejected.into_iter().collect(),
            unusable: unusable.iter().map(|file| file.display().to_string()).collect(),
            reasons,
            changing: changing.len(),
            problems: general,
            warnings,
        }
    }
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reading").field(&self.0.tenants.len()).finish()
    }
}

/// The variables contain secrets.
impl fmt::Debug for TenantsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantsSource").field("path", &self.path).finish_non_exhaustive()
    }
}
