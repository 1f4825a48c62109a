//! Reads the environment and the tenants file into the rooms' own settings types, and says everything
//! that is wrong with them at once.
//!
//! A setting goes this way: the text becomes a tree that knows its lines (`node`), the tree becomes
//! sparse structs in which every key may be missing (`read`, `field`), layers of them are laid over
//! each other (`client`, `from_env`), and what comes out is checked and settled (`store`, `tenant`).
//! Whatever is wrong on the way is noted at its place (`problem`), and reading goes on.

mod bucket;
mod client;
mod credentials;
mod environment;
mod field;
mod files;
mod from_env;
mod guard;
mod nearest;
mod node;
mod path;
mod problem;
mod read;
mod secret;
mod service_links;
mod store;
mod tenant;
mod unsupported;
mod url;
mod values;
mod variables;
mod words;

#[cfg(test)]
mod tests;

use std::ffi::OsString;

use crate::{server::ServerSettings, telemetry::LogSettings};

pub use problem::{Place, Problem, Problems};

/// Everything that `longshore serve` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The server and its tenants.
    pub server: ServerSettings,
    /// Logs.
    pub log: LogSettings,
}

/// Settings that can be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The settings, with every tenant that is right.
    pub settings: Settings,
    /// What is wrong with the tenants that are left out; empty if none is.
    pub left_out: Problems,
}

/// Reads `LONGSHORE_*` and the tenants file that it names. Stores with `from_env`, and secrets given as
/// `{env: NAME}`, take their values from the same `variables`.
///
/// A tenant with problems is left out, so that the others can be served. Problems beyond one tenant, or
/// no tenant left, are an error, which then holds all problems.
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
