//! The command line: that of the driver, and those of the roles that it starts.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::{
    backend, caller,
    job::{GIB, MIB},
    naive, proxy,
};

/// Longshore as a gateway beside its peers: CPU, memory and latency of one process each, against the targets.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Arguments {
    /// How often each peer does each job; the figures are medians
    #[arg(long)]
    rounds: Option<usize>,
    /// Only rows whose names contain this, in any case
    #[arg(long, default_value = "")]
    only: String,
    /// Small sizes and one round: whether it runs, not how fast
    #[arg(long)]
    pub(crate) quick: bool,
    /// TLS on both sides
    #[arg(long)]
    pub(crate) tls: bool,
    /// Another build of Longshore than the one that cargo made
    #[arg(long)]
    longshore: Option<PathBuf>,
    /// Bytes of an object of the row of slow callers; they read 1 MiB/s
    #[arg(long)]
    slow_size: Option<u64>,
    /// How many slow callers
    #[arg(long)]
    slow_callers: Option<u64>,
    /// Bytes a second of each connection to the backend that throttles
    #[arg(long, default_value_t = 32 * 1024 * 1024)]
    pub(crate) throttle: u64,
    /// Another gateway, as NAME=COMMAND; LISTEN and ENDPOINT tell it where it is and where the backend is
    #[arg(long = "peer", value_name = "NAME=COMMAND", value_parser = named)]
    peers: Vec<(String, String)>,
    /// The caller of the row "from grpcio"; takes the arguments of this program's role `caller`
    #[arg(long, value_name = "COMMAND")]
    pub(crate) grpcio_caller: Option<String>,
    /// Markdown file whose part between the marks of this bench is replaced
    #[arg(long)]
    pub(crate) markdown: Option<PathBuf>,
    /// Folder for the figures as JSON and the plot
    #[arg(long)]
    output: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a process that the driver starts is for.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// An S3 server that makes up bytes and throws them away
    Backend(backend::Settings),
    /// A plain TCP proxy
    Proxy(proxy::Settings),
    /// A gateway made of tonic and object_store
    Naive(naive::Settings),
    /// Does a job
    Caller(caller::Settings),
}

/// A process of the bench.
#[derive(Debug, Parser)]
pub(crate) struct RoleArguments {
    #[command(subcommand)]
    pub(crate) role: Role,
}

fn named(text: &str) -> Result<(String, String), String> {
    let (name, command) = text.split_once('=').ok_or("it has the form NAME=COMMAND")?;
    Ok((name.to_owned(), command.to_owned()))
}

impl Arguments {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    pub(crate) fn wants(&self, row: &str) -> bool {
        row.to_lowercase().contains(&self.only.to_lowercase())
    }

    /// Of a large object, in bytes.
    pub(crate) fn large(&self) -> u64 {
        if self.quick { 64 * MIB } else { GIB }
    }

    /// How many small requests one round has: enough for two seconds of the slower peer's processor.
    pub(crate) fn requests(&self) -> u64 {
        if self.quick { 2_000 } else { 40_000 }
    }

    pub(crate) fn keys(&self) -> u64 {
        if self.quick { 20_000 } else { 1_000_000 }
    }

    pub(crate) fn slow_size(&self) -> u64 {
        self.slow_size.unwrap_or(if self.quick { 2 * MIB } else { 64 * MIB })
    }

    pub(crate) fn slow_callers(&self) -> u64 {
        self.slow_callers.unwrap_or(if self.quick { 100 } else { 1_000 })
    }

    /// How many uploads a crowd has.
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
