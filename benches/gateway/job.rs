//! What a caller does.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::shipped::TOKEN;

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const GIB: u64 = 1024 * MIB;

/// The kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Get,
    Put,
    Upload,
    Walk,
    Head,
}

/// Calls that a caller has on each of its connections while it does its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Beside {
    /// One Head after another, with pauses. Their latencies are reported.
    Heads,
    /// Uploads to a store whose S3 server never reads.
    SilentUploads,
    /// A Get whose response the caller stops reading.
    UnreadGet,
    /// A Walk whose response the caller stops reading.
    UnreadWalk,
}

/// An upload that begins fast and continues slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trickle {
    /// Bytes sent at once.
    pub(crate) first: u64,
    /// Bytes sent in each second after that, as one message.
    pub(crate) rate: u64,
}

/// The same requests over and over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// The store, for those that have several.
    pub(crate) store: String,
    /// Of an object, in bytes; for a walk, the number of keys.
    pub(crate) size: u64,
    /// Of a message of an upload, in bytes.
    pub(crate) message: u64,
    /// Whether uploads carry checksums.
    pub(crate) checksums: bool,
    /// In all.
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    /// gRPC connections; callers over plain HTTP have one for each request in flight.
    pub(crate) connections: u64,
    /// How many bytes a second each Get reads.
    pub(crate) pace: Option<u64>,
    /// How an upload slows down.
    pub(crate) trickle: Option<Trickle>,
    pub(crate) beside: Option<Beside>,
    /// The caller's token.
    pub(crate) token: String,
    /// Seconds after which the job fails.
    pub(crate) patience: Option<u64>,
    /// Initial windows of HTTP/2: of a stream, of a connection.
    pub(crate) windows: (u32, u32),
}

impl Job {
    /// One request at a time, by a caller that takes what comes.
    pub(crate) fn new(work: Work, size: u64, requests: u64) -> Self {
        Self {
            work,
            store: "default".to_owned(),
            size,
            message: MIB,
            checksums: true,
            requests,
            in_flight: 1,
            connections: 1,
            pace: None,
            trickle: None,
            beside: None,
            token: TOKEN.to_owned(),
            patience: None,
            windows: (8 << 20, 16 << 20),
        }
    }

    /// So many at once.
    pub(crate) fn at_once(mut self, in_flight: u64, connections: u64) -> Self {
        (self.in_flight, self.connections) = (in_flight, connections);
        self
    }

    /// In another store.
    pub(crate) fn store(mut self, store: &str) -> Self {
        store.clone_into(&mut self.store);
        self
    }

    /// With these calls on the same connections.
    pub(crate) fn beside(mut self, beside: Beside) -> Self {
        self.beside = Some(beside);
        self
    }

    /// Fails after so many seconds.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.patience = Some(seconds);
        self
    }

    /// Bytes of objects in all.
    pub(crate) fn bytes(&self) -> u64 {
        if matches!(self.work, Work::Walk | Work::Head) { 0 } else { self.size * self.requests }
    }

    /// The key: backends tell the size from it.
    pub(crate) fn key(&self) -> String {
        format!("data/{}", self.size)
    }
}

/// Whom a caller asks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// gRPC, or plain HTTP as S3 has it.
    pub(crate) grpc: bool,
    /// What is trusted; without it there is no TLS.
    pub(crate) authority: Option<PathBuf>,
}

/// What a caller has seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The 99th percentile of [`Beside::Heads`].
    #[serde(default)]
    pub(crate) beside_p99_us: f64,
}
