//! Tests of whole files: the settings from valid ones, and the exact problems of invalid ones.

mod callers;
mod certificates;
mod environment;
mod files;
mod garbage;
mod identities;
mod jwt;
mod limits;
mod providers;
mod reference;
mod reloading;
mod secrets;
mod stores;
mod trust;

use std::{io::Write, path::Path};

use crate::store::StoreSettings;

use super::*;

type Pair = (OsString, OsString);

fn pairs(variables: &[(&str, &str)]) -> Vec<Pair> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads `text` as the tenants file, with these variables besides `LONGSHORE_TENANTS_FILE`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    load_bytes(text.as_bytes(), variables).map(|(loaded, _)| loaded)
}

/// Loads `bytes` as the tenants file. Also returns the problems of rejected tenants. In problems, FILE stands for the
/// path of the file.
fn load_bytes(bytes: &[u8], variables: &[(&str, &str)]) -> Result<(Loaded, String), String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut all = pairs(variables);
    all.push(("LONGSHORE_TENANTS_FILE".into(), file.path().into()));
    match load(all) {
        Ok(loaded) => {
            let problems_of_rejected = named(&loaded.problems_of_rejected, file.path());
            Ok((loaded, problems_of_rejected))
        }
        Err(invalid) => Err(named(&invalid.problems, file.path())),
    }
}

fn named(problems: &Problems, file: &Path) -> String {
    problems.to_string().replace(&file.display().to_string(), "FILE")
}

/// The problems of a file, one per line.
fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let said = load_bytes(text.as_bytes(), variables)
        .map_or_else(|text| text, |(_, problems_of_rejected)| problems_of_rejected);
    said.lines().map(ToOwned::to_owned).collect()
}

/// The settings of the store `s` of the tenant `t`. `text` contains the store's keys, as in a flow mapping.
fn store(text: &str, variables: &[(&str, &str)]) -> Result<StoreSettings, Vec<String>> {
    let file = format!("tenants: {{t: {{stores: {{s: {{{text}}}}}}}}}");
    match load_text(&file, variables) {
        Ok(loaded) if loaded.problems_of_rejected.is_empty() => {
            Ok((*loaded.settings.server.tenants[0].stores["s"]).clone())
        }
        Ok(_) | Err(_) => Err(problems(&file, variables)
            .into_iter()
            .map(|line| line.replace("FILE:1: ", "").replace("tenants.t.stores.s", "S"))
            .collect()),
    }
}

const ANONYMOUS: &str = "credential_provider: {type: anonymous}";
