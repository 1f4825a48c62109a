//! Fast uploads beside many slow ones.

use std::time::Duration;

use super::turns::measure_and_print;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, KIB, MIB, Trickle, Work},
    report::{Figures, Results, TargetResult},
    setup::{Measured, Peer, Running, Setup},
};

/// The number of slow uploads per connection.
const STREAMS: u64 = 50;

/// The size of a slow upload: more than it can send during the run.
const SLOW_SIZE: u64 = 64 * MIB;

const FAST: u64 = 8;

/// The time limit of the fast uploads, in seconds.
const PATIENCE: u64 = 120;

/// The time for the slow uploads to send their first bytes.
const LEAD: Duration = Duration::from_secs(15);

pub(super) fn name(arguments: &Arguments) -> String {
    let slow = arguments.crowd();
    format!("{FAST} fast uploads beside {slow} slow ones (1 MiB at once, then 1 KiB/s)")
}

pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let row = name(&setup.arguments);
    let fast = fast(&setup.arguments);
    let longshore = setup.start(&Peer::Longshore)?;
    // An uncounted run lets the allocator grow to its usual size.
    measure_and_print(&longshore, &fast, None)?;
    let alone = rounds(setup, &longshore, &fast)?;
    let mut slow = longshore.begin(&slow(&setup.arguments))?;
    std::thread::sleep(LEAD);
    slow.check()?;
    let beside = rounds(setup, &longshore, &fast)?;
    slow.check()?;
    let mut figures = [&alone, &beside].map(|rounds| Figures::of(&row, &Peer::Longshore, &fast, rounds));
    let seconds = [&alone, &beside].map(|rounds| rounds.iter().map(|round| round.done.seconds).sum::<f64>());
    let what = "rate of the fast uploads vs. alone";
    results.verdicts.push(TargetResult::at_least(&row, what, seconds[0] / seconds[1], 0.8));
    for (figures, label) in figures.iter_mut().zip(["alone", "beside slow uploads"]) {
        figures.peer = format!("longshore, {label}");
    }
    results.figures.extend(figures);
    Ok(())
}

fn rounds(setup: &Setup, longshore: &Running, job: &Job) -> Outcome<Vec<Measured>> {
    (0..setup.arguments.rounds().min(3)).map(|_| measure_and_print(longshore, job, None)).collect()
}

fn fast(arguments: &Arguments) -> Job {
    let requests = if arguments.quick { 2 * FAST } else { 8 * FAST };
    Job::new(Work::Upload, 64 * MIB, requests).at_once(FAST, FAST).within(PATIENCE)
}

fn slow(arguments: &Arguments) -> Job {
    let count = arguments.crowd();
    let job = Job::new(Work::Upload, SLOW_SIZE, u64::MAX / 2).at_once(count, count.div_ceil(STREAMS));
    // The server rejects some of them.
    let mut job = job.repeat_after(1_000);
    job.trickle = Some(Trickle { first: MIB, rate: KIB });
    job.checksums = false;
    job
}
