//! Measures peers alternately: A B A B.

use crate::{
    Outcome,
    job::Job,
    report::Figures,
    setup::{Measured, Peer, Running, Setup},
};

/// Each peer runs its job once per round, after one uncounted run. Returns the medians, in the order of the peers.
pub(super) fn in_turn(
    setup: &Setup,
    row: &str,
    turns: &[(Peer, Job)],
    caller: Option<&str>,
) -> Outcome<Vec<Figures>> {
    let running = turns.iter().map(|(peer, _)| setup.start(peer)).collect::<Outcome<Vec<_>>>()?;
    for (peer, (_, job)) in running.iter().zip(turns) {
        peer.measure(&Job { requests: job.requests.div_ceil(20).max(job.in_flight), ..job.clone() }, caller)?;
    }
    let mut rounds = vec![Vec::new(); turns.len()];
    for _ in 0..setup.arguments.rounds() {
        for ((peer, (_, job)), measured) in running.iter().zip(turns).zip(&mut rounds) {
            measured.push(measure_and_print(peer, job, caller)?);
        }
    }
    Ok(turns.iter().zip(&rounds).map(|((peer, job), rounds)| Figures::of(row, peer, job, rounds)).collect())
}

/// Measures a job and prints the figures to standard error.
pub(super) fn measure_and_print(peer: &Running, job: &Job, caller: Option<&str>) -> Outcome<Measured> {
    let measured = peer.measure(job, caller)?;
    let Measured { cpu, peak, done } = &measured;
    let name = peer.peer.to_string();
    eprintln!(
        "  {name:24} CPU {cpu:6.2} s in {:6.2} s, p50 {:9.1} µs, p99 {:9.1} µs, peak {peak:6.1} MiB",
        done.seconds, done.p50_us, done.p99_us
    );
    Ok(measured)
}
