//! Verifies chunks that carry their own checksum.

use bytes::Bytes;

use crate::s3::{StreamCrc32c, sum_of};
use crate::store::{Error, ErrorKind};

/// Verifies bytes, in the pieces in which they arrived, against their CRC-32C if one is given. `what` names them in the
/// error.
pub(crate) fn check_chunk(pieces: &[Bytes], crc32c: Option<u32>, what: &str) -> Result<(), Error> {
    crc32c.map_or(Ok(()), |expected| compare(what, expected, sum_of(pieces)))
}

/// The CRC-32C of a chunk while it arrives.
#[derive(Debug)]
pub(crate) struct ChunkSum(StreamCrc32c);

impl Default for ChunkSum {
    fn default() -> Self {
        Self(StreamCrc32c::new())
    }
}

impl ChunkSum {
    /// Adds the next bytes.
    pub(crate) fn update(&mut self, pieces: &[Bytes]) {
        for piece in pieces {
            self.0.update(piece);
        }
    }

    /// Compares the sum with the one that the caller sent.
    pub(crate) fn verify(self, expected: u32) -> Result<(), Error> {
        compare("a chunk", expected, self.0.sum())
    }
}

/// Fails unless the computed CRC-32C is the expected one.
pub(in crate::store) fn compare(what: &str, expected: u32, found: u32) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    let message =
        format!("{what} has CRC-32C {found:08x}, but the request states {expected:08x}: send it again");
    Err(Error::new(ErrorKind::ChecksumMismatch, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_verified_against_its_checksum() {
        let data = Bytes::from(vec![0; 32]);
        let pieces = [data.slice(..10), data.slice(10..)];
        // RFC 3720, section B.4: 32 bytes of zeroes.
        assert!(check_chunk(&pieces, None, "chunk").is_ok());
        assert!(check_chunk(&pieces, Some(0x8a91_36aa), "chunk").is_ok());
        assert!(check_chunk(&[data], Some(0x8a91_36aa), "chunk").is_ok());
        let error = check_chunk(&pieces, Some(0x8a91_36ab), "chunk 3").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ChecksumMismatch);
        assert!(
            error.message().starts_with("chunk 3 has CRC-32C 8a9136aa, but the request states 8a9136ab: ")
        );
    }
}
