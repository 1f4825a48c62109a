//! The bytes of objects, in files that are written once and never changed.
//!
//! A file's name says which part of which body it holds, so the sweep needs no list of files in use. A blob's id begins
//! with the number of the run that wrote it, so a run does not sweep its own blobs.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// A folder holds 2^12 blob ids: few enough to list the folder at once, and enough for the parts of an upload to share
/// a folder, which is synced once for all of them.
const PER_FOLDER_BITS: u32 = 12;

/// A run has 2^40 ids, more than it can use. The bits above are the run's number.
const PER_RUN_BITS: u32 = 40;

/// The number of runs that a folder allows, also more than it can use.
pub(super) const MAX_RUNS: u64 = 1 << (u64::BITS - PER_RUN_BITS);

/// Says which bytes a blob holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct BlobName {
    /// The body that the blob belongs to.
    pub(in crate::embedded) body: u64,
    /// The number of the part in the body.
    pub(in crate::embedded) part: u16,
    /// The blob's own id, which no other blob ever gets.
    pub(in crate::embedded) blob: u64,
}

impl BlobName {
    /// The number of the folder that holds the blob.
    fn folder(self) -> u64 {
        self.blob >> PER_FOLDER_BITS
    }

    /// Parses the name of a file.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let mut words = file.split('.');
        let mut word = |radix| u64::from_str_radix(words.next()?, radix).ok();
        let name = Self { body: word(16)?, part: u16::try_from(word(10)?).ok()?, blob: word(16)? };
        (name.to_string() == file).then_some(name)
    }
}

fn folder_name(folder: u64) -> String {
    format!("{folder:013x}")
}

/// The run that created the folder with this name. `None` if it is not a folder of blobs.
pub(super) fn run_of_folder(name: &str) -> Option<u64> {
    let folder = u64::from_str_radix(name, 16).ok().filter(|folder| folder_name(*folder) == name)?;
    Some(folder >> (PER_RUN_BITS - PER_FOLDER_BITS))
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}.{:016x}", self.body, self.part, self.blob)
    }
}

/// All blobs of a server's folder.
#[derive(Debug)]
pub(in crate::embedded) struct Blobs {
    folder: PathBuf,
    run: u64,
    ids: AtomicU64,
    /// The folders that this run has created.
    made: Mutex<HashSet<u64>>,
    readers: Mutex<Readers>,
}

/// The bodies that are being read, with the number of their readers, and the blobs to remove once these have finished.
#[derive(Debug, Default)]
struct Readers {
    reading: HashMap<u64, usize>,
    removed: HashMap<u64, Vec<BlobName>>,
}

impl Blobs {
    /// Creates the folders, and removes the unfinished files of an earlier run.
    pub(super) fn open(folder: PathBuf, run: u64) -> io::Result<Self> {
        let unfinished = folder.join("unfinished");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(unfinished)?,
        }
        let ids = AtomicU64::new(run << PER_RUN_BITS);
        Ok(Self { folder, run, ids, made: Mutex::default(), readers: Mutex::default() })
    }

    /// Returns a new id for a body or a blob. It is larger than all earlier ones.
    pub(in crate::embedded) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of this run.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// A new name for a part of a body, given by the body's id and the part's number. With `None` it names a body of
    /// its own.
    pub(super) fn new_name(&self, part: Option<(u64, u16)>) -> BlobName {
        let blob = self.new_id();
        let (body, part) = part.unwrap_or((blob, 0));
        BlobName { body, part, blob }
    }

    /// The path of a blob that is being written.
    pub(super) fn path_of_unfinished(&self, name: BlobName) -> PathBuf {
        self.folder.join("unfinished").join(name.to_string())
    }

    /// Opens a blob for reading.
    pub(in crate::embedded) fn file(&self, name: BlobName) -> io::Result<File> {
        File::open(self.path(name))
    }

    /// Protects the parts of a body from removal while it is being read.
    pub(in crate::embedded) fn hold(self: &Arc<Self>, body: u64) -> HeldBody {
        *self.readers().reading.entry(body).or_default() += 1;
        HeldBody { blobs: Arc::clone(self), body }
    }

    pub(super) fn path(&self, name: BlobName) -> PathBuf {
        self.folder.join(folder_name(name.folder())).join(name.to_string())
    }

    /// The path for a new blob, in a folder that exists on disk. Callers that need a folder while it is being created
    /// wait until it is on disk.
    pub(super) fn path_of_new(&self, name: BlobName) -> io::Result<PathBuf> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if !made.contains(&name.folder()) {
            fs::create_dir_all(self.folder.join(folder_name(name.folder())))?;
            File::open(&self.folder)?.sync_all()?;
            made.insert(name.folder());
        }
        Ok(self.path(name))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes blobs that no row refers to. A blob that is being read is removed after its last reader has finished.
    pub(super) fn remove(&self, names: impl IntoIterator<Item = BlobName>) {
        for name in names {
            let mut readers = self.readers();
            if readers.reading.contains_key(&name.body) {
                readers.removed.entry(name.body).or_default().push(name);
                continue;
            }
            drop(readers);
            self.unlink(name);
        }
    }

    /// Removes a file. If that fails, the next run sweeps the file.
    fn unlink(&self, name: BlobName) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::warn!(%error, "the embedded S3 server cannot remove an unused file; its next start retries");
        }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a body readable until it is dropped.
#[derive(Debug)]
pub(in crate::embedded) struct HeldBody {
    blobs: Arc<Blobs>,
    body: u64,
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let mut readers = self.blobs.readers();
        let Some(count) = readers.reading.get_mut(&self.body) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        readers.reading.remove(&self.body);
        let removed = readers.removed.remove(&self.body).unwrap_or_default();
        drop(readers);
        for name in removed {
            self.blobs.unlink(name);
        }
    }
}

/// A blob that is on disk, but that no row refers to yet. Dropping it removes the blob, unless it is kept.
#[derive(Debug)]
pub(in crate::embedded) struct NewBlob {
    blobs: Arc<Blobs>,
    name: BlobName,
    kept: bool,
}

impl NewBlob {
    pub(super) fn new(blobs: Arc<Blobs>, name: BlobName) -> Self {
        Self { blobs, name, kept: false }
    }

    /// The blob's name.
    pub(in crate::embedded) fn name(&self) -> BlobName {
        self.name
    }

    /// The folder that must be synced before the file survives a crash.
    pub(super) fn folder(&self) -> PathBuf {
        let mut path = self.blobs.path(self.name);
        path.pop();
        path
    }

    /// Keeps the blob, because a row refers to it or may do so. If no row does, the next run sweeps it.
    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if !self.kept {
            self.blobs.unlink(self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blob_names_are_parsed_as_they_are_written() {
        let name = BlobName { body: 3 << PER_RUN_BITS, part: 10_000, blob: (7 << PER_RUN_BITS) + 0x1fff };
        assert_eq!(name.to_string(), "0000030000000000.10000.0000070000001fff");
        assert_eq!(BlobName::parse(&name.to_string()), Some(name));
        assert_eq!(folder_name(name.folder()), "0000070000001");
        assert_eq!(run_of_folder("0000070000001"), Some(7));
        assert_eq!(run_of_folder("unfinished"), None);
        for other in ["", "lost+found", "1.2.3", "0000030000000000.10000.0000070000001fff.x"] {
            assert_eq!(BlobName::parse(other), None, "{other}");
        }
    }
}
