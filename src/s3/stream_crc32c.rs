//! Computes the CRC-32C of a stream and of each of its chunks in one pass.
//!
//! Callers send the CRC of each chunk and that of the whole stream. The stream's CRC before and after a chunk
//! determines the CRC of the chunk itself. After `len` more bytes, the stream's CRC is the previous CRC multiplied by
//! `x^(8 len)`, plus the CRC of the new bytes (as in Mark Adler's `crc32_combine` in zlib).

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

/// The polynomial of CRC-32C, with the highest power in the lowest bit (RFC 9260, appendix A).
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// The CRC-32C of a stream, computed incrementally.
#[derive(Clone)]
pub(crate) struct StreamCrc32c {
    digest: Box<Digest>,
    /// The length of the last chunk. Most streams have many chunks of one length, for which it pays to build a shift.
    last_len: usize,
    shift: Option<Box<Shift>>,
}

/// Multiplication by `x^(8 len)`, as a column for each bit.
#[derive(Clone)]
struct Shift {
    len: usize,
    columns: [u32; 32],
}

impl StreamCrc32c {
    /// Creates the CRC of an empty stream.
    pub(crate) fn new() -> Self {
        Self { digest: Box::new(Digest::new(CrcAlgorithm::Crc32Iscsi)), last_len: 0, shift: None }
    }

    /// Adds the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    /// Adds a chunk in pieces and returns the CRC of the chunk itself.
    pub(crate) fn chunk(&mut self, pieces: &[Bytes]) -> u32 {
        let before = self.sum();
        for piece in pieces {
            self.update(piece);
        }
        let len = pieces.iter().map(Bytes::len).sum();
        if before == 0 {
            return self.sum();
        }
        if self.shift.as_ref().is_none_or(|shift| shift.len != len) {
            if std::mem::replace(&mut self.last_len, len) != len {
                return sum_of(pieces);
            }
            self.shift = Some(Box::new(Shift::by(len)));
        }
        let shifted = self.shift.as_ref().map_or(0, |shift| shift.apply(before));
        self.sum() ^ shifted
    }

    /// The CRC of all bytes added.
    pub(crate) fn sum(&self) -> u32 {
        low_half(self.digest.finalize())
    }
}

impl std::fmt::Debug for StreamCrc32c {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamCrc32c({:08x})", self.sum())
    }
}

impl Shift {
    fn by(len: usize) -> Self {
        let mut columns = [0; 32];
        // The highest bit is x^0.
        let mut column = low_half(checksum_combine(CrcAlgorithm::Crc32Iscsi, 1 << 31, 0, len as u64));
        for place in columns.iter_mut().rev() {
            *place = column;
            column = (column >> 1) ^ if column & 1 == 1 { POLYNOMIAL } else { 0 };
        }
        Self { len, columns }
    }

    fn apply(&self, sum: u32) -> u32 {
        let bits = self.columns.iter().enumerate();
        bits.fold(0, |shifted, (bit, column)| shifted ^ if sum >> bit & 1 == 1 { *column } else { 0 })
    }
}

/// The CRC-32C of these pieces.
pub(crate) fn sum_of<'a>(pieces: impl IntoIterator<Item = &'a Bytes, IntoIter: Clone>) -> u32 {
    let pieces = pieces.into_iter();
    let mut first = pieces.clone();
    if let (Some(whole), None) = (first.next(), first.next()) {
        return crc_fast::crc32_iscsi(whole);
    }
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for piece in pieces {
        digest.update(piece);
    }
    low_half(digest.finalize())
}

/// crc-fast returns a 32-bit CRC in the lower half of a `u64`.
fn low_half(crc: u64) -> u32 {
    u32::try_from(crc & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares with crc-fast's CRC of each chunk and of all chunks together.
        #[test]
        fn the_crcs_of_chunks_and_stream_match_crc_fast(
            lengths in proptest::collection::vec(prop_oneof![Just(0_usize), Just(33), Just(700), 0..900_usize], 1..12),
            seed: u8,
        ) {
            let (mut stream, mut whole) = (StreamCrc32c::new(), Vec::new());
            for (number, len) in lengths.into_iter().enumerate() {
                let byte = |at: usize| seed.wrapping_add(u8::try_from((at * 7 + number * 13) % 256).unwrap());
                let chunk: Vec<u8> = (0..len).map(byte).collect();
                let (one, other) = chunk.split_at(len / 3);
                let pieces = [Bytes::copy_from_slice(one), Bytes::copy_from_slice(other)];
                prop_assert_eq!(stream.chunk(&pieces), crc_fast::crc32_iscsi(&chunk));
                whole.extend_from_slice(&chunk);
                prop_assert_eq!(stream.sum(), crc_fast::crc32_iscsi(&whole));
            }
        }
    }
}
