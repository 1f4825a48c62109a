//! More calls than the server accepts at a time.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    job::{Job, KIB, Work},
    report::{Figures, Results, TargetResult, median},
    setup::{Measured, Peer, Setup},
};

pub(super) const NAME: &str = "Get 4 KiB at ten times the calls that may be in flight";

/// The calls that may be in flight.
const IN_FLIGHT: u64 = 64;

/// The times of them that callers make. A call beyond the limit waits, or is rejected and made again.
const TIMES: [u64; 3] = [1, 2, 10];

/// The time after which a rejected call is made again, in milliseconds: what S3 takes for a call that is accepted.
const REPEAT_AFTER: u64 = 30;

/// The time limit of a round, in seconds.
const PATIENCE: u64 = 300;

/// The bucket has S3's latencies, so that the limit is reached before the machine's.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let in_flight = IN_FLIGHT.to_string();
    let longshore = setup.start_with(&[
        ("LONGSHORE_MAX_IN_FLIGHT", in_flight.as_str()),
        ("LONGSHORE_TENANT_LIMITS", "{max_in_flight: 64}"),
    ])?;
    let requests = if setup.arguments.quick { 2_000 } else { 20_000 };
    let job = |times: u64| {
        let job = Job::new(Work::Get, 4 * KIB, requests).store("shaped").within(PATIENCE);
        job.repeat_after(REPEAT_AFTER).at_once(times * IN_FLIGHT, times)
    };
    measure_and_print(&longshore, &job(1), None)?;
    let mut rounds: [Vec<Measured>; TIMES.len()] = Default::default();
    for _ in 0..setup.arguments.rounds().min(3) {
        for (rounds, times) in rounds.iter_mut().zip(TIMES) {
            rounds.push(measure_and_print(&longshore, &job(times), None)?);
        }
    }
    let seconds = |rounds: &[Measured]| median(rounds.iter().map(|round| round.done.seconds).collect());
    let best = rounds[..2].iter().map(|rounds| seconds(rounds)).fold(f64::INFINITY, f64::min);
    let what = "completed calls per second vs. best";
    results
        .verdicts
        .push(TargetResult::at_least(NAME, what, best / seconds(&rounds[2]), 0.8).stretch(Some(0.95)));
    for (rounds, times) in rounds.iter().zip(TIMES) {
        let mut figures = Figures::of(NAME, &Peer::Longshore, &job(times), rounds);
        figures.peer = format!("longshore, {times} × as many calls");
        results.figures.push(figures);
    }
    Ok(())
}
