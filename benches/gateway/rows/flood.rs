//! A tenant makes small calls while another tenant keeps the server busy.

use std::time::Duration;

use super::turns::measure_and_print;
use crate::{
    Outcome,
    child::Background,
    job::{Job, KIB, MIB, Work},
    report::{Figures, Results, TargetResult},
    setup::{Peer, Setup},
    shipped::QUIET_TOKEN,
};

pub(super) const NAME: &str = "Get 4 KiB by a quiet tenant during another tenant's flood";

/// The time for the flood to start.
const LEAD: Duration = Duration::from_secs(3);

/// The time limit of a round, in seconds.
const PATIENCE: u64 = 120;

/// The flood comes from separate processes, so that the quiet caller competes with it only in the server and for the
/// machine's CPUs.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let longshore = setup.start(&Peer::Longshore)?;
    let requests = if setup.arguments.quick { 500 } else { 5_000 };
    let quiet = Job::new(Work::Get, 4 * KIB, requests).within(PATIENCE).token(QUIET_TOKEN);
    measure_and_print(&longshore, &quiet, None)?;
    let rounds = setup.arguments.rounds().min(3);
    let alone =
        (0..rounds).map(|_| measure_and_print(&longshore, &quiet, None)).collect::<Outcome<Vec<_>>>()?;
    let mut flood = [
        longshore.begin(&Job::new(Work::Upload, 12 * MIB, u64::MAX / 2).at_once(200, 4))?,
        longshore.begin(&Job::new(Work::Get, 4 * MIB, u64::MAX / 2).at_once(64, 4))?,
    ];
    std::thread::sleep(LEAD);
    let beside =
        (0..rounds).map(|_| measure_and_print(&longshore, &quiet, None)).collect::<Outcome<Vec<_>>>()?;
    flood.iter_mut().try_for_each(Background::check)?;
    let mut figures = [&alone, &beside].map(|rounds| Figures::of(NAME, &Peer::Longshore, &quiet, rounds));
    let median = figures[1].p50_us / figures[0].p50_us;
    results.verdicts.push(TargetResult::at_most(NAME, "median during the flood vs. alone", median, 4.0));
    for (figures, label) in figures.iter_mut().zip(["alone", "during the flood"]) {
        figures.peer = format!("longshore, {label}");
    }
    results.figures.extend(figures);
    Ok(())
}
