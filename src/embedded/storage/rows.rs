//! The rows of the database, as protobuf messages: compact, and readable by later versions that add fields. Field
//! numbers are part of the format on disk, and a number is never reused.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A bucket and its configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::embedded) struct BucketRow {
    /// Seconds since 1970.
    #[prost(uint64, tag = "1")]
    pub(in crate::embedded) created: u64,
    #[prost(bool, tag = "2")]
    pub(in crate::embedded) requester_pays: bool,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::embedded) cors: Vec<CorsRow>,
    #[prost(enumeration = "Versioning", tag = "4")]
    pub(in crate::embedded) versioning: i32,
}

/// Whether a bucket keeps versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(in crate::embedded) enum Versioning {
    /// It never has. Each object has one version, `null`.
    Never = 0,
    /// Each write adds a version.
    Enabled = 1,
    /// Each write replaces the version `null`. Other versions stay.
    Suspended = 2,
}

/// A rule of a bucket's CORS configuration.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::embedded) struct CorsRow {
    #[prost(string, optional, tag = "1")]
    pub(in crate::embedded) id: Option<String>,
    #[prost(string, repeated, tag = "2")]
    pub(in crate::embedded) methods: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub(in crate::embedded) origins: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub(in crate::embedded) headers: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(in crate::embedded) exposed: Vec<String>,
    #[prost(int32, optional, tag = "6")]
    pub(in crate::embedded) max_age: Option<i32>,
}

/// An object: everything but its bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::embedded) struct ObjectRow {
    #[prost(uint64, tag = "1")]
    pub(in crate::embedded) size: u64,
    /// Without quotes.
    #[prost(string, tag = "2")]
    pub(in crate::embedded) etag: String,
    /// Seconds since 1970. S3 records the time of a write to the second.
    #[prost(uint64, tag = "3")]
    pub(in crate::embedded) modified: u64,
    /// The body that holds the object's bytes: the bytes of its parts, in order.
    #[prost(uint64, tag = "4")]
    pub(in crate::embedded) body: u64,
    /// The number of parts in which the object was uploaded. 0 after PutObject or CopyObject.
    #[prost(uint32, tag = "5")]
    pub(in crate::embedded) parts: u32,
    #[prost(message, optional, tag = "6")]
    pub(in crate::embedded) checksum: Option<ChecksumRow>,
    #[prost(message, required, tag = "7")]
    pub(in crate::embedded) attributes: AttributesRow,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::embedded) tags: Vec<TagRow>,
    /// Whether the object was uploaded in parts, with a checksum algorithm that the caller chose.
    #[prost(bool, tag = "9")]
    pub(in crate::embedded) parts_have_checksums: bool,
    /// Orders the versions of a key. 0 if the object was written to a bucket that never had versions.
    #[prost(uint64, tag = "10")]
    pub(in crate::embedded) number: u64,
    /// Whether `number` is the version's id. Otherwise, the id is `null`.
    #[prost(bool, tag = "11")]
    pub(in crate::embedded) has_version: bool,
    /// Whether this is a delete marker, which has no body.
    #[prost(bool, tag = "12")]
    pub(in crate::embedded) delete_marker: bool,
    /// Until when a restored copy of an archived object can be read, in seconds since 1970. 0: none was requested.
    #[prost(uint64, tag = "13")]
    pub(in crate::embedded) restored_until: u64,
}

/// Attributes of an object that a write sets and a read returns.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::embedded) struct AttributesRow {
    /// Headers that a read returns unchanged.
    #[prost(message, repeated, tag = "1")]
    pub(in crate::embedded) headers: Vec<HeaderRow>,
    /// Empty for STANDARD.
    #[prost(string, tag = "2")]
    pub(in crate::embedded) storage_class: String,
    /// The MD5 of the customer's key (SSE-C), in base64; empty if the object has no such key.
    #[prost(string, tag = "3")]
    pub(in crate::embedded) customer_key_md5: String,
}

/// A header.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::embedded) struct HeaderRow {
    #[prost(string, tag = "1")]
    pub(in crate::embedded) name: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::embedded) value: Vec<u8>,
}

/// A tag of an object.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::embedded) struct TagRow {
    #[prost(string, tag = "1")]
    pub(in crate::embedded) key: String,
    #[prost(string, tag = "2")]
    pub(in crate::embedded) value: String,
}

/// The checksum of an object or of a part.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(in crate::embedded) struct ChecksumRow {
    /// S3's name for the algorithm: `CRC32`, `SHA256` and so on.
    #[prost(string, tag = "1")]
    pub(in crate::embedded) algorithm: String,
    /// Whether this is a checksum of the parts' checksums, not of the bytes.
    #[prost(bool, tag = "2")]
    pub(in crate::embedded) composite: bool,
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::embedded) value: Vec<u8>,
}

/// A multipart upload in progress.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::embedded) struct UploadRow {
    #[prost(uint64, tag = "1")]
    pub(in crate::embedded) initiated: u64,
    #[prost(message, required, tag = "2")]
    pub(in crate::embedded) attributes: AttributesRow,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::embedded) tags: Vec<TagRow>,
    /// S3's name for the algorithm.
    #[prost(string, tag = "4")]
    pub(in crate::embedded) checksum_algorithm: String,
    #[prost(bool, tag = "5")]
    pub(in crate::embedded) composite: bool,
    /// Whether the caller requested the algorithm. Otherwise it is the one that S3 uses by default.
    #[prost(bool, tag = "6")]
    pub(in crate::embedded) checksum_asked: bool,
}

/// A part of a body. A body that was not uploaded in parts has a single part, number 0.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::embedded) struct PartRow {
    #[prost(uint64, tag = "1")]
    pub(in crate::embedded) blob: u64,
    #[prost(uint64, tag = "2")]
    pub(in crate::embedded) size: u64,
    /// The MD5 of its bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub(in crate::embedded) md5: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(in crate::embedded) modified: u64,
    #[prost(message, optional, tag = "5")]
    pub(in crate::embedded) checksum: Option<ChecksumRow>,
}

/// The current time, in seconds since 1970.
pub(in crate::embedded) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Converts the seconds in a row to a time.
pub(in crate::embedded) fn instant(seconds: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(UNIX_EPOCH)
}
