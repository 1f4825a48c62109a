//! Measures the cost of Longshore as a gateway between callers and S3, compared with its peers.
//!
//! `cargo bench --locked --bench gateway` builds and runs everything. This program starts itself in several roles (the
//! backend, the peers, the callers). Each role is a separate process, so that CPU time and memory can be measured per
//! role. Longshore runs as its release binary. `docs/BENCHMARKS.md` describes the method and has the last results.

#![allow(clippy::cast_precision_loss, reason = "the figures are only displayed")]

mod arguments;
mod backend;
mod caller;
mod child;
mod content;
mod job;
mod keys;
mod naive;
mod process;
mod proxy;
mod rate_limit;
mod report;
mod role;
mod rows;
mod setup;
mod shipped;
mod tls;

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use self::{
    arguments::{Arguments, Role, RoleArguments},
    report::Report,
    setup::Setup,
};

/// An error ends the run and is printed as one sentence.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The allocator that Longshore uses, so that the comparison does not measure allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The roles. The driver passes one as the first argument to each process that it starts.
const ROLES: [&str; 4] = ["backend", "proxy", "naive", "caller"];

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    let outcome = if ROLES.contains(&first.as_str()) {
        play(RoleArguments::parse().role)
    } else {
        drive(Arguments::parse())
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn play(role: Role) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match role {
            Role::Backend(settings) => backend::run(settings).await,
            Role::Proxy(settings) => proxy::run(settings).await,
            Role::Naive(settings) => naive::run(settings).await,
            Role::Caller(settings) => caller::run(settings).await,
        }
    })
}

fn drive(arguments: Arguments) -> Outcome<()> {
    let load = process::load();
    let setup = Setup::prepare(arguments)?;
    let results = rows::measure(&setup);
    let report = Report::new(&setup, load, results);
    write!(io::stdout(), "{}", report.markdown())?;
    report.save(&setup.arguments)?;
    let failures = report.failures();
    if failures == 0 { Ok(()) } else { Err(format!("{failures} rows could not be measured").into()) }
}
