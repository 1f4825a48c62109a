//! A small call beside a stalled call on the same connection.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    job::{Beside, Job, KIB, Work},
    report::{Figures, Results, TargetResult, median},
    setup::{Measured, Peer, Running, Setup},
};

pub(super) const NAME: &str = "Head beside a stalled call on the same connection";

/// The time limit of a round, in seconds.
const PATIENCE: u64 = 20;

/// The kinds of stalled call. The first case runs alone.
const CASES: [(Option<Beside>, &str); 4] = [
    (None, "alone"),
    (Some(Beside::SilentUploads), "beside 20 uploads to an S3 server that never reads"),
    (Some(Beside::UnreadGet), "beside a Get that the caller does not read"),
    (Some(Beside::UnreadWalk), "beside a Walk that the caller does not read"),
];

/// The cases alternate, so that changes in the machine's load affect all of them. If a case fails, the others continue.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let longshore = setup.start(&Peer::Longshore)?;
    let mut rounds: Vec<Vec<Measured>> = vec![Vec::new(); CASES.len()];
    let mut failed: Vec<Option<String>> = vec![None; CASES.len()];
    round(&longshore, None, setup)?;
    for _ in 0..setup.arguments.rounds() {
        for (at, (beside, label)) in CASES.iter().enumerate() {
            if failed[at].is_some() {
                continue;
            }
            match round(&longshore, *beside, setup) {
                Ok(measured) => rounds[at].push(measured),
                Err(error) => failed[at] = Some(format!("{label}: {error}")),
            }
        }
    }
    let p50 = |at: usize| median(rounds[at].iter().map(|round| round.done.p50_us).collect());
    for (at, (beside, label)) in CASES.iter().enumerate() {
        let slower = if failed[at].is_some() { f64::INFINITY } else { p50(at) / p50(0) };
        if beside.is_some() {
            results.verdicts.push(TargetResult::at_most(
                NAME,
                format!("median {label}, vs. alone"),
                slower,
                2.0,
            ));
        }
        if failed[at].is_none() {
            let mut figures = Figures::of(NAME, &Peer::Longshore, &job(*beside, setup), &rounds[at]);
            figures.peer = format!("longshore, {label}");
            results.figures.push(figures);
        }
    }
    failed.iter().flatten().for_each(|why| eprintln!("  {why}"));
    Ok(())
}

fn round(longshore: &Running, beside: Option<Beside>, setup: &Setup) -> Outcome<Measured> {
    measure_and_print(longshore, &job(beside, setup), None)
}

fn job(beside: Option<Beside>, setup: &Setup) -> Job {
    let requests = if setup.arguments.quick { 500 } else { 5_000 };
    let mut job = Job::new(Work::Head, 4 * KIB, requests).within(PATIENCE);
    // The caller's connection window is far larger than a stream's, so that the unread call does not exhaust it.
    job.windows = (64 * 1024, 16 << 20);
    job.beside = beside;
    job
}
