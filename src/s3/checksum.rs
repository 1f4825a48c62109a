//! S3's additional checksums: the headers that carry them and how they are computed.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use base64::{Engine, engine::general_purpose::STANDARD};
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use http::{HeaderMap, HeaderName, header::ETAG};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Checksum, ChecksumAlgorithm, ChecksumType, xml::Element};
use crate::transport::Payload;

const CHECKSUM_TYPE: HeaderName = HeaderName::from_static("x-amz-checksum-type");

impl ChecksumAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The name in `x-amz-checksum-algorithm`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries a checksum of this algorithm.
    pub(super) fn header(self) -> HeaderName {
        match self {
            Self::Crc32 => const { HeaderName::from_static("x-amz-checksum-crc32") },
            Self::Crc32c => const { HeaderName::from_static("x-amz-checksum-crc32c") },
            Self::Crc64Nvme => const { HeaderName::from_static("x-amz-checksum-crc64nvme") },
            Self::Sha1 => const { HeaderName::from_static("x-amz-checksum-sha1") },
            Self::Sha256 => const { HeaderName::from_static("x-amz-checksum-sha256") },
        }
    }

    /// The element of `CompleteMultipartUpload` that carries a part's checksum.
    pub(super) fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// Decodes a base64 value. Returns `None` if it is not base64 or does not have the algorithm's length.
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok().filter(|value| value.len() == self.length())
    }

    /// The length of a checksum in bytes.
    pub(crate) fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// What a multipart upload's checksum covers: all bytes for the CRCs, the parts' digests for the SHAs.
    pub(crate) fn multipart_type(self) -> ChecksumType {
        match self {
            Self::Crc32 | Self::Crc32c | Self::Crc64Nvme => ChecksumType::FullObject,
            Self::Sha1 | Self::Sha256 => ChecksumType::Composite,
        }
    }
}

impl ChecksumType {
    /// The value of `x-amz-checksum-type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }
}

impl Checksum {
    /// Parses the checksum of a part from XML text. Returns `None` if the text is not a valid checksum.
    pub(super) fn of_part(algorithm: ChecksumAlgorithm, text: &str) -> Option<Self> {
        let value = algorithm.decode(text)?;
        Some(Self { algorithm, value, kind: Some(ChecksumType::FullObject) })
    }

    /// The value in base64, as headers and XML carry it.
    pub(super) fn encoded(&self) -> String {
        STANDARD.encode(&self.value)
    }
}

/// Computes a checksum incrementally.
#[derive(Debug, Clone)]
pub(crate) struct ChecksumHasher {
    algorithm: ChecksumAlgorithm,
    state: State,
}

#[derive(Clone)]
enum State {
    Crc(Box<CrcDigest>),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State")
    }
}

impl ChecksumHasher {
    /// Creates a hasher without any bytes yet.
    pub(crate) fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => State::Crc(Box::new(CrcDigest::new(crc))),
            (ChecksumAlgorithm::Sha1, None) => State::Sha1(Sha1::new()),
            (_, None) => State::Sha256(Sha256::new()),
        };
        Self { algorithm, state }
    }

    /// The checksum of a whole payload.
    pub(crate) async fn of(algorithm: ChecksumAlgorithm, payload: &Payload) -> Checksum {
        let mut hasher = Self::new(algorithm);
        payload.each_piece(|piece| hasher.update(piece)).await;
        hasher.finish()
    }

    /// Combines the parts' checksums and lengths in bytes into the full object's checksum. Returns `None` if a part
    /// has no checksum, or if the algorithm's checksums cannot be combined.
    pub(crate) fn combine<'a>(
        mut parts: impl Iterator<Item = (Option<&'a Checksum>, u64)>,
    ) -> Option<Checksum> {
        let first = parts.next()?.0?;
        let algorithm = first.algorithm;
        let crc = algorithm.crc()?;
        let mut whole = number(&first.value);
        for (part, len) in parts {
            let part = part.filter(|part| part.algorithm == algorithm)?;
            whole = crc_fast::checksum_combine(crc, whole, number(&part.value), len);
        }
        Some(Checksum { algorithm, value: crc_value(algorithm, whole), kind: Some(ChecksumType::FullObject) })
    }

    /// Adds the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Crc(digest) => digest.update(bytes),
            State::Sha1(digest) => digest.update(bytes),
            State::Sha256(digest) => digest.update(bytes),
        }
    }

    /// The checksum of all bytes added.
    pub(crate) fn finish(self) -> Checksum {
        let value = match self.state {
            State::Crc(digest) => crc_value(self.algorithm, digest.finalize()),
            State::Sha1(digest) => digest.finalize().to_vec(),
            State::Sha256(digest) => digest.finalize().to_vec(),
        };
        Checksum { algorithm: self.algorithm, value, kind: Some(ChecksumType::FullObject) }
    }
}

/// The big-endian bytes of a CRC. crc-fast returns a 32-bit CRC in the lower half of a `u64`.
fn crc_value(algorithm: ChecksumAlgorithm, crc: u64) -> Vec<u8> {
    let bytes = crc.to_be_bytes();
    if algorithm == ChecksumAlgorithm::Crc64Nvme { bytes.to_vec() } else { bytes[4..].to_vec() }
}

