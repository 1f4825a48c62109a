//! Longshore as a gateway beside its peers: what it costs to put it between callers and S3.
//!
//! `cargo bench --locked --bench gateway` builds and runs everything. This program starts itself in several roles,
//! each a process of its own, so that processor time and memory belong to one of them: the backend, the peers and
//! the callers. Longshore is the release binary. `docs/BENCHMARKS.md` has the method and the last run.

#![allow(clippy::cast_precision_loss, reason = "figures for people")]

mod arguments;
mod backend;
mod caller;
mod child;
mod content;
mod job;
mod naive;
mod pace;
mod process;
mod proxy;
mod report;
mod role;
mod rows;
mod shipped;
mod stage;
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
    stage::Stage,
};

/// What can go wrong ends the run, with a sentence.
type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// As Longshore has it, so that allocators are not what is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the driver passes first to a process of its own.
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
    let stage = Stage::prepare(arguments)?;
    let results = rows::measure(&stage);
    let report = Report::new(&stage, load, results);
    write!(io::stdout(), "{}", report.markdown())?;
    report.save(&stage.arguments)?;
    let failures = report.failures();
    if failures == 0 { Ok(()) } else { Err(format!("{failures} rows could not be measured").into()) }
}
