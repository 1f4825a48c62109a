//! An S3 server in this process, over a folder: for the demo and for tests.
//!
//! It is reached like any other S3, over loopback HTTP with SigV4. The protocol is the crate `s3s`, the
//! backend `s3s-fs`, which keeps objects as files; that one has no versions, tags or CORS, and ignores
//! conditions on reads, so it is not for anybody's only copy of anything. Bodies are streamed both ways:
//! a write waits for the disk, and memory holds no more than the socket's buffer.
//!
//! Imports no other room.

mod backend;
mod error;
mod folder;
mod keys;
mod serve;

use std::{net::SocketAddr, path::Path};

use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use backend::Backend;
pub use error::EmbeddedError;
use folder::Folder;
use keys::KeyPair;

/// A running S3 server. Dropping it cuts its connections; what has been stored stays in the folder.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    keys: KeyPair,
    stopping: CancellationToken,
    serving: JoinSet<()>,
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
        for bucket in buckets {
            folder.make_bucket(bucket)?;
        }
        let keys = KeyPair::of(&folder)?;
        let files = FileSystem::new(folder.objects()).map_err(|error| EmbeddedError::Backend {
            folder: folder.objects(),
            reason: format!("{error:?}"),
        })?;
        let mut service = S3ServiceBuilder::new(Backend(files));
        service.set_auth(SimpleAuth::from_single(keys.access_key_id(), keys.secret_access_key()));

        let refused = |source| EmbeddedError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let stopping = CancellationToken::new();
        let mut serving = JoinSet::new();
        serving.spawn(serve::serve(listener, service.build(), stopping.clone()));
        Ok(Self { address, keys, stopping, serving, _folder: folder })
    }

    /// Where it listens, over plain HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The access key id that it knows.
    pub fn access_key_id(&self) -> &str {
        self.keys.access_key_id()
    }

    /// The secret that belongs to it.
    pub fn secret_access_key(&self) -> &str {
        self.keys.secret_access_key()
    }

    /// Takes no more requests, and waits a moment for those under way.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        // It ends by itself, within the time that `serve` gives to requests under way.
        let _ = self.serving.join_next().await;
    }
}

#[cfg(test)]
mod tests;
