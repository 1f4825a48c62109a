//! Removes blobs that no row refers to. A run leaves them behind if it is killed after it has written a file and before
//! it has committed the row, or after it has removed a row and before it has removed the file.

use std::{fs, io};

use redb::StorageError;

use super::{
    blobs::{BlobName, Blobs, run_of_folder},
    database::Database,
    tables::{self, Reading},
};

/// The number of files that are looked up in one transaction.
const BATCH: usize = 1_000;

/// Checks every blob of earlier runs, in batches, and returns the number of blobs that it removed. It ignores blobs of
/// this run, so it can run concurrently with everything else.
pub(super) fn sweep(blobs: &Blobs, database: &Database, go_on: impl Fn() -> bool) -> io::Result<usize> {
    let mut removed = 0;
    for folder in fs::read_dir(blobs.folder())? {
        let folder = folder?;
        let run = folder.file_name().to_str().and_then(run_of_folder);
        if run.is_none_or(|run| run >= blobs.run()) {
            continue;
        }
        let mut files = fs::read_dir(folder.path())?;
        loop {
            let some = files.by_ref().take(BATCH).collect::<io::Result<Vec<_>>>()?;
            if !go_on() {
                return Ok(removed);
            }
            if some.is_empty() {
                // Earlier runs write no more files, so an empty folder can be removed. For any other folder this fails.
                let _ = fs::remove_dir(folder.path());
                break;
            }
            let names = some.iter().filter_map(|file| BlobName::parse(file.file_name().to_str()?));
            let unused = database
                .read(|tables| Ok(unused(tables, names)?))
                .map_err(|failed| io::Error::other(s3s::S3Error::from(failed)))?;
            removed += unused.len();
            blobs.remove(unused);
        }
    }
    Ok(removed)
}

/// Returns the blobs that no row refers to. No new row refers to a blob of an earlier run, so such a blob stays unused.
pub(super) fn unused(
    tables: &Reading,
    names: impl Iterator<Item = BlobName>,
) -> Result<Vec<BlobName>, StorageError> {
    let mut unused = Vec::new();
    for name in names {
        let row = tables::part(&tables.parts, name.body, name.part)?;
        if row.is_none_or(|row| row.blob != name.blob) {
            unused.push(name);
        }
    }
    Ok(unused)
}
