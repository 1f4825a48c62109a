//! A caller: does a job, and says how long it took.

pub(crate) mod grpc;
pub(crate) mod http;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use tokio::task::JoinSet;

use crate::{
    Outcome,
    job::{Done, Job, Target},
};

/// What a caller is told.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Whom it asks, JSON
    #[arg(long)]
    target: String,
    /// What it asks, JSON
    #[arg(long)]
    job: String,
}

/// Does it, and prints what it has seen.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let target: Target = serde_json::from_str(&settings.target)?;
    let job: Job = serde_json::from_str(&settings.job)?;
    let done = perform(&target, job).await?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&done)?)?;
    Ok(())
}

/// One that can be asked again and again.
enum Asker {
    Grpc(Box<grpc::Caller>),
    Http(Box<http::Caller>),
}

impl Asker {
    async fn ask(&mut self, job: &Job) -> Outcome<()> {
        match self {
            Self::Grpc(caller) => caller.ask(job).await,
            Self::Http(caller) => caller.ask(job).await,
        }
    }
}

async fn perform(target: &Target, job: Job) -> Outcome<Done> {
    let mut askers = Vec::new();
    let mut channels = Vec::new();
    for index in 0..job.in_flight {
        askers.push(if target.grpc {
            let at = usize::try_from(index % job.connections)?;
            if channels.len() <= at {
                channels.push(grpc::connect(target, job.windows).await?);
            }
            Asker::Grpc(Box::new(grpc::Caller::new(channels[at].clone(), &job)))
        } else {
            Asker::Http(Box::new(http::Caller::connect(target).await?))
        });
    }
    let (job, begun) = (Arc::new(job), Arc::new(AtomicU64::new(0)));
    let mut workers = JoinSet::new();
    let start = Instant::now();
    for mut asker in askers {
        let (job, begun) = (job.clone(), begun.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while begun.fetch_add(1, Ordering::Relaxed) < job.requests {
                let start = Instant::now();
                asker.ask(&job).await?;
                latencies.push(start.elapsed());
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies.append(&mut worker??);
    }
    let seconds = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Done { seconds, p50_us: quantile(&latencies, 50), p99_us: quantile(&latencies, 99) })
}

/// In microseconds.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
