//! Checksums: those that callers send, and those that are stored.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use base64::{Engine, prelude::BASE64_STANDARD};
use crc_fast::{CrcAlgorithm, checksum_combine};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use md5::{Digest, Md5};
use s3s::{S3Error, S3Result, s3_error};
use sha1::Sha1;
use sha2::Sha256;

use super::{
    received::{Received, coded, text},
    storage::ChecksumRow,
};

/// The checksum algorithms that S3 offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

use Algorithm::{Crc32, Crc32c, Crc64Nvme};

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// The algorithm that S3 uses for an object that is sent without a checksum.
    pub(super) const DEFAULT: Self = Self::Crc64Nvme;

    /// The name as S3 writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    fn header(self) -> HeaderName {
        HeaderName::from_static(match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        })
    }

    /// The length of a checksum in bytes.
    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The CRC, if the algorithm is one. The CRCs of the parts can be combined into the CRC of the whole object.
    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }

    /// Whether S3 allows this algorithm for multipart uploads with composite checksums, or with full-object checksums
    /// if `composite` is false.
    pub(super) fn allows(self, composite: bool) -> bool {
        match self {
            Self::Crc32 | Self::Crc32c => true,
            Self::Crc64Nvme => !composite,
            Self::Sha1 | Self::Sha256 => composite,
        }
    }

    /// The checksum of `bytes`.
    pub(super) fn of(self, bytes: &[u8]) -> ChecksumRow {
        let mut hasher = Hasher::new(self);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Decodes a checksum from base64. Returns `None` if the text is not base64 or has the wrong length.
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(text).ok().filter(|value| value.len() == self.length())
    }

    /// Decodes a checksum from a header or an XML element.
    pub(super) fn parse(self, text: &str) -> S3Result<Vec<u8>> {
        self.decode(text)
            .ok_or_else(|| s3_error!(InvalidRequest, "Value for {} header is invalid.", self.header()))
    }
}

