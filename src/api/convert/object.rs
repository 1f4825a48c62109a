//! What S3 says of objects, and their bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_types::Timestamp;

use super::{Failure, signed};
use crate::{
    pb,
    store::{Attributes, Checksum, ChecksumAlgorithm, ChecksumType, ObjectMeta},
};

/// An object's metadata.
pub(crate) fn object_meta(meta: ObjectMeta) -> pb::ObjectMeta {
    pb::ObjectMeta {
        key: meta.key,
        size: signed(meta.size),
        last_modified: meta.last_modified.map(timestamp),
        etag: meta.etag,
        version: meta.version,
        storage_class: meta.storage_class,
        checksums: meta.checksums.into_iter().map(checksum).collect(),
    }
}

/// Many objects' metadata.
pub(crate) fn object_metas(metas: Vec<ObjectMeta>) -> Vec<pb::ObjectMeta> {
    metas.into_iter().map(object_meta).collect()
}

/// An object's headers and user metadata.
pub(crate) fn attributes_message(attributes: Attributes) -> pb::Attributes {
    pb::Attributes {
        content_type: attributes.content_type,
        content_encoding: attributes.content_encoding,
        content_language: attributes.content_language,
        content_disposition: attributes.content_disposition,
        cache_control: attributes.cache_control,
        storage_class: attributes.storage_class,
        metadata: attributes.metadata.into_iter().collect(),
    }
}

/// Bytes for a caller, with their checksum.
pub(crate) fn chunk(data: Bytes) -> pb::Chunk {
    pb::Chunk { crc32c: Some(crc_fast::crc32_iscsi(&data)), data }
}

/// Holds bytes of a caller, in the pieces in which they came, against their checksum where one is given; `what` names
/// them in the error.
pub(crate) fn check_chunk(data: &[Bytes], crc32c: Option<u32>, what: &str) -> Result<(), Failure> {
    let Some(expected) = crc32c else { return Ok(()) };
    match crc32c_of(data) {
        found if found == expected => Ok(()),
        found => Err(Failure::checksum(what, expected, found)),
    }
}

fn crc32c_of(data: &[Bytes]) -> u32 {
    if let [whole] = data {
        return crc_fast::crc32_iscsi(whole);
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for piece in data {
        digest.update(piece);
    }
    // A CRC-32 is the lower half of what the digest gives.
    u32::try_from(digest.finalize()).unwrap_or_default()
}

/// A length of time. No length that occurs here comes near the bound.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: signed(duration.as_secs()), nanos: nanos(duration) }
}

/// An instant.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    // S3 is younger than 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: signed(since.as_secs()), nanos: nanos(since) }
}

fn nanos(duration: Duration) -> i32 {
    i32::try_from(duration.subsec_nanos()).unwrap_or_default()
}

fn checksum(checksum: Checksum) -> pb::Checksum {
    let algorithm = match checksum.algorithm {
        ChecksumAlgorithm::Crc32 => pb::ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c => pb::ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme => pb::ChecksumAlgorithm::Crc64nvme,
        ChecksumAlgorithm::Sha1 => pb::ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256 => pb::ChecksumAlgorithm::Sha256,
    };
    let kind = match checksum.kind {
        ChecksumType::FullObject => pb::ChecksumType::FullObject,
        ChecksumType::Composite => pb::ChecksumType::Composite,
    };
    pb::Checksum { algorithm: algorithm.into(), value: checksum.value.into(), r#type: kind.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ErrorKind;

    #[test]
    fn metadata_goes_over_whole() {
        let meta = ObjectMeta {
            key: "a//b/../c".to_owned(),
            size: 5 << 40,
            last_modified: Some(UNIX_EPOCH + Duration::new(1_700_000_000, 5)),
            etag: "\"e\"".to_owned(),
            version: "v".to_owned(),
            storage_class: "STANDARD_IA".to_owned(),
            checksums: vec![Checksum {
                algorithm: ChecksumAlgorithm::Crc64Nvme,
                value: vec![1; 8],
                kind: ChecksumType::Composite,
            }],
        };
        let message = object_meta(meta);
        assert_eq!(message.key, "a//b/../c");
        assert_eq!(message.size, 5 << 40);
        assert_eq!(message.last_modified, Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }));
        assert_eq!(message.checksums[0].algorithm(), pb::ChecksumAlgorithm::Crc64nvme);
        assert_eq!(message.checksums[0].r#type(), pb::ChecksumType::Composite);
    }

    #[test]
    fn chunks_carry_the_crc_that_rfc_3720_gives_for_them() {
        // RFC 3720, appendix B.4: 32 bytes of zeroes.
        assert_eq!(chunk(Bytes::from_static(&[0; 32])).crc32c, Some(0x8a91_36aa));
    }

    #[test]
    fn a_chunk_is_held_against_its_checksum() {
        let data = Bytes::from_static(&[0; 32]);
        let (start, end) = (data.slice(..5), data.slice(5..));
        let pieces = [start, Bytes::new(), end];
        assert!(check_chunk(&pieces, None, "chunk").is_ok());
        assert!(check_chunk(&pieces, Some(0x8a91_36aa), "chunk").is_ok());
        assert!(check_chunk(&[data], Some(0x8a91_36aa), "chunk").is_ok());
        match check_chunk(&pieces, Some(0x8a91_36ab), "chunk 3").unwrap_err() {
            Failure::Store(error) => {
                assert_eq!(error.kind(), ErrorKind::ChecksumMismatch);
                assert!(error.message().starts_with("chunk 3 has the CRC-32C 8a9136aa and not 8a9136ab"));
            }
            other => panic!("{other:?}"),
        }
    }
}
