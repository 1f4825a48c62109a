//! The redb database, opened again after the disk has failed it.

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

/// Pages that redb keeps in memory; the operating system keeps the rest of the file.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// The layout of rows and blobs that this version writes.
const FORMAT: u64 = 1;

/// Why the database of a folder is not opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::embedded) enum OpenError {
    #[error("it was written by a later version of Longshore (format {0}; this one knows {FORMAT})")]
    Later(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Redb(#[from] redb::Error),
}

/// After an I/O error redb refuses everything until it is opened anew ("previous I/O error"), so a full
/// disk would end the server; here it ends what was under way, and the next one opens the file again.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    /// None while it could not be opened again.
    redb: RwLock<Option<redb::Database>>,
}

impl Database {
    /// Opens it, makes its tables where they are missing, and counts this run: the number is given back.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), OpenError> {
        private(path)?;
        let redb = open(path).map_err(redb::Error::from)?;
        let run = begin_run(&redb)?;
        Ok((Self { path: path.to_owned(), redb: RwLock::new(Some(redb)) }, run))
    }

    /// Looks at the state as it is now.
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

    /// A transaction, committed if `change` succeeds; in any other case the database is opened anew.
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

    /// Lets go of the file. Whoever comes later is refused.
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
        // A panic under the lock leaves a database that is whole: redb's transactions are.
        self.redb.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for those that read, closes the file and opens it again, which undoes what was not committed.
    pub(super) fn reopen(&self) {
        let mut redb = self.redb.write().unwrap_or_else(PoisonError::into_inner);
        // Closed first: redb locks the file.
        *redb = None;
        match open(&self.path) {
            Ok(opened) => *redb = Some(opened),
            Err(error) => tracing::error!(%error, "the embedded S3 server cannot open its database again"),
        }
    }
}

fn open(path: &Path) -> Result<redb::Database, DatabaseError> {
    // redb takes it for its own mistake if a file is not as it wrote it.
    let opened = catch_unwind(|| Builder::new().set_cache_size(CACHE_BYTES).create(path));
    opened.unwrap_or_else(|_| Err(StorageError::Corrupted("the file is damaged".to_owned()).into()))
}

fn begin(redb: &redb::Database) -> Result<WriteTransaction, StorageError> {
    let mut transaction = redb.begin_write().map_err(|error| storage(error.into()))?;
    // A commit is on the disk when it returns.
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
        Err(redb::Error::Corrupted("the count of runs is past its end".to_owned()).into())
    }
}

/// Makes the file as private as the keys beside it, where it is missing; redb would let everybody read it.
fn private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ())
}

/// redb has an error type for every step; those beside storage cannot happen with tables of our own.
fn storage(error: redb::Error) -> StorageError {
    match error {
        redb::Error::Io(error) => StorageError::Io(error),
        redb::Error::PreviousIo => StorageError::PreviousIo,
        other => StorageError::Corrupted(other.to_string()),
    }
}
