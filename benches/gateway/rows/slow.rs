//! Many callers that read slowly.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, MIB, Work},
    report::{Figures, Results, TargetResult},
    setup::{Peer, Setup},
};

/// The rate at which a caller reads, in bytes per second.
const PACE: u64 = MIB;

/// The number of callers per connection.
const STREAMS: u64 = 50;

/// The memory budget plus the memory that the process may use in addition, in MiB.
const MOST: f64 = 256.0 + 128.0;

pub(super) fn name(arguments: &Arguments) -> String {
    format!(
        "Memory: {} Gets of {} MiB at once by callers that read 1 MiB/s",
        arguments.slow_callers(),
        arguments.slow_size() / MIB
    )
}

/// Runs once, since a run takes more than a minute.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let name = name(&setup.arguments);
    let callers = setup.arguments.slow_callers();
    let mut job = Job::new(Work::Get, setup.arguments.slow_size(), callers);
    job = job.at_once(callers, callers.div_ceil(STREAMS));
    job.pace = Some(PACE);
    // The default windows of gRPC libraries, so that unread data does not accumulate in the caller.
    job.windows = (64 * 1024, 4 * 1024 * 1024);
    let measured = measure_and_print(&setup.start(&Peer::Longshore)?, &job, None)?;
    let verdict = TargetResult::at_most(&name, "peak", measured.peak, MOST).unit("MiB");
    results.verdicts.push(verdict);
    results.figures.push(Figures::of(&name, &Peer::Longshore, &job, &[measured]));
    Ok(())
}
