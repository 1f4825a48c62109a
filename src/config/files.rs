//! Reads the tenants file, or the tenants files of a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer};

use crate::tenants::TenantSettings;

use super::{
    client::{Client, OverridableOptions, RetryConfig, Transfer},
    field::Field,
    node::Node,
    path,
    problem::{Notes, Place, Problems},
    read::{Cursor, read},
    tenant::Tenant,
    variables::Variables,
};

/// The largest file that is read. Thousands of tenants need much less.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// The tenants from the files, and the problems in them.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tenants: Vec<TenantSettings>,
    /// Problems of the rejected tenants.
    pub(super) left_out: Problems,
    /// Names of the rejected tenants.
    pub(super) rejected: BTreeSet<String>,
    /// Problems that concern more than one tenant.
    pub(super) general: Problems,
}

/// A tenant as one file defines it.
struct Candidate {
    name: String,
    place: Place,
    settings: TenantSettings,
    problems: Problems,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename = "file")]
struct TopLevel {
    defaults: Field<Defaults>,
    tenants: Field<Unread>,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields, rename = "defaults")]
struct Defaults {
    client_options: Field<Client>,
    retry_config: Field<RetryConfig>,
    transfer: Field<Transfer>,
}

/// A value that is not read here: `read_tenant` reads each tenant separately.
struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Reads the file at `path`, or every `*.yaml`, `*.yml` and `*.json` file of the folder at `path`. The
/// defaults of a file apply to its own tenants only.
pub(super) fn read_all(path: &Path, variable: &Place, variables: &Variables) -> Found {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    match list(path) {
        Ok(files) if files.is_empty() => found.general.add(
            variable.clone(),
            format!(
                "the folder {} contains no *.yaml, *.yml or *.json file: add a tenants file",
                path.display()
            ),
        ),
        Ok(files) => {
            for file in files {
                candidates.extend(read_file(&file, variables, &mut found.general));
            }
        }
        Err(error) => found.general.add(variable.clone(), format!("cannot read {}: {error}", path.display())),
    }
    choose(candidates, &mut found);
    if found.tenants.is_empty() && found.left_out.is_empty() && found.general.is_empty() {
        found.general.add(
            variable.clone(),
            format!("{} defines no tenant: define at least one under `tenants`", path.display()),
        );
    }
    found
}

fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let ours = file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        // Kubernetes mounts files as symbolic links into a hidden folder, so symbolic links are followed.
        if !hidden && ours && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_file(path: &Path, variables: &Variables, general: &mut Problems) -> Vec<Candidate> {
    let file = path.display().to_string();
    let text = match read_text(path) {
        Ok(text) => text,
        Err((place, why)) => {
            general.add(place, why);
            return Vec::new();
        }
    };
    match Node::parse(&text) {
        Ok(root) => read_tenants(&root, &Notes::new(file), variables, general),
        Err(malformed) => {
            general.add(Place::column(file, malformed.line, malformed.column), malformed.text);
            Vec::new()
        }
    }
}

fn read_text(path: &Path) -> Result<String, (Place, String)> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err((Place::file(name), format!("cannot be read: {error}")));
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err((
            Place::file(name),
            "is larger than 16 MiB: split it into several files in one folder".to_owned(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        (Place::line(name, line), "is not valid UTF-8: save the file as UTF-8".to_owned())
    })
}

/// The tenants of a file. Problems that concern more than one tenant go to `general`.
fn read_tenants(root: &Node, notes: &Notes, variables: &Variables, general: &mut Problems) -> Vec<Candidate> {
    let start = path::Path::Start("");
    let top = Cursor::new(root, &start, notes);
    let TopLevel { defaults, tenants } = read(top).unwrap_or_default();
    let Defaults { client_options, retry_config, transfer } = defaults.into_value().unwrap_or_default();
    let base = OverridableOptions::new(client_options, retry_config, transfer, notes);
    // Contradictions within the defaults are recorded here, once, and not again for every store.
    let _ = base.retry_config.get().map(|retry| retry.settle(notes));
    let section =
        top.pairs().ok().and_then(|pairs| pairs.iter().find(|(key, _)| key.text() == Some("tenants")));
    let path = path::Path::Key(&start, "tenants");
    let section = section.map(|(key, value)| Cursor::of_key(key, value, &path, notes));
    if section.is_none() && top.pairs().is_ok() && !tenants.is_given() {
        top.note("has no `tenants`: add the key, with at least one tenant under it");
    }
    let pairs = section.and_then(|section| section.pairs().ok().map(|pairs| (section, pairs)));
    general.append(notes.take());
    let Some((section, pairs)) = pairs else { return Vec::new() };
    pairs.iter().map(|(key, value)| read_tenant(section, key, value, &base, variables, notes)).collect()
}

fn read_tenant(
    section: Cursor<'_>,
    key: &Node,
    value: &Node,
    base: &OverridableOptions,
    variables: &Variables,
    notes: &Notes,
) -> Candidate {
    let name = section.key(key).unwrap_or_default();
    let tenants = path::Path::Start("tenants");
    let path = path::Path::Key(&tenants, name);
    let cursor = Cursor::of_key(key, value, &path, notes);
    let place = cursor.place();
    let tenant: Option<Tenant> = read(cursor);
    let place_id = notes.record_place(place.clone());
    // The problem of a key that is not a string, or of a value that is not a mapping, has already been recorded.
    let settings = match tenant {
        Some(tenant) if key.text().is_some() => tenant.settle(name, place_id, base, variables, notes),
        _ => TenantSettings::new(name, BTreeMap::new()),
    };
    Candidate { name: name.to_owned(), place, settings, problems: notes.take() }
}

/// Separates valid tenants from invalid ones. A tenant that two files define is rejected, since either file may
/// be wrong.
fn choose(candidates: Vec<Candidate>, found: &mut Found) {
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for candidate in &candidates {
        places.entry(candidate.name.clone()).or_default().push(candidate.place.clone());
    }
    for mut candidate in candidates {
        let others =
            places.get(&candidate.name).into_iter().flatten().filter(|place| **place != candidate.place);
        for other in others {
            candidate
                .problems
                .add(candidate.place.clone(), format!("is also defined at {other}: remove one of the two"));
        }
        if candidate.problems.is_empty() {
            found.tenants.push(candidate.settings);
        } else {
            found.rejected.insert(candidate.name);
            found.left_out.append(candidate.problems);
        }
    }
}
