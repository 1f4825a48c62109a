//! Reads the environment and the tenants file into the settings types of the other modules, and
//! reports every problem in them in one run.
//!
//! The stages are: `node` parses the text into a tree whose nodes know their lines; `read` and `field`
//! turn the tree into sparse structs in which every key may be missing; `client` and `from_env` merge
//! the layers of these structs; `store` and `tenant` validate the result and fill in defaults. Each
//! stage records problems with their places (`problem`) and continues.

mod bucket;
mod client;
mod credentials;
mod environment;
mod field;
mod files;
mod from_env;
mod guard;
mod keywords;
mod node;
mod path;
mod problem;
mod read;
mod secret;
mod service_links;
mod store;
mod suggest;
mod tenant;
mod unsupported;
mod url;
mod values;
mod variables;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use crate::{server::ServerSettings, telemetry::LogSettings};

pub use problem::{Place, Problem, Problems};

/// All settings of `longshore serve`.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The server and its tenants.
    pub server: ServerSettings,
    /// Logging.
    pub log: LogSettings,
}

/// Settings that `longshore serve` can start with.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings, with every valid tenant.
    pub settings: Settings,
    /// The problems of the tenants that were rejected; empty if none were.
    pub left_out: Problems,
}

/// Reads the `LONGSHORE_*` variables and the tenants file that `LONGSHORE_TENANTS_FILE` names. Stores with
/// `from_env`, and secrets written as `{env: NAME}`, take their values from the same `variables`.
///
/// A tenant with problems is left out, so that the others can be served. If a problem concerns more than
/// one tenant, or if no valid tenant remains, `load` fails and returns all problems.
pub fn load(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Loaded, Problems> {
    let variables = variables::Variables::new(variables);
    let mut problems = Problems::default();
    let mut environment = environment::read(&variables, &mut problems);
    let found = environment
        .tenants_file
        .map(|path| files::read_all(&path, &environment::place("TENANTS_FILE"), &variables))
        .unwrap_or_default();
    problems.append(found.general);
    if !problems.is_empty() || found.tenants.is_empty() {
        problems.append(found.left_out);
        return Err(problems);
    }
    environment.server.tenants = found.tenants;
    environment.server.rejected_tenants = found.rejected.into_iter().collect();
    let settings = Settings { server: environment.server, log: environment.log };
    Ok(Loaded { settings, left_out: found.left_out })
}
