//! Many concurrent uploads, with a large and with a small memory budget.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Beside, Job, MIB, Work},
    report::{Figures, Results, TargetResult},
    setup::{Measured, Peer, Setup},
};

/// The number of connections that the uploads share.
pub(super) const CONNECTIONS: [u64; 2] = [1, 50];

/// Memory budgets, in MiB. The first is the default.
const BUDGETS: [u64; 2] = [256, 16];

/// The memory that the process may use in addition to its budget, in MiB.
const BESIDE_BUDGET: f64 = 128.0;

/// Larger than one part, so that every upload is a multipart upload.
const SIZE: u64 = 12 * MIB;

/// The time limit of all uploads, in seconds. If uploads deadlock in the server, the run fails after this time.
const PATIENCE: u64 = 180;

pub(super) fn name(arguments: &Arguments, connections: u64) -> String {
    let uploads = arguments.crowd();
    format!("{uploads} uploads of 12 MiB at once on {connections} connection(s), with Heads")
}

/// Runs once with each budget, since a run takes long.
pub(super) fn measure(setup: &Setup, results: &mut Results, connections: u64) -> Outcome<()> {
    let row = name(&setup.arguments, connections);
    let mut seconds = Vec::new();
    for budget in BUDGETS {
        let (measured, job) = run(setup, connections, budget)?;
        seconds.push(measured.done.seconds);
        let peak = format!("peak with a budget of {budget} MiB");
        let most = budget as f64 + BESIDE_BUDGET;
        results.verdicts.push(TargetResult::at_most(&row, peak, measured.peak, most).unit("MiB"));
        let heads = measured.done.beside_p99_us / 1e3;
        eprintln!("  budget {budget} MiB: p99 of the Heads {heads:.1} ms");
        let what = format!("p99 of Heads with a budget of {budget} MiB");
        results.verdicts.push(TargetResult::at_most(&row, what, heads, 1_000.0).unit("ms"));
        let mut figures = Figures::of(&row, &Peer::Longshore, &job, &[measured]);
        figures.peer = format!("longshore, budget {budget} MiB");
        results.figures.push(figures);
    }
    let what = format!("time with {} vs. {} MiB", BUDGETS[1], BUDGETS[0]);
    results.verdicts.push(TargetResult::at_most(&row, what, seconds[1] / seconds[0], 1.5));
    Ok(())
}

fn run(setup: &Setup, connections: u64, budget: u64) -> Outcome<(Measured, Job)> {
    let uploads = setup.arguments.crowd();
    let job = Job::new(Work::Upload, SIZE, uploads).at_once(uploads, connections);
    let job = job.beside(Beside::Heads).within(PATIENCE);
    let budget = format!("{budget}MiB");
    let longshore = setup.start_with(&[
        ("LONGSHORE_MEMORY_BUDGET", &budget),
        ("LONGSHORE_MEMORY_WAIT", "10m"),
        ("LONGSHORE_MAX_CONCURRENT_STREAMS", "2000"),
    ])?;
    Ok((measure_and_print(&longshore, &job, None)?, job))
}
