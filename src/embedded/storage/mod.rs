//! The storage of the embedded server: rows in a redb database, and bytes in files beside it.
//!
//! ```text
//! FOLDER/objects.redb             buckets, objects, versions, uploads, parts
//! FOLDER/blobs/unfinished/        files being written
//! FOLDER/blobs/ID/BODY.PART.ID    complete files
//! FOLDER/reserve                  padding, freed so that deletes still work when the disk is full
//! ```
//!
//! A write flushes its bytes to disk first, then commits the row that refers to them, then responds. So acknowledged
//! writes survive a crash, and a write that was not acknowledged is either complete or absent.

mod blob_file;
mod blobs;
mod database;
mod reserve;
mod rows;
mod sweep;
mod tables;
mod versions;
mod writer;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use redb::StorageError;
use s3s::{S3Error, S3Result, s3_error};

pub(super) use blob_file::BlobFile;
pub(super) use blobs::{BlobName, Blobs, HeldBody, NewBlob};
use database::{Database, OpenError};
use reserve::Reserve;
pub(super) use rows::*;
pub(super) use tables::{Reading, Writing, bucket, decode, object, part, parts, upload};
pub(super) use versions::{Deletion, VersionId, place, version};
use writer::Writer;

/// The rows and the bytes in a folder.
#[derive(Debug)]
pub(super) struct Storage {
    database: Arc<Database>,
    blobs: Arc<Blobs>,
    reserve: Arc<Reserve>,
    writer: Writer,
    sweeping: Mutex<Option<thread::JoinHandle<()>>>,
    closing: Arc<AtomicBool>,
}

/// Why the storage in a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageOpenError {
    #[error("its database cannot be opened: {0}")]
    Database(#[from] OpenError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a read or a change failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// S3 rejects the request.
    Refused(S3Error),
    /// The disk or the database failed.
    Storage(StorageError),
}

impl Storage {
    /// Opens the storage in a folder, or creates it. Blobs without a row are swept in the background.
    pub(super) fn open(folder: &Path) -> Result<Self, StorageOpenError> {
        let reserve = Arc::new(Reserve::open(folder.join("reserve"))?);
        let (database, run) = Database::open(&folder.join("objects.redb"))?;
        let database = Arc::new(database);
        let blobs = Arc::new(Blobs::open(folder.join("blobs"), run)?);
        // The files and folders that were just created survive a crash once their folder is synced.
        File::open(folder)?.sync_all()?;
        // Ignore a full disk: objects can still be read and deleted.
        let _ = reserve.hold();
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&blobs), Arc::clone(&reserve))?;
        let closing = Arc::new(AtomicBool::new(false));
        let sweeping = start_sweep(Arc::clone(&database), Arc::clone(&blobs), Arc::clone(&closing))?;
        Ok(Self { database, blobs, reserve, writer, sweeping: Mutex::new(Some(sweeping)), closing })
    }

    /// Calls `look` with a snapshot of the rows. It contains no incomplete changes.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reading) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        let database = Arc::clone(&self.database);
        blocking(move || database.read(look)).await
    }

    /// Like `read`, but blocks on the disk.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Reading) -> Result<T, Failed>) -> Result<T, Failed> {
        self.database.read(look)
    }

    /// Changes the rows. `change` must complete its checks before its first change. No other change runs in between.
    /// When this returns, the change is on disk.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        if !self.reserve.is_held() {
            let reserve = Arc::clone(&self.reserve);
            blocking(move || Ok(reserve.hold()?)).await?;
        }
        self.writer.write(change).await
    }

    /// Like `write`, for a change that frees space. It also works on a full disk.
    pub(super) async fn delete<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        self.writer.write(change).await
    }

    /// The bytes of objects.
    pub(super) fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// Finishes the changes in progress and closes the files, so that the folder can be opened again. Later operations
    /// fail.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.writer.stop();
        let sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread has already been reported.
        let _ = sweeping.map(thread::JoinHandle::join);
        self.database.close();
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close();
    }
}

fn start_sweep(
    database: Arc<Database>,
    blobs: Arc<Blobs>,
    closing: Arc<AtomicBool>,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("s3-sweep".to_owned()).spawn(move || {
        match sweep::sweep(&blobs, &database, || !closing.load(Ordering::Relaxed)) {
            Ok(0) => {}
            Ok(removed) => {
                tracing::info!(
                    removed,
                    "removed unused files that an earlier run of the embedded S3 server left"
                );
            }
            Err(error) => tracing::warn!(%error, "the embedded S3 server cannot search for unused files"),
        }
    })
}

/// Runs work that blocks on the disk on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> S3Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(S3Error::from),
        Err(_) => Err(s3_error!(InternalError, "The server failed; see its log")),
    }
}

impl From<S3Error> for Failed {
    fn from(error: S3Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StorageError> for Failed {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Storage(StorageError::Io(error))
    }
}

impl From<Failed> for S3Error {
    fn from(failed: Failed) -> Self {
        let error = match failed {
            Failed::Refused(error) => return error,
            Failed::Storage(error) => error,
        };
        tracing::error!(%error, "the embedded S3 server cannot read or write its disk");
        match error {
            StorageError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                s3_error!(InternalError, "No space is left on the server's disk")
            }
            _ => s3_error!(InternalError, "The server cannot read or write its disk; see its log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn a_damaged_database_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        drop(Storage::open(folder.path()).unwrap());
        let file = fs::OpenOptions::new().write(true).open(folder.path().join("objects.redb")).unwrap();
        // After the header, which redb checks itself.
        file.write_all_at(&vec![0xa5; 60_000], 4096).unwrap();
        let error = Storage::open(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("its database cannot be opened: "), "{error}");
    }
}