enum Hasher {
    Crc(Algorithm, crc_fast::Digest),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm.crc() {
            Some(crc) => Self::Crc(algorithm, crc_fast::Digest::new(crc)),
            None if algorithm == Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            None => Self::Sha256(Sha256::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> ChecksumRow {
        let (algorithm, value) = match self {
            Self::Crc(algorithm, digest) => (algorithm, crc_bytes(algorithm, digest.finalize())),
            Self::Sha1(hasher) => (Algorithm::Sha1, hasher.finalize().to_vec()),
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
        };
        ChecksumRow { algorithm: algorithm.name().to_owned(), composite: false, value }
    }
}

/// The bytes of a CRC, most significant byte first. A 32-bit CRC is in the low half of `value`.
fn crc_bytes(algorithm: Algorithm, value: u64) -> Vec<u8> {
    value.to_be_bytes()[8 - algorithm.length()..].to_vec()
}

/// Computes the MD5, the checksum and the size of bytes while they arrive.
pub(super) struct Digests {
    md5: Md5,
    checksum: Hasher,
    size: u64,
}

/// The result of [`Digests`].
#[derive(Debug, Clone)]
pub(super) struct Digested {
    pub(super) md5: [u8; 16],
    pub(super) checksum: ChecksumRow,
    pub(super) size: u64,
}

impl Digests {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { md5: Md5::new(), checksum: Hasher::new(algorithm), size: 0 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.checksum.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// The number of bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn finish(self) -> Digested {
        Digested { md5: self.md5.finalize().into(), checksum: self.checksum.finish(), size: self.size }
    }
}

/// What a caller claims about the bytes that it sends.
#[derive(Debug)]
pub(super) struct Claims {
    md5: Option<[u8; 16]>,
    algorithm: Option<Algorithm>,
    /// The checksum from the headers. `None` if it follows the body as a trailer.
    value: Option<Vec<u8>>,
}

impl Claims {
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let mut given =
            Algorithm::ALL.into_iter().filter(|algorithm| headers.contains_key(algorithm.header()));
        let trailing = text(headers, "x-amz-trailer").map(trailer).transpose()?;
        let (in_header, more) = (given.next(), given.next());
        if more.is_some() || (in_header.is_some() && trailing.is_some()) {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        let algorithm = in_header.or(trailing);
        check_named(headers, algorithm)?;
        let value = in_header
            .map(|algorithm| algorithm.parse(text(headers, algorithm.header().as_str()).unwrap_or_default()))
            .transpose()?;
        Ok(Self { md5: content_md5(headers)?, algorithm, value })
    }

    /// The checksum algorithm that the caller uses.
    pub(super) fn algorithm(&self) -> Option<Algorithm> {
        self.algorithm
    }

    /// Whether the caller sends an MD5 or a checksum.
    pub(super) fn any(&self) -> bool {
        self.md5.is_some() || self.algorithm.is_some()
    }

    /// Compares the claims with the received bytes. The claimed checksum may be in the received trailers.
    pub(super) fn check(&self, digested: &Digested, received: &Received) -> S3Result<()> {
        if self.md5.is_some_and(|md5| md5 != digested.md5) {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        let Some(algorithm) = self.algorithm else { return Ok(()) };
        let trailed = match self.value {
            Some(_) => None,
            None => Some(algorithm.parse(&trailing_value(algorithm, received)?)?),
        };
        let claimed = self.value.as_ref().or(trailed.as_ref());
        if digested.checksum.algorithm != algorithm.name() || claimed != Some(&digested.checksum.value) {
            return Err(mismatch(algorithm));
        }
        Ok(())
    }
}

/// The error for a checksum that does not match the received bytes.
pub(super) fn mismatch(algorithm: Algorithm) -> S3Error {
    s3_error!(BadDigest, "The {} you specified did not match the calculated checksum.", algorithm.name())
}

fn trailer(names: &str) -> S3Result<Algorithm> {
    let name = names.trim();
    Algorithm::ALL
        .into_iter()
        .find(|algorithm| algorithm.header().as_str().eq_ignore_ascii_case(name))
        .ok_or_else(|| {
            s3_error!(InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
        })
}

fn trailing_value(algorithm: Algorithm, received: &Received) -> S3Result<String> {
    let value = received.trailers.as_ref().and_then(|trailers| {
        trailers.read(|headers| text(headers, algorithm.header().as_str()).map(str::to_owned))?
    });
    value.ok_or_else(|| {
        coded(
            "MalformedTrailerError",
            StatusCode::BAD_REQUEST,
            "The request contained trailing data that was not well-formed or did not conform to our published schema.",
        )
    })
}

/// `x-amz-sdk-checksum-algorithm` must name the algorithm of the checksum that the caller sends.
fn check_named(headers: &HeaderMap, algorithm: Option<Algorithm>) -> S3Result<()> {
    let Some(name) = text(headers, "x-amz-sdk-checksum-algorithm") else { return Ok(()) };
    match (Algorithm::named(name), algorithm) {
        (Some(named), Some(algorithm)) if named == algorithm => Ok(()),
        (Some(_), None) => Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
        )),
        _ => Err(s3_error!(InvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.")),
    }
}

fn content_md5(headers: &HeaderMap) -> S3Result<Option<[u8; 16]>> {
    let Some(value) = headers.get("content-md5") else { return Ok(None) };
    let md5 =
        BASE64_STANDARD.decode(value.as_bytes()).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    md5.map(Some).ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."))
}

/// The checksum algorithm that a multipart upload or a copy requests.
pub(super) fn asked(headers: &HeaderMap) -> S3Result<Option<Algorithm>> {
    let Some(name) = text(headers, "x-amz-checksum-algorithm") else { return Ok(None) };
    let algorithm = Algorithm::named(name);
    algorithm.map(Some).ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"))
}

/// The checksum of an object whose parts, in order, have these checksums and sizes.
pub(super) fn combine(algorithm: Algorithm, composite: bool, parts: &[(Vec<u8>, u64)]) -> ChecksumRow {
    match algorithm.crc() {
        Some(crc) if !composite => {
            let value = parts.iter().fold(crc_fast::Digest::new(crc).finalize(), |whole, (value, size)| {
                checksum_combine(crc, whole, crc_value(value), *size)
            });
            let value = crc_bytes(algorithm, value);
            ChecksumRow { algorithm: algorithm.name().to_owned(), composite: false, value }
        }
        _ => {
            let values: Vec<u8> = parts.iter().flat_map(|(value, _)| value.iter().copied()).collect();
            ChecksumRow { composite: true, ..algorithm.of(&values) }
        }
    }
}

fn crc_value(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// A stored checksum as S3 writes it. A composite one ends in the number of parts.
pub(super) fn written(checksum: &ChecksumRow, parts: u32) -> String {
    let value = BASE64_STANDARD.encode(&checksum.value);
    if checksum.composite { format!("{value}-{parts}") } else { value }
}

/// The checksum header of a CompleteMultipartUpload, for the whole object. The value is not decoded.
pub(super) fn said_of_whole(headers: &HeaderMap) -> Option<(Algorithm, &str)> {
    Algorithm::ALL
        .into_iter()
        .find_map(|algorithm| Some((algorithm, text(headers, algorithm.header().as_str())?)))
}

/// S3's name for a checksum type: `COMPOSITE` or `FULL_OBJECT`.
pub(super) fn type_name(composite: bool) -> &'static str {
    if composite { "COMPOSITE" } else { "FULL_OBJECT" }
}

/// The response headers for the checksum of an object with `parts` parts, or for the checksum of a part.
pub(super) fn headers(checksum: &ChecksumRow, parts: u32) -> HeaderMap {
    headers_of_type(checksum, parts, checksum.composite)
}

/// The response headers for the checksum of a part of an object. They name the checksum type of the object.
pub(super) fn part_headers(part: &ChecksumRow, whole: &ChecksumRow) -> HeaderMap {
    headers_of_type(part, 0, whole.composite)
}

fn headers_of_type(checksum: &ChecksumRow, parts: u32, composite: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-checksum-type", HeaderValue::from_static(type_name(composite)));
    if let (Some(algorithm), Ok(value)) =
        (Algorithm::named(&checksum.algorithm), HeaderValue::from_str(&written(checksum, parts)))
    {
        headers.insert(algorithm.header(), value);
    }
    headers
}

/// The checksum fields of S3's responses, of which at most one is set.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// Sets the field of a checksum's algorithm.
pub(super) fn fields(checksum: Option<&ChecksumRow>, parts: u32) -> Fields {
    let mut fields = Fields::default();
    let Some(checksum) = checksum else { return fields };
    let value = Some(written(checksum, parts));
    match Algorithm::named(&checksum.algorithm) {
        Some(Crc32) => fields.crc32 = value,
        Some(Crc32c) => fields.crc32c = value,
        Some(Crc64Nvme) => fields.crc64nvme = value,
        Some(Algorithm::Sha1) => fields.sha1 = value,
        Some(Algorithm::Sha256) => fields.sha256 = value,
        None => {}
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Check values for "123456789", from the catalogue of parametrised CRC algorithms and according to FIPS 180.
    #[test]
    fn checksums_match_published_values() {
        for (algorithm, value) in [
            (Crc32, "cbf43926"),
            (Crc32c, "e3069283"),
            (Crc64Nvme, "ae8b14860a799888"),
            (Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ] {
            assert_eq!(hex::encode(algorithm.of(b"123456789").value), value, "{algorithm:?}");
        }
    }

    #[test]
    fn crcs_of_parts_combine_into_the_crc_of_the_whole() {
        for algorithm in [Crc32, Crc32c, Crc64Nvme] {
            let parts =
                [&b"1234"[..], b"", b"56789"].map(|part| (algorithm.of(part).value, part.len() as u64));
            assert_eq!(combine(algorithm, false, &parts), algorithm.of(b"123456789"));
        }
    }
}
