//! The redb database, which is reopened after an I/O error.

use std::{
    fs::OpenOptions,
    io,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use redb::{
    Builder, DatabaseError, Durability, ReadableDatabase, ReadableTable, StorageError, WriteTransaction,
};

use super::{
    Failed,
    blobs::MAX_RUNS,
    tables::{META, Reading, Writing},
};

/// The size of redb's page cache. The operating system caches the rest of the file.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The format of rows and blobs that this version writes.
const FORMAT: u64 = 1;

/// Why the database of a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::embedded) enum OpenError {
    #[error(
        "a later version of Longshore wrote it (in format {0}; this version reads up to format {FORMAT})"
    )]
    Later(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Redb(#[from] redb::Error),
}

/// A redb database that recovers from I/O errors. After an I/O error redb rejects every operation ("previous I/O
/// error") until it is reopened. This type reopens it, so a full disk fails the operations in progress and not the
/// whole server.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// `None` if the file could not be reopened or has been closed.
    redb: RwLock<Option<redb::Database>>,
}

impl Database {
    /// Opens the database, creates missing tables, and counts this run. Returns the run's number with the database.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), OpenError> {
        private(path)?;
        let redb = open(path).map_err(redb::Error::from)?;
        let run = begin_run(&redb)?;
        Ok((Self { path: path.to_owned(), redb: RwLock::new(Some(redb)) }, run))
    }

    /// Calls `look` with a snapshot of the current state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Reading) -> Result<T, Failed>) -> Result<T, Failed> {
        let result = self.with(|redb| {
            let transaction = redb.begin_read().map_err(|error| storage(error.into()))?;
            let tables = Reading::open(&transaction).map_err(|error| storage(error.into()))?;
            look(&tables)
        });
        if let Err(Failed::Storage(StorageError::PreviousIo)) = result {
            self.reopen();
        }
        result
    }

    /// Calls `change` in a transaction, and commits it if `change` succeeds. Reopens the database after any failure.
    pub(super) fn write<T>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let result = self.with(|redb| {
            let transaction = begin(redb)?;
            let changed = {
                let mut tables = Writing::open(&transaction).map_err(|error| storage(error.into()))?;
                change(&mut tables)?
            };
            transaction.commit().map_err(|error| storage(error.into()))?;
            Ok(changed)
        });
        if result.is_err() {
            self.reopen();
        }
        result
    }

    /// Closes the file. Later operations fail.
    pub(super) fn close(&self) {
        *self.redb.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn with<T, E: From<StorageError>>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.opened().as_ref() {
            Some(redb) => work(redb),
            None => Err(StorageError::PreviousIo.into()),
        }
    }

    fn opened(&self) -> RwLockReadGuard<'_, Option<redb::Database>> {
        // A panic while the lock is held leaves the database consistent, because redb's transactions are atomic.
        self.redb.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for readers, then closes the file and opens it again. This discards everything that was not committed.
    pub(super) fn reopen(&self) {
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        // Close the file first: redb locks it.
        *redb = None;
        match open(&self.path) {
            Ok(opened) => *redb = Some(opened),
            Err(error) => tracing::error!(%error, "the embedded S3 server cannot reopen its database"),
        }
    }
}

fn open(path: &Path) -> Result<redb::Database, DatabaseError> {
    // redb panics if the contents of a file are not what it wrote.
    let opened = catch_unwind(|| Builder::new().set_cache_size(CACHE_BYTES).create(path));
    opened.unwrap_or_else(|_| Err(StorageError::Corrupted("the file is damaged".to_owned()).into()))
}

fn begin(redb: &redb::Database) -> Result<WriteTransaction, StorageError> {
    let mut transaction = redb.begin_write().map_err(|error| storage(error.into()))?;
    // A commit is on disk when it returns.
    transaction.set_durability(Durability::Immediate).map_err(|error| storage(error.into()))?;
    Ok(transaction)
}

fn begin_run(redb: &redb::Database) -> Result<u64, OpenError> {
    let transaction = begin(redb).map_err(redb::Error::from)?;
    let run = {
        Writing::open(&transaction).map_err(redb::Error::from)?;
        let mut meta = transaction.open_table(META).map_err(redb::Error::from)?;
        let format = meta.get("format").map_err(redb::Error::from)?.map_or(FORMAT, |format| format.value());
        if format > FORMAT {
            return Err(OpenError::Later(format));
        }
        meta.insert("format", FORMAT).map_err(redb::Error::from)?;
        let run = meta.get("runs").map_err(redb::Error::from)?.map_or(0, |runs| runs.value()) + 1;
        meta.insert("runs", run).map_err(redb::Error::from)?;
        run
    };
    transaction.commit().map_err(redb::Error::from)?;
    if run < MAX_RUNS {
        Ok(run)
    } else {
        Err(redb::Error::Corrupted("the number of runs exceeds its limit".to_owned()).into())
    }
}

/// Creates the file if it does not exist. It is as private as the access keys in the same folder, whereas redb would
/// create a file that everyone can read.
fn private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// redb has an error type for every step. Only its storage errors can occur with the tables that are used here.
fn storage(error: redb::Error) -> StorageError {
    match error {
        redb::Error::Io(error) => StorageError::Io(error),
        redb::Error::PreviousIo => StorageError::PreviousIo,
        other => StorageError::Corrupted(other.to_string()),
    }
}
