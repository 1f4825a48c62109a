//! An object's metadata and attributes, as S3's headers carry them.

use std::{collections::BTreeMap, time::SystemTime};

/// An object's metadata, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMeta {
    /// The key, relative to the store's prefix.
    pub key: String,
    /// The whole object's size in bytes.
    pub size: u64,
    /// All other properties.
    pub properties: Properties,
}

/// The properties of an object in a response, except its size. A property that the response omits is `None`, never an
/// empty string.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// When the object was written. The responses to most writes omit it.
    pub last_modified: Option<SystemTime>,
    /// The ETag as the server returns it, including the quotes.
    pub etag: Option<String>,
    /// The version id. `null` is the version of an object that was written without versioning.
    pub version: Option<String>,
    /// The storage class. S3 sends no header for STANDARD.
    pub storage_class: Option<String>,
    /// The checksums of the object that the server stores.
    pub checksums: Vec<Checksum>,
}

impl Properties {
    /// The ETag, if it is strong. Requests cannot be pinned to a weak ETag, which never matches (RFC 9110, section
    /// 13.1.1).
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        let is_strong =
            |etag: &&str| !etag.starts_with("W/") && etag.bytes().all(|byte| byte.is_ascii_graphic());
        self.etag.as_deref().filter(is_strong)
    }
}

/// The attributes that a writer gives to an object and a reader gets back. An empty string means that an attribute is
/// not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// `Content-Type`.
    pub content_type: String,
    /// `Content-Encoding`.
    pub content_encoding: String,
    /// `Content-Language`.
    pub content_language: String,
    /// `Content-Disposition`.
    pub content_disposition: String,
    /// `Cache-Control`.
    pub cache_control: String,
    /// `Expires`: an HTTP date, or any text that another client wrote.
    pub expires: String,
    /// `x-amz-storage-class`.
    pub storage_class: String,
    /// User metadata, `x-amz-meta-*`: lower-case names with values of any text.
    pub metadata: BTreeMap<String, String>,
}

/// Object tags: at most 10, keys up to 128 and values up to 256 characters.
pub type Tags = BTreeMap<String, String>;

/// An algorithm of S3's additional checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    Crc32,
    /// CRC-32C (Castagnoli).
    Crc32c,
    /// CRC-64/NVME.
    Crc64Nvme,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// What a checksum covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumType {
    /// All bytes of the object.
    FullObject,
    /// The checksums of the object's parts.
    Composite,
}

/// One checksum of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// The algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// The raw digest, big-endian.
    pub value: Vec<u8>,
    /// What the checksum covers. `None` if the server does not state it.
    pub kind: Option<ChecksumType>,
}

/// A range of an object, as a caller requests it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// Bytes `start..end`. An `end` beyond the object is clamped to its size. If `start == end`, the range is empty.
    Bounded {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// All bytes from this offset.
    Offset(u64),
    /// This number of bytes at the end, or the whole object if it is shorter.
    Suffix(u64),
}

/// Conditions of a read (RFC 9110, section 13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Read the object only if its ETag is one of these.
    pub if_match: Option<String>,
    /// Read the object only if its ETag is none of these.
    pub if_none_match: Option<String>,
    /// Read the object only if it was modified after this time, in whole seconds.
    pub if_modified_since: Option<SystemTime>,
    /// Read the object only if it was not modified after this time, in whole seconds.
    pub if_unmodified_since: Option<SystemTime>,
}
