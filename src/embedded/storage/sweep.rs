//! Removing bytes that no row refers to: what a run left behind that was killed between a file and its row,
//! or between a row and its file.

use std::{fs, io};

use redb::StorageError;

use super::{
    blobs::{BlobName, Blobs, run_of_folder},
    database::Database,
    tables::{self, Reading},
};

/// Files looked up in one transaction.
const AT_ONCE: usize = 1_000;

/// Looks at every blob of earlier runs, a few at a time, and gives the number of those removed. Blobs of
/// this run are none of its business, so it may go on beside anything else.
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
            let some = files.by_ref().take(AT_ONCE).collect::<io::Result<Vec<_>>>()?;
            if !go_on() {
                return Ok(removed);
            }
            if some.is_empty() {
                // Earlier runs make no more files, so one without any goes; others cannot be removed.
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

/// Those of the blobs that no row refers to. Rows never come to refer to a blob of an earlier run, so one without a
/// row stays without.
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
