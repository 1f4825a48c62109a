//! What a gateway adds to the time that a small Get takes.

use super::turns::in_turn;
use crate::{
    Outcome,
    job::{Job, KIB, Work},
    report::{Results, Verdict},
    stage::{Peer, Stage},
};

pub(super) const NAME: &str = "Latency added to a Get of 4 KiB, 1 in flight";

/// Added is what the time is longer than that of the backend without a gateway.
pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let job = Job::new(Work::Get, 4 * KIB, stage.arguments.requests() / 4);
    let turns = [Peer::Direct, Peer::Proxy, Peer::Longshore, Peer::Naive].map(|peer| (peer, job.clone()));
    let figures = in_turn(stage, NAME, &turns, None)?;
    let [direct, proxy, ours, naive] = [0, 1, 2, 3].map(|index| &figures[index]);
    let p50 = compared(ours.p50_us - direct.p50_us, proxy.p50_us - direct.p50_us);
    let p99 = compared(ours.p99_us - direct.p99_us, proxy.p99_us - direct.p99_us);
    let by_naive = compared(ours.p50_us - direct.p50_us, naive.p50_us - direct.p50_us);
    eprintln!("  p50 added against naive's: {by_naive:.2}");
    for (what, ratio) in
        [("p50 added against the TCP proxy's", p50), ("p99 added against the TCP proxy's", p99)]
    {
        results.verdicts.push(Verdict::at_most(NAME, what, ratio, 3.0).stretch(Some(2.0)));
    }
    results.figures.extend(figures);
    Ok(())
}

/// Where noise has the peer add nothing, no comparison is good enough.
fn compared(ours: f64, peers: f64) -> f64 {
    if peers > 0.0 { ours / peers } else { f64::INFINITY }
}
