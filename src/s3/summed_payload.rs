//! What a write carries: bytes, and the checksum that S3 is to hold them against.

use super::{Checksum, ChecksumAlgorithm, checksum::ChecksumHasher};
use crate::transport::Payload;

/// Bytes with their checksum.
#[derive(Debug)]
pub(crate) struct SummedPayload {
    pub(crate) bytes: Payload,
    /// `None` where the write is to have none.
    pub(crate) checksum: Option<Checksum>,
}

impl SummedPayload {
    /// Sums up `bytes`, if there is an algorithm.
    pub(crate) async fn new(algorithm: Option<ChecksumAlgorithm>, bytes: Payload) -> Self {
        let checksum = match algorithm {
            Some(algorithm) => Some(ChecksumHasher::of(algorithm, &bytes).await),
            None => None,
        };
        Self { bytes, checksum }
    }
}
