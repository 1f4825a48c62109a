//! Parses one tenants file.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::Value;

use crate::{
    config::{
        defaults::{Defaults, Inherited, Terms},
        tenant::Tenant,
    },
    settings::{
        Cursor, Entries, Folder, Form, LocalPath, Node, Notes, Path as KeyPath, Place, Problems, Section,
        UNTRUSTED, Variables, settings,
    },
    tenants::TenantSettings,
};

use super::{Found, add_reasons, yaml};

/// The largest file that is read. Thousands of tenants need much less.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How many values a file may have if its author is not trusted. Each of them can cost a thousand times its size.
const MAX_UNTRUSTED_VALUES: usize = 10_000;

/// A tenant as one file defines it.
pub(super) struct Candidate {
    pub(super) name: String,
    pub(super) file: Arc<Path>,
    pub(super) place: Place,
    pub(super) settings: Arc<TenantSettings>,
    pub(super) problems: Problems,
}

settings! {
    /// A tenants file.
    pub(in crate::config) struct TenantsFile(TenantsFileLayer) {
        /// Settings that apply to every tenant of the file and its stores, unless these set them.
        defaults: Defaults as Defaults = Defaults::default(),
        /// The tenants, by name.
        tenants: () as Unread = () => "required",
    }
}

/// The tenants, which `read_tenant` reads one by one, so that each has its own problems.
pub(crate) struct Unread;

impl Form for Unread {
    type Layer = ();
    type Value = ();

    fn read(_cursor: Cursor<'_>) -> Option<()> {
        Some(())
    }

    fn resolve(_layer: &()) {}

    fn form() -> String {
        Entries::<Tenant>::form()
    }

    fn schema() -> Value {
        Entries::<Tenant>::schema()
    }
}

/// A file to read.
pub(super) struct Source<'a> {
    pub(super) path: Arc<Path>,
    pub(super) terms: &'a Terms,
    /// The only tenant that the file may define, if its author must not define those of others.
    pub(super) only: Option<String>,
}

impl Source<'_> {
    /// The folder that contains the file.
    fn folder(&self) -> &Path {
        self.path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
    }

    /// The folder beside the file that has its name, without the extension. It does not depend on anything in the file:
    /// its author could otherwise choose another folder.
    fn own_folder(&self) -> Folder {
        Folder::inside(self.folder(), self.path.file_stem().unwrap_or_default())
    }

    /// The file, which must not be a link that leads out of its folder if others have files there.
    fn local_path(&self) -> LocalPath {
        let path = LocalPath::from(&*self.path);
        if self.only.is_some() { path.within(&Arc::new(Folder::new(self.folder()))) } else { path }
    }
}

/// The tenants of a file. Problems of the whole file go to `found`.
pub(super) fn read_file(
    source: &Source<'_>,
    variables: &Arc<Variables>,
    found: &mut Found,
) -> Vec<Candidate> {
    let notes = Notes::new(source.path.display().to_string(), variables);
    let notes = if source.terms.is_trusted { notes } else { notes.untrusted(source.own_folder()) };
    let mut general = Problems::default();
    let candidates = parse_file(source, &notes, &mut general);
    let warnings = notes.take_warnings();
    if !warnings.is_empty() || !general.is_empty() {
        found.reported.insert(Arc::clone(&source.path));
    }
    found.warnings.append(warnings);
    found.inputs.files.insert(Arc::clone(&source.path), notes.take_files());
    if !general.is_empty() {
        found.unusable.insert(Arc::clone(&source.path));
        add_reasons(found.reasons_of_files.entry(Arc::clone(&source.path)).or_default(), &general);
    }
    match &source.only {
        // Its author must not keep the server from starting.
        Some(name) if !general.is_empty() => {
            found.rejected.insert(name.clone());
            let reasons = found.reasons.entry(name.clone()).or_default();
            add_reasons(reasons, &general);
            found.problems_of_rejected.append(general);
            for rejected in candidates {
                add_reasons(reasons, &rejected.problems);
                found.problems_of_rejected.append(rejected.problems);
            }
            Vec::new()
        }
        _ => {
            found.general.append(general);
            candidates
        }
    }
}

