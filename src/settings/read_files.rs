//! Which files the settings were read from, and what these contained at the time.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    path::PathBuf,
};

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::LocalPath;

/// The contents of files at the time when they were read, as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadFiles(BTreeMap<PathBuf, (LocalPath, Contents)>);

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contents {
    /// How many of them were read at most.
    limit: u64,
    /// `None`: the file could not be read.
    digest: Option<[u8; 32]>,
}

impl ReadFiles {
    /// Reads a file, at most `limit` bytes of it, and records what it contains.
    pub(crate) fn read(&mut self, path: &LocalPath, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let read = start_of(path, limit);
        let digest = read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        self.0.insert(path.path().to_owned(), (path.clone(), Contents { limit, digest }));
        read
    }

    pub(crate) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether each file still contains the same.
    pub(crate) fn are_unchanged(&self) -> bool {
        self.0.values().all(|(path, contents)| {
            let mut now = Self::default();
            // What it contains now is only compared.
            let _ = now.read(path, contents.limit);
            now.0.into_values().all(|(_, found)| found == *contents)
        })
    }
}

fn start_of(path: &LocalPath, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    path.open()?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
