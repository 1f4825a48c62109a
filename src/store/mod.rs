//! A store, with one file per operation on objects. This module decides which requests an operation needs; `s3` sends
//! them.

mod bucket;
mod budget;
mod check;
mod conditional;
mod copy;
mod delete;
mod delete_many;
mod findings;
mod key;
mod list;
#[cfg(test)]
mod memory_tests;
mod options;
mod orphans;
mod page_memory;
mod prefixes;
mod progress;
mod put;
mod ranges;
mod read;
mod rename;
mod restore;
mod resumable;
mod settings;
mod sign;
mod sign_parts;
mod sign_post;
mod tags;
mod transfer;
mod transfer_progress;
mod upload;
mod upload_state;
mod upload_writer;
mod versions;
mod walk;

use std::sync::{Arc, atomic::AtomicBool};

use tokio::time::Instant;

pub(crate) use crate::s3::sum_of;
pub use crate::s3::{
    Attributes, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, Conditions, CorsRule, Deleted, Error,
    ErrorKind, FailedCondition, Field, LastError, ObjectId, ObjectMeta, ObjectTags, ObjectVersion, PostForm,
    PostSuccess, PostTarget, PresignedUrl, Properties, ResponseHeaders, RestoreOptions, RestoreStatus,
    RestoreTier, Restoring, ServiceDetails, Tags, UploadOffsets, Versioning,
};
pub use crate::transport::{ConnectionCounts, limit_connections, open_connections};
pub use bucket::BucketInfo;
pub use budget::{MemoryBudget, MemorySettings, Reservation, TenantBudget};
pub use delete_many::{BatchRoom, DeleteBatches, DeletedBatch};
pub use findings::Findings;
pub use options::*;
pub use orphans::Orphans;
pub use page_memory::PageMemory;
pub use ranges::{RangePiece, RangesReader};
pub use resumable::{FinishedUpload, UnfinishedUpload, UploadProgress, UploadsPage, Verification};
pub use settings::{ConditionalPut, CopyIfNotExists, OrphanSettings, StoreSettings, TransferSettings};
pub use sign::{SignedOperation, SignedWrite, UrlSigner};
pub use sign_parts::{PartSigner, SignedPart};
pub use sign_post::PostOptions;
pub(crate) use transfer::chunk::{ChunkSum, check_chunk};
pub use transfer::object_reader::ObjectReader;
pub use transfer::schedule::PartRun;
pub use transfer::speed_record::SpeedRecord;
pub use transfer_progress::TransferProgress;
pub use upload::Upload;
pub use upload_state::{PersistedBytes, ResumableUpload};
pub use upload_writer::UploadWriter;

use crate::{
    credentials::{Origin, Providers, StoreFacts},
    s3::Client,
    tasks::Tasks,
    telemetry::{CallerUsage, Metrics, S3Requests},
    transport::HttpClient,
};

/// A store of objects in one bucket, under one prefix. Cheap to clone.
///
/// Dropping the future of an operation cancels its request to S3. If that can leave something behind in S3, the
/// operation documents what.
#[derive(Debug, Clone)]
pub struct S3Store {
    inner: Arc<Inner>,
    client: Client,
    record: SpeedRecord,
    /// The largest object that a copy may write.
    largest_copy: Option<u64>,
    /// Where copies and finished uploads report their progress.
    progress: TransferProgress,
}

/// What a store uses at one point in time.
#[derive(Debug, Clone)]
pub struct StoreState {
    /// Its connections to S3.
    pub connections: ConnectionCounts,
    /// Its last failure that no caller caused.
    pub last_error: Option<Arc<LastError>>,
    /// Where the credentials in use come from.
    pub credentials: Origin,
}

#[derive(Debug)]
struct Inner {
    settings: StoreSettings,
    tasks: Tasks,
    budget: TenantBudget,
    /// Whether a check found that the server ignores conditions on PutObject.
    puts_ignore_conditions: AtomicBool,
    /// Whether a check found that the server ignores conditions on CompleteMultipartUpload.
    completes_ignore_conditions: AtomicBool,
    /// Whether the server returned neither a strong ETag nor a version for the last object of which ranges were read.
    lacks_pins: AtomicBool,
    /// Whether a walk found that the server does not list keys in ascending order, or ignores where to start.
    lists_in_any_order: AtomicBool,
}

