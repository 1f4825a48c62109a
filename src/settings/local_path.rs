//! Paths of files and folders on this machine, and the folder that a path must not lead out of.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use rustix::fs::{Mode, OFlags};

/// A file or folder on this machine. If the author of the settings is not trusted, it is confined to a folder: each time
/// it is opened, it must be in there after all symbolic links have been followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPath {
    path: PathBuf,
    folder: Option<Arc<Folder>>,
}

/// A folder that confined paths must not lead out of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Folder {
    path: PathBuf,
    /// The folder that contains this one, if this one must not be a symbolic link to another folder.
    parent: Option<PathBuf>,
}

impl Folder {
    /// The folder at `path`, which may be a symbolic link.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), parent: None }
    }

    /// The folder `name` in `parent`. Kubernetes mounts it as a symbolic link to a folder of the same name below
    /// `parent`; no other link is followed.
    pub(crate) fn inside(parent: &Path, name: &OsStr) -> Self {
        Self { path: parent.join(name), parent: Some(parent.to_owned()) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder after symbolic links have been followed.
    fn real(&self) -> io::Result<PathBuf> {
        let real = fs::canonicalize(&self.path)?;
        let Some(parent) = &self.parent else { return Ok(real) };
        let is_below = real.strip_prefix(fs::canonicalize(parent)?).is_ok_and(|below| below != Path::new(""));
        if is_below && real.file_name() == self.path.file_name() {
            return Ok(real);
        }
        Err(refused(format!("{} is a link to another folder", self.path.display())))
    }

    /// Whether `path` is in this folder as it is written: an absolute path, or one from the working directory.
    fn contains(&self, path: &Path) -> bool {
        let absolute = |path: &Path| std::path::absolute(path).ok();
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        !goes_up && absolute(path).zip(absolute(&self.path)).is_some_and(|(path, own)| path.starts_with(own))
    }
}

impl LocalPath {
    /// This path, confined to `folder`. The error says why it leads elsewhere; if there is no such file yet, only the
    /// path itself is checked.
    pub(crate) fn confined(self, folder: &Arc<Folder>) -> Result<Self, String> {
        let own = folder.path.display();
        if !folder.contains(&self.path) {
            return Err(format!("is not in {own}, the file's own folder"));
        }
        let confined = self.within(folder);
        match confined.real() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error.to_string()),
            _ => Ok(confined),
        }
    }

    /// This path, confined to `folder`, which is checked when it is opened.
    pub(crate) fn within(self, folder: &Arc<Folder>) -> Self {
        Self { folder: Some(Arc::clone(folder)), ..self }
    }

    /// Whether the path is confined to a folder.
    pub(crate) fn is_confined(&self) -> bool {
        self.folder.is_some()
    }

    /// The path, for messages, and to find out what is there. To read a file, `open` it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path, for code that opens it itself. `None` if it is confined.
    pub(crate) fn unconfined(self) -> Option<PathBuf> {
        Some(self.path).filter(|_| self.folder.is_none())
    }

    /// Another path, confined to the same folder.
    pub(crate) fn at(&self, path: PathBuf) -> Self {
        Self { path, folder: self.folder.clone() }
    }

    /// Opens the file to read it. Fails if it is not a regular file: a pipe could keep the reader waiting forever.
    pub(crate) fn open(&self) -> io::Result<File> {
        self.open_with_size().map(|(file, _)| file)
    }

    /// Like [`LocalPath::open`]. Also returns the file's size, which is 0 if the file system does not know it.
    pub(super) fn open_with_size(&self) -> io::Result<(File, u64)> {
        let file = self.open_nonblocking()?;
        let metadata = file.metadata()?;
        if metadata.is_file() { Ok((file, metadata.len())) } else { Err(not_regular()) }
    }

    /// Opens the file to read it. A pipe without a writer is opened too, instead of waiting for one.
    pub(crate) fn open_nonblocking(&self) -> io::Result<File> {
        if self.is_confined() {
            return self.open_confined();
        }
        let nonblocking = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        File::options().read(true).custom_flags(nonblocking).open(&self.path)
    }

    /// The folder and the path after symbolic links have been followed.
    fn real(&self) -> io::Result<(PathBuf, PathBuf)> {
        // Kubernetes may replace the contents of a volume between the two.
        self.resolve().or_else(|_| self.resolve())
    }

    fn resolve(&self) -> io::Result<(PathBuf, PathBuf)> {
        let folder = match &self.folder {
            Some(folder) => folder.real()?,
            None => PathBuf::from("/"),
        };
        let path = match fs::canonicalize(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_outside(&folder) => {
                return Err(self.leads_out());
            }
            found => found?,
        };
        if path.starts_with(&folder) {
            return Ok((folder, path));
        }
        Err(self.leads_out())
    }

    /// Whether a path to something that does not exist leads, or may lead, out of the folder. What is missing elsewhere
    /// gets the same error as what exists there, so that the author of the settings does not learn which it is.
    fn is_outside(&self, folder: &Path) -> bool {
        let mut at = self.path.as_path();
        loop {
            // A link whose target does not exist.
            if fs::symlink_metadata(at).is_ok() {
                return true;
            }
            let Some(parent) = at.parent() else { return true };
            match fs::canonicalize(parent) {
                Ok(real) => return !real.starts_with(folder),
                Err(_) => at = parent,
            }
        }
    }

    /// Whether there is a file or a folder. A link without a target counts if the path is confined, so that what is
    /// missing elsewhere cannot be told from what exists there.
    pub(crate) fn is_there(&self) -> bool {
        if self.is_confined() { fs::symlink_metadata(&self.path).is_ok() } else { self.path.exists() }
    }

    fn leads_out(&self) -> io::Error {
        let own = self.folder.as_ref().map_or(Path::new("/"), |folder| folder.path());
        refused(format!("{} leads out of {}, the file's own folder", self.path.display(), own.display()))
    }

    /// Opens the file without following another link, in case one has been created since the path was resolved.
    fn open_confined(&self) -> io::Result<File> {
        let (folder, path) = self.real()?;
        let below = path.strip_prefix(&folder).unwrap_or(Path::new("")).to_owned();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let mut opened = rustix::fs::open(&folder, flags | OFlags::DIRECTORY, Mode::empty())?;
        for part in &below {
            opened = rustix::fs::openat(
                &opened,
                AsRef::<OsStr>::as_ref(part),
                flags | OFlags::NOFOLLOW,
                Mode::empty(),
            )?;
        }
        let file = File::from(opened);
        if file.metadata()?.is_file() {
            return Ok(file);
        }
        Err(not_regular())
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

fn refused(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

impl From<PathBuf> for LocalPath {
    fn from(path: PathBuf) -> Self {
        Self { path, folder: None }
    }
}

impl From<String> for LocalPath {
    fn from(path: String) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&str> for LocalPath {
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&Path> for LocalPath {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&PathBuf> for LocalPath {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Self> for LocalPath {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use super::*;

    fn read(path: &LocalPath) -> io::Result<String> {
        let mut text = String::new();
        path.open()?.read_to_string(&mut text)?;
        Ok(text)
    }

    /// A folder with the folders `acme` and `globex`, each with a file `key` that contains its name.
    fn tenants() -> tempfile::TempDir {
        let parent = tempfile::tempdir().unwrap();
        for name in ["acme", "globex"] {
            fs::create_dir(parent.path().join(name)).unwrap();
            fs::write(parent.path().join(name).join("key"), name).unwrap();
        }
        parent
    }

    fn acme(parent: &Path, path: &str) -> Result<LocalPath, String> {
        LocalPath::from(parent.join(path)).confined(&Arc::new(Folder::inside(parent, OsStr::new("acme"))))
    }

    #[test]
    fn a_confined_path_stays_in_its_folder() {
        let parent = tenants();
        assert_eq!(read(&acme(parent.path(), "acme/key").unwrap()).unwrap(), "acme");
        assert!(acme(parent.path(), "acme/later").is_ok(), "a file that does not exist yet");
        for path in
            ["globex/key", "acme/../globex/key", "acme/../acme/key", "key", "/etc/hostname", "acmeish"]
        {
            assert!(acme(parent.path(), path).is_err(), "{path}");
        }
        symlink(parent.path().join("globex/key"), parent.path().join("acme/absolute")).unwrap();
        symlink("../globex", parent.path().join("acme/relative")).unwrap();
        for path in ["acme/absolute", "acme/relative/key"] {
            let why = acme(parent.path(), path).unwrap_err();
            assert!(why.contains("leads out of"), "{why}");
        }
        symlink(parent.path().join("acme/key"), parent.path().join("acme/inside")).unwrap();
        assert_eq!(read(&acme(parent.path(), "acme/inside").unwrap()).unwrap(), "acme");
    }

    #[test]
    fn a_link_that_is_created_later_is_refused_when_the_file_is_opened() {
        let parent = tenants();
        let path = acme(parent.path(), "acme/key").unwrap();
        fs::remove_file(path.path()).unwrap();
        symlink("../globex/key", path.path()).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn the_folder_itself_must_not_be_a_link_to_that_of_another_tenant() {
        let parent = tenants();
        fs::remove_dir_all(parent.path().join("acme")).unwrap();
        for target in ["globex", "/", "."] {
            symlink(target, parent.path().join("acme")).unwrap();
            let why = acme(parent.path(), "acme/key").map(|path| read(&path));
            assert!(why.is_err() || why.is_ok_and(|read| read.is_err()), "{target}");
            fs::remove_file(parent.path().join("acme")).unwrap();
        }
    }

    #[test]
    fn the_links_of_a_kubernetes_volume_are_followed() {
        let parent = tempfile::tempdir().unwrap();
        let at = |path: &str| parent.path().join(path);
        fs::create_dir_all(at("..2026_1/acme")).unwrap();
        fs::write(at("..2026_1/acme/key"), "one").unwrap();
        symlink("..2026_1", at("..data")).unwrap();
        symlink("..data/acme", at("acme")).unwrap();
        let path = acme(parent.path(), "acme/key").unwrap();
        assert_eq!(read(&path).unwrap(), "one");
        // The kubelet replaces the contents.
        fs::create_dir_all(at("..2026_2/acme")).unwrap();
        fs::write(at("..2026_2/acme/key"), "two").unwrap();
        symlink("..2026_2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(read(&path).unwrap(), "two");
        // A volume of its own, mounted at the tenant's folder.
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(other.path().join("acme/..1")).unwrap();
        fs::write(other.path().join("acme/..1/key"), "mounted").unwrap();
        symlink("..1", other.path().join("acme/..data")).unwrap();
        symlink("..data/key", other.path().join("acme/key")).unwrap();
        assert_eq!(read(&acme(other.path(), "acme/key").unwrap()).unwrap(), "mounted");
    }

    #[test]
    fn a_confined_pipe_is_refused_instead_of_waited_for() {
        let parent = tenants();
        let pipe = parent.path().join("acme/pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        let error = read(&acme(parent.path(), "acme/pipe").unwrap()).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
