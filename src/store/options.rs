//! What an operation on a store can be told, and what it answers.

use std::time::Duration;

use super::PageMemory;
use crate::s3::{Attributes, ByteRange, ChecksumAlgorithm, Conditions, Error, ObjectMeta, Tags};

/// Which object to read, and on what conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// A version id; `None` is the current version.
    pub version: Option<String>,
    /// Conditions that must hold.
    pub conditions: Conditions,
}

/// Whether a write may replace what is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WriteMode {
    /// It may. The default.
    #[default]
    Overwrite,
    /// Only if the key does not exist.
    Create,
    /// Only if the object is still the one with this ETag, and this version where one is given.
    Update {
        /// The ETag, quotes included or not.
        etag: String,
        /// The version id.
        version: Option<String>,
    },
}

/// How an object is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Attributes of the new object.
    pub attributes: Attributes,
    /// Tags of the new object.
    pub tags: Tags,
    /// Whether it may replace another.
    pub mode: WriteMode,
    /// The checksum sent to S3; `None` is the store's.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
}

/// How an upload is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadOptions {
    /// As for every write.
    pub write: WriteOptions,
    /// The object's size in bytes if it is known: more or fewer bytes fail the upload.
    pub size: Option<u64>,
    /// The part size to begin with; `None` is the store's.
    pub part_size: Option<u64>,
}

/// What the writer of an upload knows of the whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UploadClaim {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its CRC-32C.
    pub crc32c: Option<u32>,
}

/// A finished upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// The object.
    pub meta: ObjectMeta,
    /// How many parts it went up in; 0 for a single put.
    pub parts: u32,
}

/// An object without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Its attributes.
    pub attributes: Attributes,
}

/// The beginning of a read: what is read, and which bytes follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadInfo {
    /// The object's metadata.
    pub meta: ObjectMeta,
    /// The object's attributes.
    pub attributes: Attributes,
    /// The first byte that follows.
    pub start: u64,
    /// The byte after the last that follows.
    pub end: u64,
}

/// Several ranges of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangesOptions {
    /// The ranges in the order in which they are wanted, 1 to 1,000.
    pub ranges: Vec<ByteRange>,
    /// Neighbours in this order that are less than this many bytes apart are fetched by one request; 0: none are.
    pub coalesce_bytes: u64,
    /// Which object, on what conditions.
    pub read: ReadOptions,
}

/// A page of a listing, as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Keys that have this after the prefix are rolled up into common prefixes; empty for none.
    pub delimiter: String,
    /// Only keys after this one, in UTF-8 byte order.
    pub start_after: String,
    /// How many objects and common prefixes at most, 1 to 1,000.
    pub page_size: u16,
    /// Where the page before ended, as [`ListPage::continuation`] gave it.
    pub continuation: Option<String>,
}

/// A page of a listing.
#[derive(Debug)]
pub struct ListPage {
    /// The objects, in key order.
    pub objects: Vec<ObjectMeta>,
    /// The common prefixes, in order, relative to the store's prefix.
    pub common_prefixes: Vec<String>,
    /// How many entries the server listed that are left out, because they cannot be read.
    pub skipped: usize,
    /// Where the next page begins; `None` at the end.
    pub continuation: Option<String>,
    /// What the page takes of the tenant's memory budget.
    pub memory: PageMemory,
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The object at the destination.
    pub meta: ObjectMeta,
    /// The source's storage class, where the copy has the destination's default instead.
    pub dropped_storage_class: Option<String>,
}

/// A walk below a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalkOptions {
    /// Only keys that begin with this.
    pub prefix: String,
    /// Only keys after this one.
    pub start_after: String,
    /// How many objects at most; `None` is all.
    pub limit: Option<u64>,
}

/// The next objects of a walk.
#[derive(Debug)]
pub struct WalkPage {
    /// In key order; none if all entries of the page are left out.
    pub objects: Vec<ObjectMeta>,
    /// How many entries are left out, because they cannot be read.
    pub skipped: usize,
    /// What the page takes of the tenant's memory budget.
    pub memory: PageMemory,
}

/// How an object is copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Which version of the source, on what conditions.
    pub source: ReadOptions,
    /// Whether the destination may be replaced.
    pub mode: WriteMode,
    /// New attributes; `None` keeps the source's.
    pub attributes: Option<Attributes>,
    /// New tags; `None` keeps the source's.
    pub tags: Option<Tags>,
}

/// One step of looking whether a store works.
#[derive(Debug, Clone)]
pub struct CheckStep {
    /// What was tried: `credentials`, `list`; with writes also `write`, `create_condition`,
    /// `update_condition`, `multipart_create_condition`, `multipart_update_condition`, `delete`.
    pub name: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// What was wrong, if anything.
    pub outcome: Result<String, Error>,
    /// What would mend it; empty where all is well.
    pub fix: String,
}
