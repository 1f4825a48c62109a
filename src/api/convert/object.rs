//! Converts objects' metadata and bytes into messages.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use prost_types::Timestamp;

use crate::{
    pb,
    store::{Attributes, Checksum, ChecksumAlgorithm, ChecksumType, ObjectMeta, sum_of},
};

/// A size, offset or count for the wire. Real objects stay far below the bound.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Converts an object's metadata.
pub(crate) fn object_meta(meta: ObjectMeta) -> pb::ObjectMeta {
    let ObjectMeta { key, size, properties } = meta;
    pb::ObjectMeta {
        key,
        size: signed(size),
        last_modified: properties.last_modified.map(timestamp),
        etag: properties.etag.unwrap_or_default(),
        version: properties.version.unwrap_or_default(),
        storage_class: properties.storage_class.unwrap_or_default(),
        checksums: properties.checksums.into_iter().map(checksum).collect(),
    }
}

/// Converts the metadata of many objects.
pub(crate) fn object_metas(metas: Vec<ObjectMeta>) -> Vec<pb::ObjectMeta> {
    metas.into_iter().map(object_meta).collect()
}

/// Converts an object's headers and user metadata.
pub(crate) fn attributes_message(attributes: Attributes) -> pb::Attributes {
    pb::Attributes {
        content_type: attributes.content_type,
        content_encoding: attributes.content_encoding,
        content_language: attributes.content_language,
        content_disposition: attributes.content_disposition,
        cache_control: attributes.cache_control,
        expires: attributes.expires,
        storage_class: attributes.storage_class,
        metadata: attributes.metadata.into_iter().collect(),
    }
}

/// A chunk with its checksum.
pub(crate) fn chunk(data: Bytes) -> pb::Chunk {
    chunk_of_pieces(data, &[])
}

/// A chunk with its first piece and the checksum of all pieces.
pub(crate) fn chunk_of_pieces(first: Bytes, more: &[Bytes]) -> pb::Chunk {
    pb::Chunk { crc32c: Some(sum_of(std::iter::once(&first).chain(more))), data: first }
}

/// Converts a duration. Durations that occur here stay far below the bound.
pub(crate) fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: signed(duration.as_secs()), nanos: nanos(duration) }
}

/// Converts a time.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    // S3 has no times before 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: signed(since.as_secs()), nanos: nanos(since) }
}

fn nanos(duration: Duration) -> i32 {
    i32::try_from(duration.subsec_nanos()).unwrap_or_default()
}

/// Converts an algorithm of checksums.
pub(crate) fn algorithm_message(algorithm: Option<ChecksumAlgorithm>) -> pb::ChecksumAlgorithm {
    match algorithm {
        None => pb::ChecksumAlgorithm::Unspecified,
        Some(ChecksumAlgorithm::Crc32) => pb::ChecksumAlgorithm::Crc32,
        Some(ChecksumAlgorithm::Crc32c) => pb::ChecksumAlgorithm::Crc32c,
        Some(ChecksumAlgorithm::Crc64Nvme) => pb::ChecksumAlgorithm::Crc64nvme,
        Some(ChecksumAlgorithm::Sha1) => pb::ChecksumAlgorithm::Sha1,
        Some(ChecksumAlgorithm::Sha256) => pb::ChecksumAlgorithm::Sha256,
    }
}

fn checksum(checksum: Checksum) -> pb::Checksum {
    let algorithm = algorithm_message(Some(checksum.algorithm));
    let kind = match checksum.kind {
        Some(ChecksumType::FullObject) => pb::ChecksumType::FullObject,
        Some(ChecksumType::Composite) => pb::ChecksumType::Composite,
        None => pb::ChecksumType::Unspecified,
    };
    pb::Checksum { algorithm: algorithm.into(), value: checksum.value.into(), r#type: kind.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Properties;

    #[test]
    fn metadata_is_converted_completely() {
        let meta = ObjectMeta {
            key: "a//b/../c".to_owned(),
            size: 5 << 40,
            properties: Properties {
                last_modified: Some(UNIX_EPOCH + Duration::new(1_700_000_000, 5)),
                etag: Some("\"e\"".to_owned()),
                version: Some("null".to_owned()),
                storage_class: Some("STANDARD_IA".to_owned()),
                checksums: vec![Checksum {
                    algorithm: ChecksumAlgorithm::Crc64Nvme,
                    value: vec![1; 8],
                    kind: Some(ChecksumType::Composite),
                }],
            },
        };
        let message = object_meta(meta);
        assert_eq!(message.key, "a//b/../c");
        assert_eq!((message.size, message.version.as_str()), (5 << 40, "null"));
        assert_eq!(message.last_modified, Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }));
        assert_eq!(message.checksums[0].algorithm(), pb::ChecksumAlgorithm::Crc64nvme);
        assert_eq!(message.checksums[0].r#type(), pb::ChecksumType::Composite);
    }

    #[test]
    fn chunks_carry_the_crc32c_of_rfc_3720() {
        // RFC 3720, appendix B.4: 32 bytes of zeroes.
        assert_eq!(chunk(Bytes::from_static(&[0; 32])).crc32c, Some(0x8a91_36aa));
    }
}
