//! A tenant that makes small calls beside one that keeps the server busy.

use std::time::Duration;

use super::turns::told;
use crate::{
    Outcome,
    child::Background,
    job::{Job, KIB, MIB, Work},
    report::{Figures, Results, Verdict},
    shipped::QUIET_TOKEN,
    stage::{Peer, Stage},
};

pub(super) const NAME: &str = "Get 4 KiB by a quiet tenant beside another tenant's flood";

/// Time for the flood to begin.
const LEAD: Duration = Duration::from_secs(3);

/// Seconds that a round may take.
const PATIENCE: u64 = 120;

/// The flood comes from processes of its own, so that the quiet caller competes with it in the server only, and for
/// the machine's processors.
pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let longshore = stage.start(&Peer::Longshore)?;
    let requests = if stage.arguments.quick { 500 } else { 5_000 };
    let mut quiet = Job::new(Work::Get, 4 * KIB, requests).within(PATIENCE);
    QUIET_TOKEN.clone_into(&mut quiet.token);
    told(&longshore, &quiet, None)?;
    let rounds = stage.arguments.rounds().min(3);
    let alone = (0..rounds).map(|_| told(&longshore, &quiet, None)).collect::<Outcome<Vec<_>>>()?;
    let mut flood = [
        longshore.begin(&Job::new(Work::Upload, 12 * MIB, u64::MAX / 2).at_once(200, 4))?,
        longshore.begin(&Job::new(Work::Get, 4 * MIB, u64::MAX / 2).at_once(64, 4))?,
    ];
    std::thread::sleep(LEAD);
    let beside = (0..rounds).map(|_| told(&longshore, &quiet, None)).collect::<Outcome<Vec<_>>>()?;
    flood.iter_mut().try_for_each(Background::check)?;
    let mut figures = [&alone, &beside].map(|rounds| Figures::of(NAME, &Peer::Longshore, &quiet, rounds));
    let median = figures[1].p50_us / figures[0].p50_us;
    results.verdicts.push(Verdict::at_most(NAME, "median beside the flood against alone", median, 4.0));
    for (figures, label) in figures.iter_mut().zip(["alone", "beside the flood"]) {
        figures.peer = format!("longshore, {label}");
    }
    results.figures.extend(figures);
    Ok(())
}