/// The number that a CRC's big-endian bytes represent.
fn number(value: &[u8]) -> u64 {
    value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The checksums in the headers of a response.
pub(super) fn from_headers(headers: &HeaderMap) -> Vec<Checksum> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let one_put = text(ETAG).is_some_and(|etag| !is_of_parts(etag));
    said(text(CHECKSUM_TYPE), one_put, |algorithm| text(algorithm.header()))
}

/// The checksums in an XML response.
pub(super) fn from_element(result: &Element) -> Vec<Checksum> {
    said(result.text("ChecksumType"), false, |algorithm| result.text(algorithm.element()))
}

/// The checksums in a response, each with its type. A value of the form `digest-parts` is composite. If the response
/// does not state the type, a CRC-64 covers the full object, and so does any checksum of an object written by
/// `one_put`. Skips invalid checksums.
fn said<'a>(
    kind: Option<&str>,
    one_put: bool,
    text: impl Fn(ChecksumAlgorithm) -> Option<&'a str>,
) -> Vec<Checksum> {
    let read = |algorithm: ChecksumAlgorithm| {
        let text = text(algorithm)?.trim();
        let (digest, of_parts) = text.split_once('-').map_or((text, false), |(digest, _)| (digest, true));
        let kind = match kind.map(str::trim) {
            _ if of_parts => Some(ChecksumType::Composite),
            Some("COMPOSITE") => Some(ChecksumType::Composite),
            Some("FULL_OBJECT") => Some(ChecksumType::FullObject),
            Some(_) => None,
            None => {
                (one_put || algorithm == ChecksumAlgorithm::Crc64Nvme).then_some(ChecksumType::FullObject)
            }
        };
        Some(Checksum { algorithm, value: algorithm.decode(digest)?, kind })
    };
    ChecksumAlgorithm::ALL.into_iter().filter_map(read).collect()
}

/// Whether an ETag has the form that S3 gives to multipart objects: `…-N`.
fn is_of_parts(etag: &str) -> bool {
    let parts = etag.trim_end_matches('"').rsplit_once('-').map(|(_, parts)| parts);
    parts.is_some_and(|parts| !parts.is_empty() && parts.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    /// The check values from the CRC catalogue and FIPS 180 for the nine bytes `123456789`.
    #[tokio::test]
    async fn every_algorithm_matches_its_published_check_value() {
        let published = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        let payload = Payload::from(vec![Bytes::from_static(b"1234"), Bytes::from_static(b"56789")]);
        for (algorithm, value) in published {
            assert_eq!(
                hex::encode(ChecksumHasher::of(algorithm, &payload).await.value),
                value,
                "{algorithm:?}"
            );
        }
    }

    #[test]
    fn part_checksums_combine_into_the_full_checksum() {
        let parts: [&'static [u8]; 4] = [b"1234", b"", b"5678", b"9"];
        for algorithm in ChecksumAlgorithm::ALL {
            let of = |part: &'static [u8]| {
                let mut hasher = ChecksumHasher::new(algorithm);
                hasher.update(part);
                hasher.finish()
            };
            let sums: Vec<_> = parts.iter().map(|part| (of(part), part.len() as u64)).collect();
            let whole = ChecksumHasher::combine(sums.iter().map(|(sum, len)| (Some(sum), *len)));
            let full = algorithm.multipart_type() == ChecksumType::FullObject;
            assert_eq!(whole, full.then(|| of(b"123456789")), "{algorithm:?}");
        }
        assert!(ChecksumHasher::combine([(None, 1)].into_iter()).is_none());
    }

    #[test]
    fn the_type_comes_from_the_dash_the_type_header_or_the_etag() {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("y/Q5Jg==-3"));
        assert_eq!(from_headers(&headers)[0].kind, Some(ChecksumType::Composite));
        headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("y/Q5Jg=="));
        assert_eq!(from_headers(&headers)[0].kind, None, "the server does not state the type");
        headers.insert("x-amz-checksum-type", HeaderValue::from_static("ANOTHER"));
        assert_eq!(from_headers(&headers)[0].kind, None);
        headers.insert("x-amz-checksum-type", HeaderValue::from_static("COMPOSITE"));
        assert_eq!(from_headers(&headers)[0].kind, Some(ChecksumType::Composite));
        headers.remove("x-amz-checksum-type");
        headers.insert("etag", HeaderValue::from_static("\"e-2\""));
        assert_eq!(from_headers(&headers)[0].kind, None, "written in several parts");
        headers.insert("etag", HeaderValue::from_static("\"e\""));
        assert_eq!(from_headers(&headers)[0].kind, Some(ChecksumType::FullObject), "written by one put");
        headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("y/Q5"));
        assert_eq!(from_headers(&headers), [], "too short");
        headers.insert("x-amz-checksum-crc32", HeaderValue::from_static("y/Q5Jg=="));
        assert_eq!(hex::encode(&from_headers(&headers)[0].value), "cbf43926");
    }
}
