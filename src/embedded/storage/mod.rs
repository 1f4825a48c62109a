//! Where the embedded server keeps what it is given: rows in a redb database, bytes in files beside it.
//!
//! ```text
//! FOLDER/objects.redb             buckets, objects, uploads, parts
//! FOLDER/blobs/unfinished/        files being written
//! FOLDER/blobs/ID/BODY.PART.ID    files that are whole
//! FOLDER/reserve                  room for deleting when the disk is full
//! ```
//!
//! A write brings its bytes to the disk first, then commits the row that refers to them, then answers. So
//! whatever was acknowledged is there after a crash, and whatever was not is either whole or not there.

mod blob_file;
mod blobs;
mod database;
mod reserve;
mod rows;
mod sweep;
mod tables;
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
use writer::Writer;

/// Rows and bytes.
#[derive(Debug)]
pub(super) struct Storage {
    database: Arc<Database>,
    blobs: Arc<Blobs>,
    reserve: Arc<Reserve>,
    writer: Writer,
    sweeping: Mutex<Option<thread::JoinHandle<()>>>,
    closing: Arc<AtomicBool>,
}

/// Why a folder's storage is not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum StorageOpenError {
    #[error("its database cannot be opened: {0}")]
    Database(#[from] OpenError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why nothing came of looking or changing.
#[derive(Debug)]
pub(super) enum Failed {
    /// S3 refuses it.
    Refused(S3Error),
    /// The disk or the database does not give what it should.
    Storage(StorageError),
}

impl Storage {
    /// Opens what is in a folder, or begins it. Bytes without a row are swept beside everything else.
    pub(super) fn open(folder: &Path) -> Result<Self, StorageOpenError> {
        let reserve = Arc::new(Reserve::open(folder.join("reserve"))?);
        let (database, run) = Database::open(&folder.join("objects.redb"))?;
        let database = Arc::new(database);
        let blobs = Arc::new(Blobs::open(folder.join("blobs"), run)?);
        // What has just been made in it lasts.
        File::open(folder)?.sync_all()?;
        // A full disk can still be read, and deleted from.
        let _ = reserve.hold();
        let writer = Writer::start(Arc::clone(&database), Arc::clone(&blobs), Arc::clone(&reserve))?;
        let closing = Arc::new(AtomicBool::new(false));
        let sweeping = start_sweep(Arc::clone(&database), Arc::clone(&blobs), Arc::clone(&closing))?;
        Ok(Self { database, blobs, reserve, writer, sweeping: Mutex::new(Some(sweeping)), closing })
    }

    /// Looks at the rows, in a state in which no change is half done.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reading) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        let database = Arc::clone(&self.database);
        blocking(move || database.read(look)).await
    }

    /// The same for threads that may wait for the disk.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Reading) -> Result<T, Failed>) -> Result<T, Failed> {
        self.database.read(look)
    }

    /// Changes the rows. `change` first refuses whatever it refuses, then changes; no other change comes
    /// between. When this returns, the change is on the disk.
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

    /// The same for a change that makes room: it is possible on a full disk.
    pub(super) async fn delete<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, Failed> + Send + 'static,
    ) -> S3Result<T> {
        self.writer.write(change).await
    }

    /// Objects' bytes.
    pub(super) fn blobs(&self) -> &Arc<Blobs> {
        &self.blobs
    }

    /// Finishes what is under way and lets go of the files, so that the folder can be opened again. Whoever
    /// comes later is refused.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.writer.stop();
        let sweeping = self.sweeping.lock().unwrap_or_else(PoisonError::into_inner).take();
        // If it panicked, it said so.
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
                tracing::info!(removed, "removed files of an earlier run that no object refers to");
            }
            Err(error) => tracing::warn!(%error, "cannot look for files that no object refers to"),
        }
    })
}

/// Work that waits for the disk, away from the tasks that do not.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> S3Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(S3Error::from),
        Err(_) => Err(s3_error!(InternalError, "The server failed; its log says why")),
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
        tracing::error!(%error, "the embedded S3 server cannot use its disk");
        match error {
            StorageError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                s3_error!(InternalError, "No space is left on the server's disk")
            }
            _ => s3_error!(InternalError, "The server cannot use its disk; its log says why"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn a_damaged_database_is_said_to_be_so() {
        let folder = tempfile::tempdir().unwrap();
        drop(Storage::open(folder.path()).unwrap());
        let file = fs::OpenOptions::new().write(true).open(folder.path().join("objects.redb")).unwrap();
        // Behind the header, which redb checks by itself.
        file.write_all_at(&vec![0xa5; 60_000], 4096).unwrap();
        let error = Storage::open(folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("its database cannot be opened: "), "{error}");
    }
}
