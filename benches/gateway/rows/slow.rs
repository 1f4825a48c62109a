//! Many callers that read slowly.

use super::turns::told;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, MIB, Work},
    report::{Figures, Results, Verdict},
    stage::{Peer, Stage},
};

/// What a caller reads a second.
const PACE: u64 = MIB;

/// Callers on one connection.
const STREAMS: u64 = 50;

/// The memory budget and what the process may have beside it, in MiB.
const MOST: f64 = 256.0 + 128.0;

pub(super) fn name(arguments: &Arguments) -> String {
    format!(
        "Memory: {} Gets of {} MiB at once by callers that read 1 MiB/s",
        arguments.slow_callers(),
        arguments.slow_size() / MIB
    )
}

/// Once: it takes a minute and more.
pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let name = name(&stage.arguments);
    let callers = stage.arguments.slow_callers();
    let mut job = Job::new(Work::Get, stage.arguments.slow_size(), callers);
    job = job.at_once(callers, callers.div_ceil(STREAMS));
    job.pace = Some(PACE);
    // Windows as gRPC libraries have them without being told, so that what waits does not wait in the caller.
    job.windows = (64 * 1024, 4 * 1024 * 1024);
    let measured = told(&stage.start(&Peer::Longshore)?, &job, None)?;
    let verdict = Verdict::at_most(&name, "peak", measured.peak, MOST).unit("MiB");
    results.verdicts.push(verdict);
    results.figures.push(Figures::of(&name, &Peer::Longshore, &job, &[measured]));
    Ok(())
}
