//! A store: one file per operation on objects. Says which requests an operation takes; `s3` makes them.

mod options;
mod settings;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::stream::Stream;

pub use crate::s3::{
    Attributes, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, Conditions, Error, ErrorKind, ObjectMeta,
    ServiceDetails, Tags,
};
pub use options::*;
pub use settings::{ConditionalPut, CopyIfNotExists, StoreSettings, TransferSettings};

use crate::telemetry::{Metrics, Tasks};

/// A store of objects in one bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct S3Store {
    _inner: Arc<()>,
}

/// A read under way: what is read, then its bytes. Dropping it ends the request.
#[derive(Debug)]
pub struct ObjectReader {
    info: ReadInfo,
}

impl ObjectReader {
    /// What is read.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }
    /// The next bytes, at most 1 MiB and never empty; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        todo!()
    }
}

/// A piece of one of several ranges.
#[derive(Debug)]
pub struct RangePiece {
    /// Which of the ranges asked for.
    pub index: usize,
    /// Where in the object the data begins.
    pub offset: u64,
    /// The data, at most 1 MiB; empty only for an empty range.
    pub data: Bytes,
}

/// The ranges of an object, read one after another.
#[derive(Debug)]
pub struct RangesReader {
    info: ReadInfo,
}

impl RangesReader {
    /// What is read; `start..end` is the first range.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }
    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<RangePiece, Error>> {
        todo!()
    }
}

/// An upload under way. Dropping it before [`Upload::finish`] aborts it in S3.
#[derive(Debug)]
pub struct Upload {}

impl Upload {
    /// Takes the next bytes; waits while as many parts are under way as may be. Cancel-safe only in that dropping the upload aborts it.
    pub async fn write(&mut self, _data: Bytes) -> Result<(), Error> {
        todo!()
    }
    /// Waits until a part has failed: to notice it while the caller is silent. Never returns while all is well.
    pub async fn failed(&mut self) -> Error {
        todo!()
    }
    /// Writes what is left, holds the whole against `claim`, and makes the object visible.
    pub async fn finish(self, _claim: UploadClaim) -> Result<Uploaded, Error> {
        todo!()
    }
}

impl S3Store {
    /// A store; nothing is connected yet.
    pub fn new(_settings: StoreSettings, _metrics: Metrics, _tasks: Tasks) -> Result<Self, Error> {
        todo!()
    }
    /// What it was built from.
    pub fn settings(&self) -> &StoreSettings {
        todo!()
    }
    /// The same store for a call that ends at `deadline`: no retry begins that could not end before.
    #[must_use]
    pub fn until(&self, _deadline: Option<Instant>) -> Self {
        todo!()
    }
    /// An object's metadata.
    pub async fn head(&self, _key: &str, _options: &ReadOptions) -> Result<Head, Error> {
        todo!()
    }
    /// Reads an object or one range of it.
    pub async fn get(&self, _key: &str, _range: Option<ByteRange>, _options: &ReadOptions) -> Result<ObjectReader, Error> {
        todo!()
    }
    /// Reads several ranges of one object.
    pub async fn get_ranges(&self, _key: &str, _options: RangesOptions) -> Result<RangesReader, Error> {
        todo!()
    }
    /// Writes a whole object.
    pub async fn put(&self, _key: &str, _data: Bytes, _options: WriteOptions) -> Result<ObjectMeta, Error> {
        todo!()
    }
    /// Begins an upload; nothing is sent before there is a part's worth of bytes.
    pub fn upload(&self, _key: &str, _options: UploadOptions) -> Result<Upload, Error> {
        todo!()
    }
    /// One page of keys.
    pub async fn list(&self, _options: &ListOptions) -> Result<ListPage, Error> {
        todo!()
    }
    /// Every object below a prefix, page by page, the next fetched while the last is used.
    pub fn walk(&self, _options: WalkOptions) -> impl Stream<Item = Result<Vec<ObjectMeta>, Error>> + Send + 'static {
        futures::stream::empty()
    }
    /// Copies `key` of `source` to `destination` in this store.
    pub async fn copy_from(&self, _source: &S3Store, _key: &str, _destination: &str, _options: CopyOptions) -> Result<ObjectMeta, Error> {
        todo!()
    }
    /// Copies as [`S3Store::copy_from`], then deletes the source.
    pub async fn rename_from(&self, _source: &S3Store, _key: &str, _destination: &str, _mode: WriteMode) -> Result<ObjectMeta, Error> {
        todo!()
    }
    /// Deletes one object or version; a missing key is success.
    pub async fn delete(&self, _object: &ObjectId) -> Result<Deleted, Error> {
        todo!()
    }
    /// Deletes up to 1,000 objects; one outcome each, in order.
    pub async fn delete_many(&self, _objects: &[ObjectId]) -> Vec<Result<Deleted, Error>> {
        todo!()
    }
    /// Looks whether the store works, step by step; `probe_writes` writes and deletes one scratch key.
    pub async fn check(&self, _probe_writes: bool) -> Vec<CheckStep> {
        todo!()
    }
}
