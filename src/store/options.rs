//! The options and the results of operations on a store.

use std::time::Duration;

use super::PageMemory;
use crate::{
    credentials::Origin,
    s3::{
        Attributes, ByteRange, ChecksumAlgorithm, Conditions, Error, ObjectMeta, ObjectVersion,
        RestoreStatus, Tags,
    },
};

/// Which version of an object to read, and under which conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// The version id; `None` reads the current version.
    pub version: Option<String>,
    /// The conditions that the object must meet.
    pub conditions: Conditions,
}

/// Whether a write may replace an existing object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WriteMode {
    /// Replaces an existing object. The default.
    #[default]
    Overwrite,
    /// Writes only if the key does not exist.
    Create,
    /// Writes only if the existing object has this ETag, and this version if one is given.
    Update {
        /// The ETag, with or without quotes.
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
    /// Whether the write may replace an existing object.
    pub mode: WriteMode,
    /// The algorithm of the checksum that is sent to S3; `None` uses the store's.
    pub checksum_algorithm: Option<ChecksumAlgorithm>,
}

/// How an upload is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadOptions {
    /// The options that every write has.
    pub write: WriteOptions,
    /// The object's size in bytes, if it is known. The upload fails if it receives more or fewer bytes.
    pub size: Option<u64>,
    /// The part size to start with, in bytes; `None` uses the store's.
    pub part_size: Option<u64>,
}

/// What the caller claims about the whole object.
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
    /// The number of its parts; 0 if it was written with a single PutObject.
    pub parts: u32,
}

/// An object's metadata and attributes, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its metadata.
    pub meta: ObjectMeta,
    /// Its attributes.
    pub attributes: Attributes,
    /// The restored copy, if the object is archived and a restore was requested.
    pub restore: Option<RestoreStatus>,
    /// The archive tier of an object in INTELLIGENT_TIERING. Empty if it is in none.
    pub archive_status: String,
}

/// The start of a read: the object, and the range of its bytes that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadInfo {
    /// The object's metadata.
    pub meta: ObjectMeta,
    /// The object's attributes.
    pub attributes: Attributes,
    /// The offset of the first byte that follows.
    pub start: u64,
    /// The offset after the last byte that follows.
    pub end: u64,
}

/// Which ranges of an object to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangesOptions {
    /// The ranges in the order in which they are read, 1 to 1,000.
    pub ranges: Vec<ByteRange>,
    /// Consecutive ranges that are less than this many bytes apart share a request. 0 fetches each range separately.
    pub coalesce_bytes: u64,
    /// Which version of the object, and under which conditions.
    pub read: ReadOptions,
}

/// Which page of a listing to return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Lists only keys that start with this.
    pub prefix: String,
    /// Keys that contain this after the prefix are grouped into common prefixes. Empty: no grouping.
    pub delimiter: String,
    /// Lists only keys after this one, in UTF-8 byte order.
    pub start_after: String,
    /// Maximum number of objects and common prefixes, 1 to 1,000.
    pub page_size: u16,
    /// The [`ListPage::continuation`] of the previous page.
    pub continuation: Option<String>,
}

/// A page of a listing.
#[derive(Debug)]
pub struct ListPage {
    /// The objects, in key order (in the server's order, if it does not list keys in order).
    pub objects: Vec<ObjectMeta>,
    /// The common prefixes, in order, relative to the store's prefix.
    pub common_prefixes: Vec<String>,
    /// Number of entries that were left out because they cannot be read or lie outside the store's prefix.
    pub skipped: usize,
    /// For each of these that is an object, about how many of the objects precede it.
    pub(super) skipped_at: Vec<usize>,
    /// Where the next page starts; `None` on the last page.
    pub continuation: Option<String>,
    /// The memory that the page holds, from the tenant's budget.
    pub memory: PageMemory,
}

/// The result of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// The object at the destination.
    pub meta: ObjectMeta,
    /// The source's storage class, if the copy has the destination's default class instead.
    pub dropped_storage_class: Option<String>,
}

/// Which objects a walk returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalkOptions {
    /// Returns only keys that start with this.
    pub prefix: String,
    /// Returns only keys after this one.
    pub start_after: String,
    /// Maximum number of objects; `None` returns all.
    pub limit: Option<u64>,
    /// Maximum number of requests in flight; `None` stands for the store's `max_concurrency`, which is also the
    /// maximum.
    pub parallelism: Option<usize>,
}

/// One page of a walk.
#[derive(Debug)]
pub struct WalkPage {
    /// The objects, in key order (in the server's order, if it does not list keys in order). Empty if every entry of
    /// the page was left out.
    pub objects: Vec<ObjectMeta>,
    /// Number of entries that were left out because they cannot be read or lie outside the store's prefix.
    pub skipped: usize,
    /// The memory that the page holds, from the tenant's budget.
    pub memory: PageMemory,
}

/// Which page of a listing of versions to return.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionsOptions {
    /// Lists only versions of keys that start with this.
    pub prefix: String,
    /// Keys that contain this after the prefix are grouped into common prefixes. Empty: no grouping.
    pub delimiter: String,
    /// Lists only versions of keys after this one, in UTF-8 byte order.
    pub start_after: String,
    /// Maximum number of versions and common prefixes, 1 to 1,000.
    pub page_size: u16,
    /// The [`VersionsPage::continuation`] of the previous page.
    pub continuation: Option<String>,
}

/// Which versions a walk returns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WalkVersionsOptions {
    /// Returns only versions of keys that start with this.
    pub prefix: String,
    /// Returns only versions of keys after this one. With `start_after_version`, also the versions of this key that come
    /// after that version.
    pub start_after: String,
    /// Empty: no version of `start_after` is returned.
    pub start_after_version: String,
    /// Maximum number of versions; `None` returns all.
    pub limit: Option<u64>,
}

/// A page of versions.
#[derive(Debug)]
pub struct VersionsPage {
    /// The versions and delete markers: by key, and the newest version of a key first.
    pub versions: Vec<ObjectVersion>,
    /// The common prefixes, in order, relative to the store's prefix.
    pub common_prefixes: Vec<String>,
    /// Number of entries that were left out because they cannot be read or lie outside the store's prefix.
    pub skipped: usize,
    /// Where the next page starts; `None` on the last page, and in a walk.
    pub continuation: Option<String>,
    /// The memory that the page holds, from the tenant's budget.
    pub memory: PageMemory,
}

/// How an object is copied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyOptions {
    /// Which version of the source to copy, and under which conditions.
    pub source: ReadOptions,
    /// Whether the copy may replace an existing object.
    pub mode: WriteMode,
    /// New attributes; `None` keeps the source's.
    pub attributes: Option<Attributes>,
    /// New tags; `None` keeps the source's.
    pub tags: Option<Tags>,
}

/// The result of a store check.
#[derive(Debug, Clone)]
pub struct StoreCheck {
    /// The steps in the order in which they ran.
    pub steps: Vec<CheckStep>,
    /// Where the store's credentials come from; `None` if there are none.
    pub credentials: Option<Origin>,
}

/// One step of a store check.
#[derive(Debug, Clone)]
pub struct CheckStep {
    /// What was checked: `credentials` or `list`. If writes are probed, also `write`, `create_condition`,
    /// `update_condition`, `multipart_create_condition`, `multipart_update_condition` or `delete`.
    pub name: &'static str,
    /// How long it took.
    pub duration: Duration,
    /// What succeeded, or the error.
    pub outcome: Result<String, Error>,
    /// How to fix the error; empty on success or if no fix is known.
    pub fix: String,
}
