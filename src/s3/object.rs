//! An object's metadata and attributes, as S3's headers carry them.

use std::{collections::BTreeMap, time::SystemTime};

/// An object without its bytes. What the server does not say of it is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObjectMeta {
    /// The key, relative to the store's prefix.
    pub key: String,
    /// The whole object's size in bytes.
    pub size: u64,
    /// Everything else.
    pub properties: Properties,
}

/// What an answer says of an object besides its size. What it leaves out is `None`, and never an empty text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// When it was written; answers to most writes do not say it.
    pub last_modified: Option<SystemTime>,
    /// The entity tag as the server gives it, quotes included.
    pub etag: Option<String>,
    /// The version id; `null` is the version of an object that was written without one.
    pub version: Option<String>,
    /// The storage class. S3 does not name STANDARD.
    pub storage_class: Option<String>,
    /// Checksums of the whole object that the server keeps.
    pub checksums: Vec<Checksum>,
}

impl Properties {
    /// The ETag, if a request can be bound to it: weak ones never match (RFC 9110, section 13.1.1).
    pub(crate) fn strong_etag(&self) -> Option<&str> {
        let is_strong =
            |etag: &&str| !etag.starts_with("W/") && etag.bytes().all(|byte| byte.is_ascii_graphic());
        self.etag.as_deref().filter(is_strong)
    }
}

/// What a writer says about an object, and a reader gets back. An empty text is an attribute not set.
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
    /// `Expires`: a date by HTTP's rules, or any text that another writer gave it.
    pub expires: String,
    /// `x-amz-storage-class`.
    pub storage_class: String,
    /// User metadata, `x-amz-meta-*`: names lower-case, values any text.
    pub metadata: BTreeMap<String, String>,
}

/// Object tags: at most 10, keys up to 128 and values up to 256 characters.
pub type Tags = BTreeMap<String, String>;

/// An additional checksum of S3's.
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

/// Of what a checksum was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumType {
    /// Of all bytes of the object.
    FullObject,
    /// Of the checksums of its parts.
    Composite,
}

/// One checksum of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// By which algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// The raw digest, big-endian.
    pub value: Vec<u8>,
    /// Of what; `None` where the server does not say it.
    pub kind: Option<ChecksumType>,
}

/// A part of an object, as a caller asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// Bytes `start..end`; an `end` beyond the object is cut, `start == end` is no bytes.
    Bounded {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// Everything from this byte on.
    Offset(u64),
    /// The last bytes, this many, or the whole object if it is shorter.
    Suffix(u64),
}

/// Conditions of a read (RFC 9110, section 13).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Only if the ETag is one of these.
    pub if_match: Option<String>,
    /// Only if the ETag is none of these.
    pub if_none_match: Option<String>,
    /// Only if modified after this instant (whole seconds).
    pub if_modified_since: Option<SystemTime>,
    /// Only if not modified after this instant (whole seconds).
    pub if_unmodified_since: Option<SystemTime>,
}
