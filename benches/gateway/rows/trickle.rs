//! Fast uploads beside many slow ones.

use std::time::Duration;

use super::turns::told;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, KIB, MIB, Trickle, Work},
    report::{Figures, Results, Verdict},
    stage::{Measured, Peer, Running, Stage},
};

/// Slow uploads on one connection.
const STREAMS: u64 = 50;

/// Larger than a slow upload can become during the run.
const SLOW_SIZE: u64 = 64 * MIB;

const FAST: u64 = 8;

/// Seconds that the fast uploads may take.
const PATIENCE: u64 = 120;

/// Time for the slow uploads to send their first bytes.
const LEAD: Duration = Duration::from_secs(15);

pub(super) fn name(arguments: &Arguments) -> String {
    let slow = arguments.crowd();
    format!("{FAST} fast uploads beside {slow} that have sent 1 MiB and continue at 1 KiB/s")
}

pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let row = name(&stage.arguments);
    let fast = fast(&stage.arguments);
    let longshore = stage.start(&Peer::Longshore)?;
    // One that is not counted brings the allocator to its size.
    told(&longshore, &fast, None)?;
    let alone = rounds(stage, &longshore, &fast)?;
    let mut slow = longshore.begin(&slow(&stage.arguments))?;
    std::thread::sleep(LEAD);
    slow.check()?;
    let beside = rounds(stage, &longshore, &fast)?;
    slow.check()?;
    let mut figures = [&alone, &beside].map(|rounds| Figures::of(&row, &Peer::Longshore, &fast, rounds));
    let seconds = [&alone, &beside].map(|rounds| rounds.iter().map(|round| round.done.seconds).sum::<f64>());
    let what = "rate of the fast ones against alone";
    results.verdicts.push(Verdict::at_least(&row, what, seconds[0] / seconds[1], 0.8));
    for (figures, label) in figures.iter_mut().zip(["alone", "beside the slow ones"]) {
        figures.peer = format!("longshore, {label}");
    }
    results.figures.extend(figures);
    Ok(())
}

fn rounds(stage: &Stage, longshore: &Running, job: &Job) -> Outcome<Vec<Measured>> {
    (0..stage.arguments.rounds().min(3)).map(|_| told(longshore, job, None)).collect()
}

fn fast(arguments: &Arguments) -> Job {
    let requests = if arguments.quick { 2 * FAST } else { 8 * FAST };
    Job::new(Work::Upload, 64 * MIB, requests).at_once(FAST, FAST).within(PATIENCE)
}

fn slow(arguments: &Arguments) -> Job {
    let count = arguments.crowd();
    let mut job = Job::new(Work::Upload, SLOW_SIZE, u64::MAX / 2).at_once(count, count.div_ceil(STREAMS));
    job.trickle = Some(Trickle { first: MIB, rate: KIB });
    job.checksums = false;
    job
}
