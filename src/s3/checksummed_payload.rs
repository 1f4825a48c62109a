//! The payload of a write: its bytes, and the checksum that S3 verifies.

use super::{Checksum, ChecksumAlgorithm, checksum::ChecksumHasher};
use crate::transport::Payload;

/// Bytes with their checksum.
#[derive(Debug)]
pub(crate) struct ChecksummedPayload {
    pub(crate) bytes: Payload,
    /// `None` if the write has no checksum.
    pub(crate) checksum: Option<Checksum>,
}

impl ChecksummedPayload {
    /// Computes the checksum of `bytes`, if there is an algorithm.
    pub(crate) async fn new(algorithm: Option<ChecksumAlgorithm>, bytes: Payload) -> Self {
        let checksum = match algorithm {
            Some(algorithm) => Some(ChecksumHasher::of(algorithm, &bytes).await),
            None => None,
        };
        Self { bytes, checksum }
    }
}
