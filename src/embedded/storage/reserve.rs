//! Disk space that is reserved for deletes.
//!
//! redb never changes a page in place, so on a full disk even a delete would fail. A file of padding reserves the space
//! that a delete needs. The file is removed when the database runs out of space. Until it can be written again, no data
//! is added.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Many times the size of the pages in a commit.
const BYTES: usize = 4 * 1024 * 1024;

/// The file, and whether it exists.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: Mutex<bool>,
}

impl Reserve {
    /// Removes the file of an earlier run, since opening the database also takes space.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let reserve = Self { path, held: Mutex::new(false) };
        reserve.give_up()?;
        Ok(reserve)
    }

    /// Whether the space is reserved. Only then may data be added.
    pub(super) fn is_held(&self) -> bool {
        *self.held()
    }

    /// Reserves the space, if the disk has enough.
    pub(super) fn hold(&self) -> io::Result<()> {
        let mut held = self.held();
        if !*held {
            let written = File::create(&self.path).and_then(|mut file| {
                file.write_all(&vec![0; BYTES])?;
                file.sync_all()
            });
            if let Err(error) = written {
                // An incomplete file is of no use.
                let _ = fs::remove_file(&self.path);
                return Err(error);
            }
            *held = true;
        }
        Ok(())
    }

    /// Frees the space for the database.
    pub(super) fn give_up(&self) -> io::Result<()> {
        *self.held() = false;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn held(&self) -> MutexGuard<'_, bool> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_reserved_and_freed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::open(path.clone()).unwrap();
        assert!(!reserve.is_held() && !path.exists());
        reserve.hold().unwrap();
        assert!(reserve.is_held());
        assert_eq!(fs::metadata(&path).unwrap().len(), BYTES as u64);
        reserve.give_up().unwrap();
        assert!(!reserve.is_held() && !path.exists());
    }
}
