//! Which files the settings were read from, and what these contained at the time.

use std::{
    io::{self, Read},
    path::PathBuf,
};

use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::LocalPath;

/// The contents of files at the time when they were read, as digests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReadFiles(
    /// In the order of their paths. Most tenants files refer to no other, so that a map would be almost empty.
    Vec<(LocalPath, Contents)>,
);

/// What a file contained when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Contents {
    /// The digest of its first bytes, at most `limit` of them.
    Digest { limit: u64, digest: [u8; 32] },
    /// It could not be read.
    Unreadable { limit: u64 },
    /// Different things: it changed between two reads.
    Changed,
}

impl ReadFiles {
    /// Files that count as changed.
    pub(crate) fn changed() -> Self {
        Self(vec![(PathBuf::new().into(), Contents::Changed)])
    }

    /// Reads a file, at most `limit` bytes of it, and records what it contains.
    pub(crate) fn read(&mut self, path: &LocalPath, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let read = start_of(path, limit);
        self.record(path.clone(), contents(&read, limit));
        read
    }

    fn record(&mut self, path: LocalPath, contents: Contents) {
        match self.0.binary_search_by(|(known, _)| known.path().cmp(path.path())) {
            Ok(at) => {
                let known = &mut self.0[at].1;
                if known.limit() == contents.limit() && *known != contents {
                    *known = Contents::Changed;
                }
            }
            Err(at) => {
                if self.0.is_empty() {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (path, contents));
            }
        }
    }

    /// Whether each file still contains the same.
    pub(crate) fn are_unchanged(&self) -> bool {
        self.0.iter().all(|(path, known)| {
            known.limit().is_some_and(|limit| contents(&start_of(path, limit), limit) == *known)
        })
    }
}

impl Contents {
    fn limit(&self) -> Option<u64> {
        match self {
            Self::Digest { limit, .. } | Self::Unreadable { limit } => Some(*limit),
            Self::Changed => None,
        }
    }
}

fn contents(read: &io::Result<Zeroizing<Vec<u8>>>, limit: u64) -> Contents {
    match read {
        Ok(bytes) => Contents::Digest { limit, digest: Sha256::digest(bytes).into() },
        Err(_) => Contents::Unreadable { limit },
    }
}

/// The bytes that the file has now, at most `limit` of them. Reads them into memory of their size, because a vector that
/// grows leaves copies of a secret behind.
fn start_of(path: &LocalPath, limit: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let (file, size) = path.open_with_size()?;
    let most = if size == 0 { limit } else { size.min(limit) };
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size.min(limit)).unwrap_or_default()));
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
