//! Which files the tenants were read from, and whether these have changed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::settings::ReadFiles;

/// What the tenants were read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::config) struct Inputs {
    /// The tenants files; `None` if the folder could not be read.
    pub(super) listed: Option<Vec<PathBuf>>,
    /// Each tenants file with the files that it refers to, itself included.
    pub(super) files: BTreeMap<Arc<Path>, ReadFiles>,
}

impl Inputs {
    /// Whether the file or the folder itself could not be read.
    pub(in crate::config) fn is_unreadable(&self) -> bool {
        self.listed.is_none()
    }

    /// Whether reading the tenants at `path` again would find the same.
    pub(in crate::config) fn are_unchanged(&self, path: &Path) -> bool {
        self.lists_the_same(path) && self.files.values().all(ReadFiles::are_unchanged)
    }

    /// Whether there are the same tenants files as before.
    pub(in crate::config) fn lists_the_same(&self, path: &Path) -> bool {
        list(path).ok() == self.listed
    }

    /// The tenants files that have changed, or refer to a file that has.
    pub(in crate::config) fn changed(&self) -> BTreeSet<Arc<Path>> {
        let changed = self.files.iter().filter(|(_, files)| !files.are_unchanged());
        changed.map(|(path, _)| Arc::clone(path)).collect()
    }

    /// What a tenants file, and the files that it refers to, contained, if they still contain the same.
    pub(in crate::config) fn unchanged(&self, path: &Path) -> Option<&ReadFiles> {
        self.files.get(path).filter(|files| files.are_unchanged())
    }

    /// Forgets what these tenants files contained, so that they count as changed.
    pub(in crate::config) fn forget(&mut self, changed: &BTreeSet<Arc<Path>>) {
        for path in changed {
            self.files.insert(Arc::clone(path), ReadFiles::changed());
        }
    }
}

/// The tenants files at `path`: the file itself, or the `*.yaml`, `*.yml` and `*.json` files of the folder.
pub(super) fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
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
