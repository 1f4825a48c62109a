//! The state of an upload that several calls write.

use std::ops::Range;

use super::ChecksumAlgorithm;

/// Everything that any process needs to resume an upload. It gives write access to the upload, so callers must not
/// see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableUpload {
    /// The object's key, relative to the store's prefix.
    pub key: String,
    /// S3's id of the upload.
    pub s3_upload_id: String,
    /// The algorithm of its parts' checksums.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
    /// The object's size in bytes, if it is known.
    pub size: Option<u64>,
    /// The size of the first part in bytes. Together with `parts_grow` and `max_in_flight_bytes`, it determines the size of
    /// every part.
    pub part_size: u64,
    /// Whether the part size doubles every 2,000 parts.
    pub parts_grow: bool,
    /// Maximum size of a part, and of all parts in flight together, in bytes.
    pub max_in_flight_bytes: u64,
    /// Identifies the object as this upload's; empty if the store's `write_id` is off.
    pub write_id: String,
}

#[cfg(test)]
impl ResumableUpload {
    /// An upload in parts of 5 MiB, which grow if the size is not known.
    pub(super) fn of_size(size: Option<u64>) -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            key: "k".to_owned(),
            s3_upload_id: "u".to_owned(),
            checksum_algorithm: None,
            size,
            parts_grow: size.is_none(),
            part_size: 5 * MIB,
            max_in_flight_bytes: 128 * MIB,
            write_id: String::new(),
        }
    }
}

/// The bytes of an upload that S3 has stored, in whole parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersistedBytes {
    /// Number of bytes from the first one up to the first gap.
    pub size: u64,
    /// The ranges beyond the first gap, in order. They neither touch nor overlap.
    pub ranges: Vec<Range<u64>>,
}
