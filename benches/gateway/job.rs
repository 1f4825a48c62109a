//! Jobs: what a caller does, against which target, and what it reports.

use std::{net::SocketAddr, ops::Range, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    keys::Keys,
    shipped::{TOKEN, bucket},
};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
pub(crate) const GIB: u64 = 1024 * MIB;

/// The number of ranges of a GetRanges.
pub(crate) const RANGES: u64 = 100;
/// The size of each range of a GetRanges, in bytes.
pub(crate) const RANGE: u64 = 4 * KIB;

/// The number of keys in a message of a DeleteMany, and in a request of S3's API.
pub(crate) const BATCH: u64 = 1000;

/// The kind of request that a job makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    Get,
    Put,
    Upload,
    Walk,
    Head,
    /// [`RANGES`] ranges of an object, spread evenly.
    GetRanges,
    DeleteMany,
}

/// Calls that a caller makes on each of its connections while it runs its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Beside {
    /// One Head after another, with pauses. The caller reports their latencies.
    Heads,
    /// Uploads to a store whose S3 server never reads.
    SilentUploads,
    /// A Get whose response the caller stops reading.
    UnreadGet,
    /// A Walk whose response the caller stops reading.
    UnreadWalk,
}

/// An upload that starts fast and continues slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trickle {
    /// Bytes sent at once.
    pub(crate) first: u64,
    /// Bytes sent in each later second, as one message.
    pub(crate) rate: u64,
}

/// A number of identical requests.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) work: Work,
    /// The store, for gateways with several stores.
    pub(crate) store: String,
    /// The object's size in bytes; for a Walk and a DeleteMany, the number of keys.
    pub(crate) size: u64,
    /// The size of each message of an upload, in bytes.
    pub(crate) message: u64,
    /// Whether the caller sends checksums with uploads.
    pub(crate) checksums: bool,
    /// The total number of requests.
    pub(crate) requests: u64,
    pub(crate) in_flight: u64,
    /// The number of gRPC connections. Plain HTTP callers use one connection per request in flight. For a GetRanges and
    /// a DeleteMany, they share the requests of one call among these connections.
    pub(crate) connections: u64,
    /// The rate at which each Get is read, in bytes per second.
    pub(crate) pace: Option<u64>,
    /// The point at which an upload slows down, and its rate from then on.
    pub(crate) trickle: Option<Trickle>,
    pub(crate) beside: Option<Beside>,
    /// The time after which a failed request is repeated, in milliseconds. `None`: a failed request fails the job.
    pub(crate) repeat_after: Option<u64>,
    /// The caller's token.
    pub(crate) token: String,
    /// The time limit of the job, in seconds.
    pub(crate) patience: Option<u64>,
    /// The initial HTTP/2 windows of a stream and of the connection.
    pub(crate) windows: (u32, u32),
}

impl Job {
    /// One request at a time, from a caller that reads as fast as it can.
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
            repeat_after: None,
            token: TOKEN.to_owned(),
            patience: None,
            windows: (8 << 20, 16 << 20),
        }
    }

    /// Sets the number of requests in flight and of connections.
    pub(crate) fn at_once(mut self, in_flight: u64, connections: u64) -> Self {
        (self.in_flight, self.connections) = (in_flight, connections);
        self
    }

    /// Selects another store.
    pub(crate) fn store(mut self, store: &str) -> Self {
        store.clone_into(&mut self.store);
        self
    }

    /// Adds these calls on the same connections.
    pub(crate) fn beside(mut self, beside: Beside) -> Self {
        self.beside = Some(beside);
        self
    }

    /// Sets the time after which a failed request is repeated, in milliseconds.
    pub(crate) fn repeat_after(mut self, milliseconds: u64) -> Self {
        self.repeat_after = Some(milliseconds);
        self
    }

    /// Sets the caller's token.
    pub(crate) fn token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// Sets the time limit of the job.
    pub(crate) fn within(mut self, seconds: u64) -> Self {
        self.patience = Some(seconds);
        self
    }

    /// The total size of all objects, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        match self.work {
            Work::Walk | Work::Head | Work::DeleteMany => 0,
            _ => self.amount() * self.requests,
        }
    }

    /// The amount that a complete response to one request has: bytes or keys.
    pub(crate) fn amount(&self) -> u64 {
        if self.work == Work::GetRanges { RANGES * RANGE } else { self.size }
    }

    /// The ranges of a GetRanges, in ascending order.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let step = self.size / RANGES;
        (0..RANGES).map(move |index| index * step..index * step + RANGE)
    }

    /// The keys of a DeleteMany, in messages of [`BATCH`].
    pub(crate) fn batches(&self) -> impl Iterator<Item = Vec<String>> + use<> {
        let (keys, count) = (Keys::of(self.bucket(), self.size), self.size);
        (0..count.div_ceil(BATCH)).map(move |batch| {
            (batch * BATCH..count.min((batch + 1) * BATCH)).map(|index| keys.key(index)).collect()
        })
    }

    /// The bucket of the store.
    pub(crate) fn bucket(&self) -> &'static str {
        bucket(&self.store)
    }

    /// The key. The backend parses the object's size from it.
    pub(crate) fn key(&self) -> String {
        format!("data/{}", self.size)
    }
}

/// How a caller speaks to its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Api {
    Grpc,
    /// S3's API, with plain HTTP requests.
    Http,
    /// S3's API, with the object_store crate.
    ObjectStore,
}

/// The server that a caller connects to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) api: Api,
    /// The certificate authority to trust. `None`: plaintext.
    pub(crate) authority: Option<PathBuf>,
}

/// What a caller reports after its job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The 99th percentile of [`Beside::Heads`].
    #[serde(default)]
    pub(crate) beside_p99_us: f64,
}
