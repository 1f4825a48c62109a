//! Reads the tenants file, or the tenants files of a folder.

mod inputs;
mod tenants_file;
pub(super) mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use crate::{
    settings::{Place, Problems, ReadFiles, Variables},
    telemetry::cut,
    tenants::TenantSettings,
};

use super::defaults::Terms;

pub(super) use inputs::Inputs;
pub(super) use tenants_file::TenantsFile;

use inputs::list;
use tenants_file::{Candidate, Source, read_file};

/// How many problems of a tenant or a file AdminService shows, and how many bytes of each.
const MAX_REASONS: usize = 10;
const MAX_REASON: usize = 1024;

/// The tenants from the files, and the problems in them.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tenants: Vec<Arc<TenantSettings>>,
    /// Problems of the rejected tenants.
    pub(super) problems_of_rejected: Problems,
    /// Names of the rejected tenants.
    pub(super) rejected: BTreeSet<String>,
    /// Some problems of each rejected tenant, by its name.
    pub(super) reasons: BTreeMap<String, Vec<String>>,
    /// Problems that concern more than one tenant.
    pub(super) general: Problems,
    /// Warnings: what is valid, but probably a mistake.
    pub(super) warnings: Problems,
    /// Where each valid tenant is defined.
    pub(super) origins: BTreeMap<String, Origin>,
    /// The files with problems that concern more than one tenant. Their tenants are not among `tenants`.
    pub(super) unusable: BTreeSet<Arc<Path>>,
    /// The files about which there is something to report, so that they are parsed again by each reading.
    reported: BTreeSet<Arc<Path>>,
    /// Some problems of each of these files.
    pub(super) reasons_of_files: BTreeMap<Arc<Path>, Vec<String>>,
    /// What was read.
    pub(super) inputs: Inputs,
}

/// Where a tenant is defined.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) file: Arc<Path>,
    pub(super) place: Place,
    /// Whether the file was parsed without a problem or a warning, and all of its tenants are valid.
    pub(super) is_flawless: bool,
}

/// A file that need not be parsed again: it contains the same as when it was, and had no flaw.
pub(super) struct Unchanged {
    pub(super) files: ReadFiles,
    pub(super) tenants: Vec<(Place, Arc<TenantSettings>)>,
}

/// Reads the file at `path`, or every `*.yaml`, `*.yml` and `*.json` file of the folder at `path`. The
/// defaults of a file apply to its own tenants only. `unchanged` returns the files that need not be parsed.
pub(super) fn read_all(
    path: &Path,
    variable: &Place,
    variables: &Arc<Variables>,
    terms: &Terms,
    unchanged: impl Fn(&Path) -> Option<Unchanged>,
) -> Found {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    let listed = list(path);
    found.inputs.listed = listed.as_ref().ok().cloned();
    match listed {
        Ok(files) if files.is_empty() => found.general.add(
            variable.clone(),
            format!(
                "the folder {} contains no *.yaml, *.yml or *.json file: add a tenants file",
                path.display()
            ),
        ),
        Ok(files) => {
            for file in files {
                if let Some(unchanged) = unchanged(&file) {
                    candidates.extend(take_unchanged(unchanged, file.into(), &mut found));
                    continue;
                }
                let is_one_of_several = !terms.is_trusted && file != path;
                // The log shows the name, and anything can be in it.
                let name = file.file_stem().map(|name| name.to_string_lossy().replace(char::is_control, " "));
                let only = name.filter(|_| is_one_of_several);
                let source = Source { path: file.into(), terms, only };
                candidates.extend(read_file(&source, variables, &mut found));
            }
        }
        Err(error) => found.general.add(variable.clone(), format!("cannot read {}: {error}", path.display())),
    }
    choose(candidates, &mut found);
    if found.tenants.is_empty() && found.problems_of_rejected.is_empty() && found.general.is_empty() {
        found.general.add(
            variable.clone(),
            format!("{} defines no tenant: define at least one under `tenants`", path.display()),
        );
    }
    found
}

/// The tenants of a file that was not parsed again.
fn take_unchanged(
    unchanged: Unchanged,
    file: Arc<Path>,
    found: &mut Found,
) -> impl Iterator<Item = Candidate> {
    found.inputs.files.insert(Arc::clone(&file), unchanged.files);
    unchanged.tenants.into_iter().map(move |(place, settings)| Candidate {
        name: settings.name.clone(),
        file: Arc::clone(&file),
        place,
        settings,
        problems: Problems::default(),
    })
}

/// Separates valid tenants from invalid ones. A tenant that is defined more than once is rejected, since any of its
/// definitions may be wrong.
fn choose(candidates: Vec<Candidate>, found: &mut Found) {
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    // Tenants whose name is not a string have been reported.
    for candidate in candidates.iter().filter(|candidate| !candidate.name.is_empty()) {
        places.entry(candidate.name.clone()).or_default().push(candidate.place.clone());
    }
    for mut candidate in candidates {
        let copies = places.get(&candidate.name).map_or(&[][..], Vec::as_slice);
        let is_first = copies.first() == Some(&candidate.place);
        if copies.len() > 1 && is_first {
            let others: Vec<_> = copies[1..].iter().map(Place::source).collect();
            candidate.problems.add(
                candidate.place.clone(),
                format!("is also defined at {}: keep one of the definitions", listed(&others)),
            );
        }
        if candidate.problems.is_empty() && copies.len() <= 1 {
            if !found.unusable.contains(&candidate.file) {
                let Candidate { file, place, .. } = candidate;
                found.origins.insert(candidate.name, Origin { file, place, is_flawless: false });
                found.tenants.push(candidate.settings);
            }
        } else {
            add_reasons(found.reasons.entry(candidate.name.clone()).or_default(), &candidate.problems);
            found.reported.insert(candidate.file);
            found.rejected.extend(Some(candidate.name).filter(|name| !name.is_empty()));
            found.problems_of_rejected.append(candidate.problems);
        }
    }
    for origin in found.origins.values_mut() {
        origin.is_flawless = !found.reported.contains(&origin.file);
    }
}

/// Adds problems to those of one tenant or file, up to a limit.
fn add_reasons(reasons: &mut Vec<String>, problems: &Problems) {
    let room = MAX_REASONS.saturating_sub(reasons.len());
    let texts = problems.iter().take(room).map(|problem| cut(&problem.to_string(), MAX_REASON).into_owned());
    reasons.extend(texts);
}

/// The first places, and how many more there are.
fn listed(places: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = places.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(SHOWN) {
        0 => shown,
        1 => format!("{shown} and 1 more place"),
        more => format!("{shown} and {more} more places"),
    }
}
