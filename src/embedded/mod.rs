//! An S3 server in this process that keeps its data in a folder. It is for the demo, for tests, and for small services
//! on one machine.
//!
//! Callers reach it like any other S3 server: over loopback HTTP, with SigV4. The crate `s3s` implements the protocol.
//! `s3s_adapter` corrects what s3s does differently from S3, and `operations` implements S3's operations on the rows
//! and files of `storage`. Acknowledged writes are on disk. Bodies are streamed in both directions, so little of them
//! is in memory. `docs/EMBEDDED.md` lists the differences from S3.
//!
//! This module imports none of Longshore's other modules.

mod checksums;
mod connection;
mod error;
mod fault;
mod folder;
mod keys;
mod operations;
mod received;
mod s3s_adapter;
mod serve;
mod storage;

use std::{net::SocketAddr, path::Path, sync::Arc};

use http::HeaderMap;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use error::EmbeddedError;
pub use fault::{Effect, Fault, Faults, InjectedError, Requests};
use folder::Folder;
use keys::Keys;
use operations::Operations;
use s3s_adapter::S3sAdapter;
use storage::{Storage, Versioning};

/// A running S3 server. Dropping it closes its connections at once. The stored data stays in the folder.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    keys: Keys,
    faults: Arc<Faults>,
    stopping: CancellationToken,
    serving: JoinSet<()>,
    storage: Arc<Storage>,
    _folder: Folder,
}

impl Embedded {
    /// Serves the data in `folder` on `address`, which must be a loopback address. Port 0 selects a free port. Buckets
    /// in `buckets` that do not exist are created.
    ///
    /// The folder is created if it does not exist. Only one server can use it at a time. It also holds the access keys,
    /// so data and keys are the same in the next run.
    pub async fn start(folder: &Path, address: SocketAddr, buckets: &[&str]) -> Result<Self, EmbeddedError> {
        if !address.ip().is_loopback() {
            return Err(EmbeddedError::NotLoopback { address });
        }
        let folder = Folder::open(folder)?;
        let keys = Keys::of(&folder)?;
        let storage = Arc::new(open(&folder)?);
        make_buckets(&storage, buckets).await?;
        let faults = Arc::new(Faults::default());
        let front = S3sAdapter::new(Operations(Arc::clone(&storage)), keys.clone(), Arc::clone(&faults));

        let refused = |source| EmbeddedError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stopping = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve::serve(listener, front, stopping.clone()));
        Ok(Self { address, keys, faults, stopping, serving, storage, _folder: folder })
    }

    /// The address on which the server listens for plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's access key id. If its credentials file has several, this is the id of `[default]`, or else the
    /// first.
    pub fn access_key_id(&self) -> &str {
        self.keys.access_key_id()
    }

    /// The secret access key that belongs to [`Self::access_key_id`].
    pub fn secret_access_key(&self) -> &str {
        self.keys.secret_access_key()
    }

    /// Enables versioning of a bucket, as PutBucketVersioning does.
    pub async fn enable_versioning(&self, bucket: &str) -> Result<(), EmbeddedError> {
        let name = bucket.to_owned();
        let set =
            operations::set_versioning(&self.storage, name, Versioning::Enabled, HeaderMap::new()).await;
        set.map_err(|error| EmbeddedError::Bucket {
            bucket: bucket.to_owned(),
            reason: error.message().unwrap_or_default().to_owned(),
        })
    }

    /// The faults that the server injects. There are none until a test adds some.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops accepting requests, and waits briefly for in-flight requests to finish.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // The task ends by itself: `serve` limits how long it waits for in-flight requests.
        let _ = self.serving.join_next().await;
    }
}

impl Drop for Embedded {
    /// Closes the storage, so that the folder can be opened again even if connections are still open.
    fn drop(&mut self) {
        self.storage.close();
    }
}

/// Opens the storage in a folder that this process has locked.
fn open(folder: &Folder) -> Result<Storage, EmbeddedError> {
    let path = folder.path();
    Storage::open(path)
        .map_err(|error| EmbeddedError::Storage { folder: path.to_owned(), reason: error.to_string() })
}

async fn make_buckets(storage: &Storage, buckets: &[&str]) -> Result<(), EmbeddedError> {
    for bucket in buckets {
        if !s3s::path::check_bucket_name(bucket) {
            return Err(EmbeddedError::BucketName { bucket: (*bucket).to_owned() });
        }
        let made = operations::make_bucket(storage, bucket).await;
        made.map_err(|error| EmbeddedError::Bucket {
            bucket: (*bucket).to_owned(),
            reason: error.message().unwrap_or_default().to_owned(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
