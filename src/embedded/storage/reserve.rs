//! Room on the disk that is kept for deleting.
//!
//! redb never changes a page in place, so on a full disk nothing could be deleted either. A file of no use takes
//! that room; it is given up when the database finds none, and until it is there again nothing is added.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Many times what the pages of a commit take.
const BYTES: usize = 4 * 1024 * 1024;

/// The file, and whether it is there.
#[derive(Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    held: Mutex<bool>,
}

impl Reserve {
    /// Gives up what an earlier run has kept: opening the database takes room, too.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let reserve = Self { path, held: Mutex::new(false) };
        reserve.give_up()?;
        Ok(reserve)
    }

    /// Whether the room is there; then something may be added.
    pub(super) fn is_held(&self) -> bool {
        *self.held()
    }

    /// Takes the room, if there is so much.
    pub(super) fn hold(&self) -> io::Result<()> {
        let mut held = self.held();
        if !*held {
            let written = File::create(&self.path).and_then(|mut file| {
                file.write_all(&vec![0; BYTES])?;
                file.sync_all()
            });
            if let Err(error) = written {
                // Part of it is of no use.
                let _ = fs::remove_file(&self.path);
                return Err(error);
            }
            *held = true;
        }
        Ok(())
    }

    /// Lets the database have the room.
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
    fn the_room_is_taken_and_given_up() {
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
