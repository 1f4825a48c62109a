//! From a caller that goes away until the backend sees the connection of its request close.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::{
    Outcome,
    backend::ABANDONED,
    caller::{grpc, http},
    job::{GIB, Job, Work},
    report::{Results, Verdict, median},
    stage::{Peer, Stage},
};

pub(super) const NAME: &str = "Caller gone until the S3 request is gone";

/// After this it counts as not noticed at all.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let longshore = stage.start(&Peer::Longshore)?;
    // The throttled backend is at it for half a minute.
    let job = Job::new(Work::Get, GIB, 1).store("throttled");
    for (what, cancelled) in [("call cancelled", true), ("connection closed", false)] {
        let mut times = Vec::new();
        for _ in 0..stage.arguments.rounds() {
            times.push(stage.runtime.block_on(async {
                let channel = grpc::connect(&longshore.target, job.windows).await?;
                let mut caller = grpc::Caller::new(channel.clone(), &job);
                let answer = caller.begin(&job).await?;
                let mut backend = http::Caller::connect(&stage.backend()).await?;
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
        results.verdicts.push(Verdict::at_most(NAME, what, median(times), 100.0).unit("ms"));
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
            return Err("the backend did not see the request end".into());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn abandoned(backend: &mut http::Caller) -> Outcome<(u64, u128)> {
    let text = backend.text(ABANDONED).await?;
    let (count, at) = text.split_once(' ').ok_or("the backend does not say what was abandoned")?;
    Ok((count.parse()?, at.parse()?))
}
