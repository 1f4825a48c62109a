//! A small call beside one that stalls, on the same connection.

use super::turns::told;
use crate::{
    Outcome,
    job::{Beside, Job, KIB, Work},
    report::{Figures, Results, Verdict, median},
    stage::{Measured, Peer, Running, Stage},
};

pub(super) const NAME: &str = "Head beside a call that stalls on the same connection";

/// Seconds that a round may take.
const PATIENCE: u64 = 20;

/// What stalls. The first runs alone.
const CASES: [(Option<Beside>, &str); 4] = [
    (None, "alone"),
    (Some(Beside::SilentUploads), "beside 20 uploads to an S3 server that never reads"),
    (Some(Beside::UnreadGet), "beside a Get that the caller does not read"),
    (Some(Beside::UnreadWalk), "beside a Walk that the caller does not read"),
];

/// The cases take turns, so that changes of the machine's load meet them all. A case that fails leaves the others.
pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let longshore = stage.start(&Peer::Longshore)?;
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); CASES.len()];
    let mut failed: Vec<Option<String>> = vec![None; CASES.len()];
    round(&longshore, None, stage)?;
    for _ in 0..stage.arguments.rounds() {
        for (at, (beside, label)) in CASES.iter().enumerate() {
            if failed[at].is_some() {
                continue;
            }
            match round(&longshore, *beside, stage) {
                Ok(measured) => rounds[at].push(measured),
                Err(error) => failed[at] = Some(format!("{label}: {error}")),
            }
        }
    }
    let p50 = |at: usize| median(rounds[at].iter().map(|round| round.done.p50_us).collect());
    for (at, (beside, label)) in CASES.iter().enumerate() {
        let slower = if failed[at].is_some() { f64::INFINITY } else { p50(at) / p50(0) };
        if beside.is_some() {
            results.verdicts.push(Verdict::at_most(
                NAME,
                format!("median {label}, against alone"),
                slower,
                2.0,
            ));
        }
        if failed[at].is_none() {
            let mut figures = Figures::of(NAME, &Peer::Longshore, &job(*beside, stage), &rounds[at]);
            figures.peer = format!("longshore, {label}");
            results.figures.push(figures);
        }
    }
    failed.iter().flatten().for_each(|why| eprintln!("  {why}"));
    Ok(())
}

fn round(longshore: &Running, beside: Option<Beside>, stage: &Stage) -> Outcome<Measured> {
    told(longshore, &job(beside, stage), None)
}

fn job(beside: Option<Beside>, stage: &Stage) -> Job {
    let requests = if stage.arguments.quick { 500 } else { 5_000 };
    let mut job = Job::new(Work::Head, 4 * KIB, requests).within(PATIENCE);
    // The caller's own connection window is far larger than that of a stream, so that the unread call does not use it up.
    job.windows = (64 * 1024, 16 << 20);
    job.beside = beside;
    job
}