fn parse_file(source: &Source<'_>, notes: &Notes, general: &mut Problems) -> Vec<Candidate> {
    let text = match read_text(source, notes) {
        Ok(text) => text,
        Err((place, why)) => {
            general.add(place, why);
            return Vec::new();
        }
    };
    let most = if source.terms.is_trusted { yaml::MAX_VALUES } else { MAX_UNTRUSTED_VALUES };
    match yaml::parse(&text, most) {
        Ok(root) => read_tenants(&root, source, notes, general),
        Err(malformed) => {
            general.add(Place::column(notes.file(), malformed.line, malformed.column), malformed.text);
            Vec::new()
        }
    }
}

fn read_text(source: &Source<'_>, notes: &Notes) -> Result<String, (Place, String)> {
    let name = notes.file();
    let bytes = notes
        .read_file(&source.local_path(), MAX_FILE_BYTES + 1)
        .map_err(|error| (Place::file(Arc::clone(&name)), format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let text = "is larger than 16 MiB: split it into several files in one folder";
        return Err((Place::file(name), text.to_owned()));
    }
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        (Place::line(name, line), "is not valid UTF-8: save the file as UTF-8".to_owned())
    })
}

/// The tenants of a file. Problems that concern more than one tenant go to `general`.
fn read_tenants(root: &Node, source: &Source<'_>, notes: &Notes, general: &mut Problems) -> Vec<Candidate> {
    let start = KeyPath::Start("");
    let top = Cursor::new(root, &start, notes);
    let mut layer = TenantsFileLayer::default();
    let mut section = None;
    let path = KeyPath::Key(&start, "tenants");
    for (key, value) in top.pairs().unwrap_or_default() {
        if key.text() == Some("tenants") {
            section = Some(Cursor::of_key(key, value, &path, notes));
        }
    }
    // Keys that begin with `x-` hold values for anchors.
    top.each_key(|key, value| {
        if !key.starts_with("x-") && !TenantsFile::read_key(&mut layer, key, value) {
            value.note(TenantsFile::unknown_key(key));
        }
    });
    let defaults = layer.defaults.into_layer().unwrap_or_default().inherited(source.terms, notes);
    // Contradictions within the defaults are recorded here, once, and not again for every store.
    if let Some(retries) = defaults.options.retry_config.get() {
        retries.check(notes);
    }
    if section.is_none() && top.is_mapping() {
        top.note("has no `tenants`: add the key, with at least one tenant under it");
    }
    let tenants = section.and_then(|section| section.pairs().map(|_| section));
    if let (Some(tenants), Some(only)) = (tenants, &source.only) {
        check_names(tenants, only);
    }
    general.append(notes.take(&Place::file(notes.file())));
    let mut candidates = Vec::new();
    if let Some(tenants) = tenants {
        tenants.each_entry(|name, value| {
            candidates.push(read_tenant(name, &source.path, value, &defaults, notes));
        });
    }
    candidates
}

/// Records a problem for each tenant but `only`. The author of the file could otherwise define the tenants of others, and
/// have them rejected as duplicates.
fn check_names(tenants: Cursor<'_>, only: &str) {
    tenants.each_entry(|name, value| {
        if name != Some(only) {
            value.note(format!(
                "is in a file named after another tenant, {UNTRUSTED}: in a folder, the file of tenant NAME is NAME.yaml"
            ));
        }
    });
}

fn read_tenant(
    name: Option<&str>,
    file: &Arc<Path>,
    cursor: Cursor<'_>,
    base: &Inherited,
    notes: &Notes,
) -> Candidate {
    let place = cursor.place();
    let tenant = Tenant::read(cursor);
    let place_id = notes.record_place(place.clone());
    // The problem of a key that is not a string, or of a value that is not a mapping, has already been recorded.
    let name_or_empty = name.unwrap_or_default();
    let settings = match tenant {
        Some(tenant) if name.is_some() => tenant.settle(name_or_empty, place_id, base, notes),
        _ => TenantSettings::new(name_or_empty, BTreeMap::new()),
    };
    let problems = notes.take(&place);
    let settings = Arc::new(settings);
    Candidate { name: name_or_empty.to_owned(), file: Arc::clone(file), place, settings, problems }
}
