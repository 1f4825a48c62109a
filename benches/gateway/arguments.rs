//! The command lines of the driver and of the roles that it starts.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    backend::{self, Shape},
    caller,
    job::{GIB, MIB},
    naive, proxy,
};

/// Compares Longshore with other gateways: CPU, memory and latency per process, checked against targets.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// How many times each peer runs each job; the figures are medians
    #[arg(long)]
    rounds: Option<usize>,
    /// Only run rows whose names contain this text; case-insensitive
    #[arg(long, default_value = "")]
    only: String,
    /// Use small sizes and one round, to check that everything runs; the figures mean little
    #[arg(long)]
    pub(crate) quick: bool,
    /// Use TLS on both sides
    #[arg(long)]
    pub(crate) tls: bool,
    /// Measure this Longshore binary instead of the one that cargo built
    #[arg(long)]
    longshore: Option<PathBuf>,
    /// Object size for the row with slow callers, in bytes; each caller reads 1 MiB/s
    #[arg(long)]
    slow_size: Option<u64>,
    /// Number of slow callers
    #[arg(long)]
    slow_callers: Option<u64>,
    /// Rate of each connection to the throttled backend, in bytes per second
    #[arg(long, default_value_t = 32 * 1024 * 1024)]
    pub(crate) throttle: u64,
    /// Another gateway to measure; the command gets its listen address in LISTEN, the backend's URL in ENDPOINT and the
    /// bucket in BUCKET
    #[arg(long = "peer", value_name = "NAME=COMMAND", value_parser = named)]
    peers: Vec<(String, String)>,
    /// Caller for the row "from grpcio"; it must accept the arguments of this program's `caller` role
    #[arg(long, value_name = "COMMAND")]
    pub(crate) grpcio_caller: Option<String>,
    /// Caller that uses boto3 without a gateway; it must accept the arguments of this program's `caller` role
    #[arg(long, value_name = "COMMAND")]
    pub(crate) boto3_caller: Option<String>,
    /// Only run the rows on the backend with S3's latencies (s3), or only the others (loopback)
    #[arg(long = "shape", value_name = "BACKEND")]
    only_on: Option<Behaviour>,
    #[command(flatten)]
    pub(crate) shape: Shape,
    /// Markdown file to write the tables to, between the markers of this benchmark
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
    /// Folder for the JSON file and the plot
    #[arg(long)]
    output: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the backend's buckets behave like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Behaviour {
    /// With the latencies of S3 and its rate of each connection.
    S3,
    /// As fast as the machine can.
    Loopback,
}

/// The role of a process that the driver starts.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// An S3 server that generates the bytes it serves and discards the bytes it receives
    Backend(backend::Settings),
    /// A plain TCP proxy
    Proxy(proxy::Settings),
    /// A gateway made of tonic and object_store
    Naive(naive::Settings),
    /// A caller that runs one job
    Caller(caller::Settings),
}

/// The command line of a process that the driver starts.
#[derive(Debug, Parser)]
pub(crate) struct RoleArguments {
    #[command(subcommand)]
    pub(crate) role: Role,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, command) = text.split_once('=').ok_or("expected NAME=COMMAND")?;
    Ok((name.to_owned(), command.to_owned()))
}

impl Arguments {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        row.to_lowercase().contains(&self.only.to_lowercase())
    }

    /// Whether to run the rows on a backend with this behaviour.
    pub(crate) fn runs_on(&self, behaviour: Behaviour) -> bool {
        self.only_on.is_none_or(|only| only == behaviour)
    }

    /// The size of a large object, in bytes.
    pub(crate) fn large(&self) -> u64 {
        if self.quick { 64 * MIB } else { GIB }
    }

    /// The number of small requests in a round: enough for two seconds of the slower peer's CPU time.
    pub(crate) fn requests(&self) -> u64 {
        if self.quick { 2_000 } else { 40_000 }
    }

    pub(crate) fn keys(&self) -> u64 {
        if self.quick { 20_000 } else { 1_000_000 }
    }

    /// The number of keys of a DeleteMany.
    pub(crate) fn deletes(&self) -> u64 {
        if self.quick { 20_000 } else { 100_000 }
    }

    pub(crate) fn slow_size(&self) -> u64 {
        self.slow_size.unwrap_or(if self.quick { 2 * MIB } else { 64 * MIB })
    }

    pub(crate) fn slow_callers(&self) -> u64 {
        self.slow_callers.unwrap_or(if self.quick { 100 } else { 1_000 })
    }

    /// The number of concurrent uploads in the rows with many callers.
    pub(crate) fn crowd(&self) -> u64 {
        if self.quick { 100 } else { 1_000 }
    }

    pub(crate) fn longshore(&self) -> PathBuf {
        self.longshore.clone().unwrap_or_else(|| env!("CARGO_BIN_EXE_longshore").into())
    }

    pub(crate) fn output(&self) -> PathBuf {
        let target = || std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        self.output.clone().unwrap_or_else(|| target().join("gateway"))
    }

    pub(crate) fn peer_names(&self) -> impl Iterator<Item = &String> {
        self.peers.iter().map(|(name, _)| name)
    }

    pub(crate) fn peer(&self, name: &str) -> Option<&str> {
        self.peers.iter().find(|peer| peer.0 == name).map(|peer| peer.1.as_str())
    }
}
