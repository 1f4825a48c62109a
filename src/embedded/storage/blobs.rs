//! Objects' bytes: files that are written once, and never changed.
//!
//! A file's name says which part of which body it is, so the sweep needs no list of what is in use. Its id
//! begins with the number of the run that wrote it: what this run writes is not swept by it.

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

use super::blob_file::BlobFile;

/// Blobs of a folder: few enough for a folder to be listed at once, many enough for parts of one upload to
/// share one, which is synced for all of them.
const PER_FOLDER_BITS: u32 = 12;

/// Ids of one run, more than it can live to use; the bits above are the run's number.
const PER_RUN_BITS: u32 = 40;

/// Runs of a folder, likewise.
pub(super) const MAX_RUNS: u64 = 1 << (u64::BITS - PER_RUN_BITS);

/// Which bytes a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::embedded) struct BlobName {
    /// The body that it belongs to.
    pub(in crate::embedded) body: u64,
    /// Its number in the body.
    pub(in crate::embedded) part: u16,
    /// Its own id, that no other blob ever has.
    pub(in crate::embedded) blob: u64,
}

impl BlobName {
    /// The number of its folder.
    fn folder(self) -> u64 {
        self.blob >> PER_FOLDER_BITS
    }

    /// A file's name taken apart.
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

/// The run that made a folder of this name; none if it is no folder of ours.
pub(super) fn run_of_folder(name: &str) -> Option<u64> {
    let folder = u64::from_str_radix(name, 16).ok().filter(|folder| folder_name(*folder) == name)?;
    Some(folder >> (PER_RUN_BITS - PER_FOLDER_BITS))
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}.{:016x}", self.body, self.part, self.blob)
    }
}

/// All blobs of a folder.
#[derive(Debug)]
pub(in crate::embedded) struct Blobs {
    folder: PathBuf,
    run: u64,
    ids: AtomicU64,
    /// The folders that this run has made.
    made: Mutex<HashSet<u64>>,
    readers: Mutex<Readers>,
}

/// Bodies of several parts that are being read, by how many, and what is to be removed once they are done.
#[derive(Debug, Default)]
struct Readers {
    reading: HashMap<u64, usize>,
    removed: HashMap<u64, Vec<BlobName>>,
}

impl Blobs {
    /// Makes the folders, and removes what an earlier run had not written to its end.
    pub(super) fn open(folder: PathBuf, run: u64) -> io::Result<Self> {
        let unfinished = folder.join("unfinished");
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(unfinished)?,
        }
        let ids = AtomicU64::new(run << PER_RUN_BITS);
        Ok(Self { folder, run, ids, made: Mutex::default(), readers: Mutex::default() })
    }

    /// An id for a body or a blob, larger than any before.
    pub(in crate::embedded) fn new_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of this run.
    pub(super) fn run(&self) -> u64 {
        self.run
    }

    /// A file for a part of a body; `None` makes it a body of its own.
    pub(in crate::embedded) fn create(self: &Arc<Self>, part: Option<(u64, u16)>) -> io::Result<BlobFile> {
        let blob = self.new_id();
        let (body, part) = part.unwrap_or((blob, 0));
        let name = BlobName { body, part, blob };
        BlobFile::create(Arc::clone(self), name, self.folder.join("unfinished").join(name.to_string()))
    }

    /// Opens a blob for reading.
    pub(in crate::embedded) fn file(&self, name: BlobName) -> io::Result<File> {
        File::open(self.path(name))
    }

    /// Keeps the parts of a body from being removed while it is read.
    pub(in crate::embedded) fn hold(self: &Arc<Self>, body: u64) -> HeldBody {
        *self.readers().reading.entry(body).or_default() += 1;
        HeldBody { blobs: Arc::clone(self), body }
    }

    pub(super) fn path(&self, name: BlobName) -> PathBuf {
        self.folder.join(folder_name(name.folder())).join(name.to_string())
    }

    /// Where a blob is to be, in a folder that lasts. Whoever comes while it is made waits until it does.
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

    /// Removes blobs that no row refers to; those being read go when they have been.
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

    /// What stays for whatever reason is swept in the next run.
    fn unlink(&self, name: BlobName) {
        if let Err(error) = fs::remove_file(self.path(name)) {
            tracing::warn!(%error, "the embedded S3 server cannot remove bytes that are of no more use");
        }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that stays readable while this lives.
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

/// A blob that is on the disk, and goes away again unless a row comes to refer to it.
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

    /// Which it is.
    pub(in crate::embedded) fn name(&self) -> BlobName {
        self.name
    }

    /// The folder that has to be synced for the file to last.
    pub(super) fn folder(&self) -> PathBuf {
        let mut path = self.blobs.path(self.name);
        path.pop();
        path
    }

    /// A row refers to it, or may do so: what is not in use after all is swept in the next run.
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
    fn a_files_name_is_read_as_it_is_written() {
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
