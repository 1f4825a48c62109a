//! Reads the tenants file, or the tenants files of a folder.

pub(super) mod yaml;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use crate::{
    settings::{
        Cursor, Entries, Folder, Form, LocalPath, Node, Notes, Path as KeyPath, Place, Problems, ReadFiles,
        Section, UNTRUSTED, Variables, settings,
    },
    telemetry::cut,
    tenants::TenantSettings,
};

use super::{
    defaults::{Defaults, Inherited, Terms},
    tenant::Tenant,
};

/// The largest file that is read. Thousands of tenants need much less.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// How many problems of a tenant or a file AdminService shows, and how many bytes of each.
const MAX_REASONS: usize = 10;
const MAX_REASON: usize = 1024;

/// How many values a file may have if its author is not trusted. Each of them can cost a thousand times its size.
const MAX_UNTRUSTED_VALUES: usize = 10_000;

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

/// What the tenants were read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    /// The tenants files; `None` if the folder could not be read.
    listed: Option<Vec<PathBuf>>,
    /// Each tenants file with the files that it refers to, itself included.
    files: BTreeMap<Arc<Path>, ReadFiles>,
}

impl Inputs {
    /// Whether the file or the folder itself could not be read.
    pub(super) fn is_unreadable(&self) -> bool {
        self.listed.is_none()
    }

    /// Whether reading the tenants at `path` again would find the same.
    pub(super) fn are_unchanged(&self, path: &Path) -> bool {
        self.lists_the_same(path) && self.files.values().all(ReadFiles::are_unchanged)
    }

    /// Whether there are the same tenants files as before.
    pub(super) fn lists_the_same(&self, path: &Path) -> bool {
        list(path).ok() == self.listed
    }

    /// The tenants files that have changed, or refer to a file that has.
    pub(super) fn changed(&self) -> BTreeSet<Arc<Path>> {
        let changed = self.files.iter().filter(|(_, files)| !files.are_unchanged());
        changed.map(|(path, _)| Arc::clone(path)).collect()
    }

    /// What a tenants file, and the files that it refers to, contained, if they still contain the same.
    pub(super) fn unchanged(&self, path: &Path) -> Option<&ReadFiles> {
        self.files.get(path).filter(|files| files.are_unchanged())
    }

    /// Forgets what these tenants files contained, so that they count as changed.
    pub(super) fn forget(&mut self, changed: &BTreeSet<Arc<Path>>) {
        for path in changed {
            self.files.insert(Arc::clone(path), ReadFiles::changed());
        }
    }
}

/// A tenant as one file defines it.
struct Candidate {
    name: String,
    file: Arc<Path>,
    place: Place,
    settings: Arc<TenantSettings>,
    problems: Problems,
}

settings! {
    /// A tenants file.
    pub(super) struct TenantsFile(TenantsFileLayer) {
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
struct Source<'a> {
    path: Arc<Path>,
    terms: &'a Terms,
    /// The only tenant that the file may define, if its author must not define those of others.
    only: Option<String>,
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

fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (file, kind) = (entry.path(), entry.file_type()?);
        let hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let ours = file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        // Kubernetes mounts files as symbolic links into a hidden folder, so symbolic links are followed.
        let is_folder = || if kind.is_symlink() { file.is_dir() } else { kind.is_dir() };
        if !hidden && ours && !is_folder() {
            files.push(file);
        }
    }
    // As texts: comparing paths component by component takes several times as long.
    files.sort_unstable_by(|one, other| one.as_os_str().cmp(other.as_os_str()));
    Ok(files)
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

/// The tenants of a file. Problems of the whole file go to `found`.
fn read_file(source: &Source<'_>, variables: &Arc<Variables>, found: &mut Found) -> Vec<Candidate> {
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
