//! An S3 server in this process, over a folder: for the demo, for tests, and for small services on one machine.
//!
//! It is reached like any other S3, over loopback HTTP with SigV4. The protocol is the crate `s3s`; behind it
//! `operations` does what S3 does, on the rows and bytes of `storage`; in front of it `front` makes good what s3s lacks. What was acknowledged is on the disk.
//! Bodies are streamed both ways, so memory holds little of them. `docs/EMBEDDED.md` says how it differs from S3.
//!
//! Imports no other room.

mod checksums;
mod connection;
mod error;
mod fault;
mod folder;
mod front;
mod keys;
mod operations;
mod received;
mod serve;
mod storage;

use std::{net::SocketAddr, path::Path, sync::Arc};

use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

pub use error::EmbeddedError;
pub use fault::{Effect, Failure, Fault, Faults, Requests};
use folder::Folder;
use front::Front;
use keys::Keys;
use operations::Operations;
use storage::Storage;

/// A running S3 server. Dropping it cuts its connections; what has been stored stays in the folder.
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
    /// Serves `folder` on `address`, a loopback one (port 0 for any that is free), with `buckets` made
    /// where they are missing. The folder is made as well, and used by one server at a time; it keeps the
    /// access keys, so both data and keys are the same in the next run.
    pub async fn start(folder: &Path, address: SocketAddr, buckets: &[&str]) -> Result<Self, EmbeddedError> {
        if !address.ip().is_loopback() {
            return Err(EmbeddedError::NotLoopback { address });
        }
        let folder = Folder::open(folder)?;
        let keys = Keys::of(&folder)?;
        let storage = Arc::new(open(&folder)?);
        make_buckets(&storage, buckets).await?;
        let faults = Arc::new(Faults::default());
        let front = Front::new(Operations(Arc::clone(&storage)), keys.clone(), Arc::clone(&faults));

        let refused = |source| EmbeddedError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stopping = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve::serve(listener, front, stopping.clone()));
        Ok(Self { address, keys, faults, stopping, serving, storage, _folder: folder })
    }

    /// Where it listens, over plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The access key id that it knows; of several in its file the one of `[default]`, or the first.
    pub fn access_key_id(&self) -> &str {
        self.keys.access_key_id()
    }

    /// The secret that belongs to it.
    pub fn secret_access_key(&self) -> &str {
        self.keys.secret_access_key()
    }

    /// The faults that it shows; none until a test adds some.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes no more requests, and waits a moment for those under way.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // It ends by itself, within the time that `serve` gives to requests under way.
        let _ = self.serving.join_next().await;
    }
}

impl Drop for Embedded {
    /// Lets go of the folder, also if connections are not yet gone.
    fn drop(&mut self) {
        self.storage.close();
    }
}

/// The storage of a folder that is ours.
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
