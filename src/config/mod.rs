//! Reads the environment and the tenants file into the settings types of the other modules, and
//! reports every problem in them in one run.
//!
//! The stages are: `files` parses each file into a tree; the sections that the modules declare (`settings`) are read from
//! the tree and from variables, each of them into a layer in which every key may be missing; `store` and `tenant` merge
//! the layers, check what depends on several keys, and fill in defaults. Each stage records problems with their places
//! and continues.

mod caller_name;
mod defaults;
mod environment;
mod files;
mod identities;
mod jwt;
mod overridable;
mod reference;
mod store;
mod tenant;
mod tenants_source;

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

use crate::{server::ServerSettings, settings::Variables, telemetry::LogSettings};

pub use crate::settings::{LocalPath, Place, Problem, Problems, SecretValue, Secrets};
pub use reference::schema;
pub use tenants_source::{Reading, Reloaded, TenantsSource};

/// All settings of `longshore serve`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The server and its tenants.
    pub server: ServerSettings,
    /// Logging.
    pub log: LogSettings,
    /// How often the files of the tenants are checked for changes; `None`: never.
    pub reload_interval: Option<Duration>,
}

/// Settings that `longshore serve` can start with.
#[derive(Debug)]
pub struct Loaded {
    /// The settings, with every valid tenant.
    pub settings: Settings,
    /// The problems of the tenants that were rejected; empty if none were.
    pub problems_of_rejected: Problems,
    /// Warnings: what is valid, but probably a mistake.
    pub warnings: Problems,
    /// Where the tenants are read from.
    pub source: Option<TenantsSource>,
}

/// Settings that `longshore serve` cannot start with. `Display` writes the problems, one per line.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{problems}")]
pub struct Invalid {
    /// All problems.
    pub problems: Problems,
    /// Warnings: what is valid, but probably a mistake. It may explain a problem.
    pub warnings: Problems,
}

/// Where settings are read from, besides `LONGSHORE_*` variables.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The tenants file, or a folder of them. `None`: the one that `LONGSHORE_TENANTS_FILE` names.
    pub tenants_file: Option<PathBuf>,
    /// Whether the TLS files, and the secrets in files and variables, are read.
    pub secrets: Secrets,
}

/// Reads the `LONGSHORE_*` variables and the tenants file that `LONGSHORE_TENANTS_FILE` names. Stores with `from_env`,
/// and secrets written as `{env: NAME}`, take their values from the same `variables`. Credentials from the environment
/// are only checked here: a store reads them from the process's environment when it needs them.
///
/// A tenant with problems is left out, so that the others can be served. If a problem concerns more than
/// one tenant, or if no valid tenant remains, `load` fails and returns all problems.
pub fn load(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Invalid> {
    load_from(variables, Sources::default())
}

/// Like [`load`], from other sources.
pub fn load_from(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    sources: Sources,
) -> Result<Loaded, Invalid> {
    let variables = Arc::new(Variables::new(variables, sources.secrets));
    let mut problems = Problems::default();
    let mut environment = environment::read(&variables, sources.tenants_file.is_none(), &mut problems);
    let named = |path| (path, environment::place("TENANTS_FILE"));
    let given = sources.tenants_file.map(|path| (path.clone(), Place::file(path.display().to_string())));
    let at = given.or_else(|| environment.tenants_file.take().and_then(LocalPath::unconfined).map(named));
    let terms = environment::terms(&environment, &variables, &mut problems);
    let mut found = at
        .as_ref()
        .map(|(path, place)| files::read_all(path, place, &variables, &terms, |_| None))
        .unwrap_or_default();
    environment::warn_of_unused_names(&variables, &found.tenants, &mut found.warnings);
    let source = at.map(|(path, place)| TenantsSource::new(path, place, variables, terms, &found));
    problems.append(found.general);
    if !problems.is_empty() || found.tenants.is_empty() {
        problems.append(found.problems_of_rejected);
        return Err(Invalid { problems, warnings: found.warnings });
    }
    environment.server.tenants = found.tenants;
    environment.server.rejected_tenants = found.rejected.into_iter().collect();
    environment.server.rejection_reasons = found.reasons;
    let settings = Settings {
        server: environment.server,
        log: environment.log,
        reload_interval: environment.reload_interval,
    };
    Ok(Loaded {
        settings,
        problems_of_rejected: found.problems_of_rejected,
        warnings: found.warnings,
        source,
    })
}
