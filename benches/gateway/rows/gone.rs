//! The time from a caller's disconnect until the backend sees the S3 connection close.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    Outcome,
    backend::ABANDONED,
    caller::{grpc, http},
    job::{GIB, Job, Work},
    report::{Results, TargetResult, median},
    setup::{Peer, Setup},
};

pub(super) const NAME: &str = "Time to drop the S3 request when the caller leaves";

/// The time limit for the backend to see the connection close.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let longshore = setup.start(&Peer::Longshore)?;
    // The throttled backend takes half a minute for this object.
    let job = Job::new(Work::Get, GIB, 1).store("throttled");
    for (what, cancelled) in [("call cancelled", true), ("connection closed", false)] {
        let mut times = Vec::new();
        for _ in 0..setup.arguments.rounds() {
            times.push(setup.runtime.block_on(async {
                let channel = grpc::connect(&longshore.target, job.windows).await?;
                let mut caller = grpc::Caller::new(channel.clone(), &job);
                let answer = caller.begin(&job).await?;
                let mut backend = http::Caller::connect(&setup.backend()).await?;
                let (before, _) = abandoned(&mut backend).await?;
                let gone = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
                if cancelled {
                    drop(answer);
                } else {
                    drop((channel, caller, answer));
                }
                let noticed = until_abandoned(&mut backend, before).await?;
                Outcome::Ok(noticed.saturating_sub(gone) as f64 / 1e6)
            })?);
        }
        eprintln!("  {what}: {times:.1?} ms");
        results.verdicts.push(TargetResult::at_most(NAME, what, median(times), 100.0).unit("ms"));
    }
    Ok(())
}

async fn until_abandoned(backend: &mut http::Caller, before: u64) -> Outcome<u128> {
    let start = Instant::now();
    loop {
        let (count, at) = abandoned(backend).await?;
        if count > before {
            return Ok(at);
        }
        if start.elapsed() > PATIENCE {
            return Err("the backend did not see the connection close".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn abandoned(backend: &mut http::Caller) -> Outcome<(u64, u128)> {
    let text = backend.text(ABANDONED).await?;
    let (count, at) =
        text.split_once(' ').ok_or("unexpected response to the query for abandoned requests")?;
    Ok((count.parse()?, at.parse()?))
}
