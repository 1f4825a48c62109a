//! The functions of this module that `benches/micro.rs` measures.

use std::time::SystemTime;

use bytes::Bytes;
use http::Request;

use super::{
    Error, StreamCrc32c, list_objects,
    sign::{SigningKeys, Target},
    stream_crc32c,
};
use crate::credentials::Credentials;

/// Signs requests and caches the derived key as a [`Client`](super::Client) does.
#[derive(Debug, Default)]
pub struct Signer(SigningKeys);

impl Signer {
    /// Signs the request line and headers of `request`.
    pub fn sign(
        &self,
        request: &mut Request<()>,
        payload_hash: &str,
        credentials: &Credentials,
        region: &str,
        now: SystemTime,
    ) -> Result<(), Error> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let query = uri.query().unwrap_or_default();
        let target = Target { method: &method, path: uri.path(), query, payload_hash };
        self.0.sign(&target, request.headers_mut(), credentials, region, now)
    }
}

/// The number of objects on a page of `ListObjectsV2`.
pub fn listed(body: &str) -> Result<usize, Error> {
    list_objects::page(body, usize::MAX).map(|page| page.objects.len())
}

/// The CRC-32C of these pieces.
pub fn sum_of(pieces: &[Bytes]) -> u32 {
    stream_crc32c::sum_of(pieces)
}

/// The CRC-32C of each chunk, followed by the CRC-32C of all chunks together.
pub fn stream_sums(chunks: &[Bytes]) -> Vec<u32> {
    let mut stream = StreamCrc32c::new();
    let mut sums: Vec<_> = chunks.iter().map(|chunk| stream.chunk(std::slice::from_ref(chunk))).collect();
    sums.push(stream.sum());
    sums
}
