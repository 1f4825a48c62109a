//! A tenant makes small calls beside a tenant that exceeds its limits, and beside one whose S3 server never responds.

use std::time::Duration;

use super::turns::measure_and_print;
use crate::{
    Outcome,
    child::Background,
    job::{Job, KIB, Work},
    report::{Figures, Results, TargetResult},
    setup::{Peer, Setup},
    shipped::{HANGING_TOKEN, NOISY_IN_FLIGHT, NOISY_TOKEN, QUIET_TOKEN},
};

pub(super) const NAME: &str = "Get 4 KiB by a quiet tenant beside noisy ones";

/// The time for the other tenants' calls to start.
const LEAD: Duration = Duration::from_secs(3);

/// The time limit of a round, in seconds.
const PATIENCE: u64 = 120;

/// A tenant of this many times its limits is noisy.
const TIMES: u64 = 10;

/// The highest 99th percentile, in milliseconds, unless twice the one without the other tenants is higher.
const LONGEST_P99: f64 = 10.0;

/// The calls of the other tenants come from separate processes, so that the quiet caller competes with them only in the
/// server and for the machine's CPUs. A call of the quiet tenant that fails, fails the row.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let longshore = setup.start_neighbours()?;
    let requests = if setup.arguments.quick { 500 } else { 5_000 };
    let quiet = Job::new(Work::Get, 4 * KIB, requests).within(PATIENCE).token(QUIET_TOKEN);
    measure_and_print(&longshore, &quiet, None)?;
    let rounds = setup.arguments.rounds().min(3);
    let measured =
        || (0..rounds).map(|_| measure_and_print(&longshore, &quiet, None)).collect::<Outcome<Vec<_>>>();
    let alone = measured()?;
    let endless = |token| Job::new(Work::Get, 4 * KIB, u64::MAX / 2).repeat_after(10).token(token);
    let mut others = [
        longshore.begin(&endless(NOISY_TOKEN).at_once(TIMES * NOISY_IN_FLIGHT, 4))?,
        longshore.begin(&endless(HANGING_TOKEN).at_once(TIMES * NOISY_IN_FLIGHT, 4))?,
    ];
    std::thread::sleep(LEAD);
    let beside = measured()?;
    others.iter_mut().try_for_each(Background::check)?;
    let mut figures = [&alone, &beside].map(|rounds| Figures::of(NAME, &Peer::Longshore, &quiet, rounds));
    let [before, after] = [0, 1].map(|at| figures[at].p99_us / 1_000.0);
    let what = format!("99th percentile (alone: {before:.2} ms)");
    let target = (2.0 * before).max(LONGEST_P99);
    results.verdicts.push(TargetResult::at_most(NAME, what, after, target).unit("ms"));
    for (figures, label) in figures.iter_mut().zip(["alone", "beside the others"]) {
        figures.peer = format!("longshore, {label}");
    }
    results.figures.extend(figures);
    Ok(())
}
