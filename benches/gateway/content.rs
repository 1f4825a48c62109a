//! The content of objects: one block of bytes, repeated. Every process can generate it, so nothing has to be stored.

use std::sync::LazyLock;

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};

/// The size of a block, in bytes.
pub(crate) const BLOCK: usize = 1024 * 1024;

static BYTES: LazyLock<Bytes> = LazyLock::new(|| {
    let mut bytes = vec![0; BLOCK];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    bytes.into()
});

/// Yields a range of an object piece by piece. The pieces share the memory of the block.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    next: u64,
    end: u64,
}

impl Content {
    pub(crate) fn whole(size: u64) -> Self {
        Self { next: 0, end: size }
    }

    pub(crate) fn range(start: u64, end: u64) -> Self {
        Self { next: start, end }
    }

    /// The number of bytes that remain.
    pub(crate) fn left(&self) -> u64 {
        self.end - self.next
    }

    /// The length of the next piece, at most `most`. A piece does not cross the end of a block.
    pub(crate) fn length(&self, most: usize) -> usize {
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        left.min(most).min(BLOCK - self.at())
    }

    /// Returns the next bytes, at most `most`.
    pub(crate) fn piece(&mut self, most: usize) -> Option<Bytes> {
        if self.left() == 0 {
            return None;
        }
        let (at, length) = (self.at(), self.length(most));
        self.next += length as u64;
        Some(BYTES.slice(at..at + length))
    }

    /// The offset of the next byte in its block.
    fn at(&self) -> usize {
        usize::try_from(self.next % BLOCK as u64).unwrap_or_default()
    }
}

/// The CRC-64/NVME of a whole object.
pub(crate) fn crc64nvme(size: u64) -> u64 {
    crc(CrcAlgorithm::Crc64Nvme, Content::whole(size))
}

/// The CRC-32C of a whole object.
pub(crate) fn crc32c(size: u64) -> u32 {
    narrow(crc(CrcAlgorithm::Crc32Iscsi, Content::whole(size)))
}

/// The CRC-32C of a piece.
pub(crate) fn crc32c_of(piece: &[u8]) -> u32 {
    narrow(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, piece))
}

fn crc(algorithm: CrcAlgorithm, mut content: Content) -> u64 {
    let mut digest = Digest::new(algorithm);
    while let Some(piece) = content.piece(BLOCK) {
        digest.update(&piece);
    }
    digest.finalize()
}

/// crc-fast returns every checksum as a `u64`.
fn narrow(crc: u64) -> u32 {
    u32::try_from(crc & u64::from(u32::MAX)).unwrap_or_default()
}
