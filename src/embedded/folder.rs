//! The folder in which an embedded server keeps its data and its keys.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::EmbeddedError;

/// A folder that this process has locked. Dropping the value unlocks it.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The locked file. The operating system releases the lock when the process ends, however it ends.
    lock: File,
}

impl Folder {
    /// Creates the folder if it does not exist, and locks it: two servers would delete each other's unfinished files.
    pub(super) fn open(path: &Path) -> Result<Self, EmbeddedError> {
        let failed =
            |source| EmbeddedError::Folder { what: "write to the folder", path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse { folder: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// The path of the folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    /// Unlocks the file. Closing it is not enough while a child process that was just forked has it open, too.
    fn drop(&mut self) {
        // If this fails, the lock is released once every process has closed the file.
        let _ = self.lock.unlock();
    }
}

/// Writes a file that only its owner can read. The file is written completely or not at all.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    // Do not reuse a file that a killed run left behind: it may have other permissions.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