impl S3Store {
    /// Creates a store without connecting to it, with a credential provider from its tenant's `providers`. Fails with [`ErrorKind::StoreMisconfigured`] if the settings are
    /// invalid.
    pub fn new(
        settings: StoreSettings,
        providers: &Providers,
        metrics: Metrics,
        tasks: Tasks,
        budget: TenantBudget,
    ) -> Result<Self, Error> {
        let http =
            HttpClient::new(&settings.client_options, providers.lookups().clone()).map_err(|error| {
                Error::new(ErrorKind::StoreMisconfigured, "the store's client_options are invalid")
                    .caused_by(error)
            })?;
        let facts = StoreFacts {
            http: &http,
            client_options: &settings.client_options,
            region: &settings.bucket.region,
            endpoint: settings.bucket.endpoint.as_deref(),
            bucket: &settings.bucket.bucket,
        };
        let credentials = providers.provider(settings.credential_provider.clone(), facts);
        let retry = settings.retry_config.clone();
        let hedge_after = settings.transfer.hedge_after;
        let client = Client::new(settings.bucket.clone(), http, credentials, retry, hedge_after, metrics)?;
        let inner = Inner {
            settings,
            tasks,
            budget,
            puts_ignore_conditions: AtomicBool::new(false),
            completes_ignore_conditions: AtomicBool::new(false),
            lacks_pins: AtomicBool::new(false),
            lists_in_any_order: AtomicBool::new(false),
        };
        Ok(Self {
            inner: Arc::new(inner),
            client,
            record: SpeedRecord::default(),
            largest_copy: None,
            progress: TransferProgress::default(),
        })
    }

    /// Returns the settings that the store was created with.
    pub fn settings(&self) -> &StoreSettings {
        &self.inner.settings
    }

    /// Returns the same store for a call with this deadline. No retry starts after the deadline.
    #[must_use]
    pub fn until(&self, deadline: Option<std::time::Instant>) -> Self {
        Self { client: self.client.until(deadline.map(Instant::from_std)), ..self.clone() }
    }

    /// Admits a call. If S3 has not answered for a while (`retry_config.circuit_breaker`), the call fails at once, and
    /// the error says when to try again.
    pub fn admit(&self) -> Result<(), Error> {
        self.client.admit()
    }

    /// The same store, for requests whose failure costs little: they are not retried.
    fn without_retries(&self) -> Self {
        Self { client: self.client.without_retries(), ..self.clone() }
    }

    /// Returns the same store for calls on the connection that `record` belongs to. By default, all calls on a store
    /// share one record, as if they came over one connection.
    #[must_use]
    pub fn on_connection(self, record: SpeedRecord) -> Self {
        Self { record, ..self }
    }

    /// Returns the same store, whose requests to S3 count as used by this caller.
    #[must_use]
    pub fn counted_by(self, usage: CallerUsage) -> Self {
        Self { client: self.client.counted_by(usage), ..self }
    }

    /// Returns the same store, which records the ids of S3's responses for the audit log.
    #[must_use]
    pub fn recorded_by(self, responses: Option<S3Requests>) -> Self {
        Self { client: self.client.recorded_by(responses), ..self }
    }

    /// What the store uses now.
    pub fn state(&self) -> StoreState {
        StoreState {
            connections: self.client.connections(),
            last_error: self.client.last_error(),
            credentials: self.client.credentials_origin(),
        }
    }

    /// Returns the same store, which copies no object larger than this many bytes: larger ones fail with
    /// [`ErrorKind::LimitExceeded`].
    #[must_use]
    pub fn copying_at_most(self, largest_copy: Option<u64>) -> Self {
        Self { largest_copy, ..self }
    }

    /// Returns the same store, whose copies and finished uploads report their progress.
    #[must_use]
    pub fn reporting(self, progress: TransferProgress) -> Self {
        Self { progress, ..self }
    }

    /// Whether this is the only clone of the store, and no operation uses it.
    pub(crate) fn is_only_clone(&self) -> bool {
        Arc::strong_count(&self.inner) == 1 && self.client.is_only_clone()
    }

    /// Closes the connections that carry no request.
    pub(crate) fn close_idle_connections(&self) {
        self.client.close_idle_connections();
    }

    /// Whether both are clones of one store.
    pub(crate) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    fn client(&self) -> &Client {
        &self.client
    }
}
