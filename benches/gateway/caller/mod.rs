//! The caller role: runs a job and reports how long it took.

mod beside;
pub(crate) mod grpc;
pub(crate) mod http;
mod pool;
mod store;

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{task::JoinSet, time::timeout};
use tonic::transport::Channel;

use crate::{
    Outcome,
    job::{Api, Done, Job, Target, Work},
};

/// The caller's arguments.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The target, as JSON
    #[arg(long)]
    target: String,
    /// The job, as JSON
    #[arg(long)]
    job: String,
}

/// Runs the job and prints the result.
pub(crate) async fn run(settings: Settings) -> Outcome<()> {
    let target: Target = serde_json::from_str(&settings.target)?;
    let job: Job = serde_json::from_str(&settings.job)?;
    let done = perform(&target, job).await?;
    writeln!(io::stdout(), "{}", serde_json::to_string(&done)?)?;
    Ok(())
}

/// A caller that can send any number of requests.
enum Asker {
    Grpc(Box<grpc::Caller>),
    Http(Box<http::Caller>),
    Pool(pool::Pool),
    Store(Box<store::Caller>),
}

impl Asker {
    async fn ask(&mut self, job: &Job) -> Outcome<()> {
        match self {
            Self::Grpc(caller) => caller.ask(job).await,
            Self::Http(caller) => caller.ask(job).await,
            Self::Pool(pool) => pool.ask(job).await,
            Self::Store(caller) => caller.ask(job).await,
        }
    }
}

async fn perform(target: &Target, job: Job) -> Outcome<Done> {
    let (askers, channels) = connected(target, &job).await?;
    let mut beside = beside::Calls::begin(&job, &channels);
    beside.settle().await;
    let patience = job.patience;
    let finished = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let work = work(askers, Arc::new(job), finished.clone());
    let latencies = match patience {
        None => work.await?,
        Some(seconds) => timeout(Duration::from_secs(seconds), work).await.map_err(|_| {
            format!("only {} requests finished in {seconds} s", finished.load(Ordering::Relaxed))
        })??,
    };
    let seconds = start.elapsed().as_secs_f64();
    let beside = beside.end().await?;
    Ok(Done {
        seconds,
        p50_us: quantile(&latencies, 50),
        p99_us: quantile(&latencies, 99),
        beside_p99_us: quantile(&beside, 99),
    })
}

/// Returns an asker for each request in flight, and the connections that the gRPC askers share.
async fn connected(target: &Target, job: &Job) -> Outcome<(Vec<Asker>, Vec<Channel>)> {
    let (mut askers, mut channels) = (Vec::new(), Vec::new());
    // The requests of one call are in flight together.
    if target.api == Api::Http && matches!(job.work, Work::GetRanges | Work::DeleteMany) {
        return Ok((vec![Asker::Pool(pool::Pool::connect(target, job.in_flight).await?)], channels));
    }
    for index in 0..job.in_flight {
        askers.push(match target.api {
            Api::Grpc => {
                let at = usize::try_from(index % job.connections)?;
                if channels.len() <= at {
                    channels.push(grpc::connect(target, job.windows).await?);
                }
                Asker::Grpc(Box::new(grpc::Caller::new(channels[at].clone(), job)))
            }
            Api::Http => Asker::Http(Box::new(http::Caller::connect(target).await?)),
            Api::ObjectStore => Asker::Store(Box::new(store::Caller::new(target, job)?)),
        });
    }
    Ok((askers, channels))
}

/// Sends all requests of the job. Returns their latencies, in ascending order.
async fn work(askers: Vec<Asker>, job: Arc<Job>, finished: Arc<AtomicU64>) -> Outcome<Vec<Duration>> {
    let begun = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for mut asker in askers {
        let (job, begun, finished) = (job.clone(), begun.clone(), finished.clone());
        workers.spawn(async move {
            let mut latencies = Vec::new();
            while begun.fetch_add(1, Ordering::Relaxed) < job.requests {
                let start = Instant::now();
                while let Err(error) = asker.ask(&job).await {
                    let pause = job.repeat_after.ok_or(error)?;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                latencies.push(start.elapsed());
                finished.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies.append(&mut worker??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// Returns a percentile of sorted latencies, in microseconds.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
}
