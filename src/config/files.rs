//! The tenants file, or the files of a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Deserializer};

use crate::tenants::TenantSettings;

use super::{
    client::{Client, Layers, RetryConfig, Transfer},
    field::Field,
    node::Node,
    path,
    problem::{Notes, Place, Problems},
    read::{Cursor, read},
    tenant::Tenant,
    variables::Variables,
};

/// Far more than thousands of tenants need.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What the files give.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tenants: Vec<TenantSettings>,
    /// What is wrong with tenants that are left out.
    pub(super) left_out: Problems,
    /// Their names.
    pub(super) rejected: BTreeSet<String>,
    /// What is wrong beyond one tenant.
    pub(super) general: Problems,
}

/// One tenant as one file gives it.
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

/// Known to be there, and read by itself later.
struct Unread;

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self)
    }
}

/// Reads the file at `path`, or every `*.yaml`, `*.yml` and `*.json` of the folder. A file's defaults
/// are for its own tenants.
pub(super) fn read_all(path: &Path, variable: &Place, variables: &Variables) -> Found {
    let mut found = Found::default();
    let mut candidates = Vec::new();
    match list(path) {
        Ok(files) if files.is_empty() => found.general.add(
            variable.clone(),
            format!("the folder {} holds no *.yaml, *.yml or *.json file", path.display()),
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
        found
            .general
            .add(variable.clone(), format!("there is no tenant in {}: give at least one", path.display()));
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
        // Kubernetes mounts files as links into a hidden folder: links are followed.
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
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return Err((Place::file(name), format!("cannot be read: {error}")));
    }
    if bytes.len() as u64 > LARGEST {
        return Err((Place::file(name), "is larger than 16 MiB: use several files in a folder".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        (Place::line(name, line), "is not UTF-8".to_owned())
    })
}

/// The tenants of a file. Problems beyond one tenant go to `general`.
fn read_tenants(root: &Node, notes: &Notes, variables: &Variables, general: &mut Problems) -> Vec<Candidate> {
    let start = path::Path::Start("");
    let top = Cursor::new(root, &start, notes);
    let TopLevel { defaults, tenants } = read(top).unwrap_or_default();
    let Defaults { client_options, retry_config, transfer } = defaults.into_value().unwrap_or_default();
    let base = Layers::new(client_options, retry_config, transfer, notes);
    // What the defaults contradict among themselves is noted here, and not again for every store.
    let _ = base.retry_config.get().map(|retry| retry.settle(notes));
    let section =
        top.pairs().ok().and_then(|pairs| pairs.iter().find(|(key, _)| key.text() == Some("tenants")));
    let path = path::Path::Key(&start, "tenants");
    let section = section.map(|(key, value)| Cursor::of_key(key, value, &path, notes));
    if section.is_none() && top.pairs().is_ok() && !tenants.is_given() {
        top.note("has no `tenants`: give at least one below it");
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
    base: &Layers,
    variables: &Variables,
    notes: &Notes,
) -> Candidate {
    let name = section.key(key).unwrap_or_default();
    let tenants = path::Path::Start("tenants");
    let path = path::Path::Key(&tenants, name);
    let cursor = Cursor::of_key(key, value, &path, notes);
    let place = cursor.place();
    let tenant: Option<Tenant> = read(cursor);
    let spot = notes.spot(place.clone());
    // A key that is no text, or a value that is no mapping, has been noted: nothing more is to be said.
    let settings = match tenant {
        Some(tenant) if key.text().is_some() => tenant.settle(name, spot, base, variables, notes),
        _ => TenantSettings::new(name, BTreeMap::new()),
    };
    Candidate { name: name.to_owned(), place, settings, problems: notes.take() }
}

/// Sorts good tenants from bad ones. One that two files give is left out: neither can be trusted.
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
                .add(candidate.place.clone(), format!("is also given at {other}: give it once"));
        }
        if candidate.problems.is_empty() {
            found.tenants.push(candidate.settings);
        } else {
            found.rejected.insert(candidate.name);
            found.left_out.append(candidate.problems);
        }
    }
}
