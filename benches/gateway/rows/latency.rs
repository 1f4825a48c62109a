//! The latency that a gateway adds to a small Get.

use super::turns::in_turn;
use crate::{
    Outcome,
    job::{Job, KIB, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

pub(super) const NAME: &str = "Latency added to a Get of 4 KiB, 1 in flight";

/// The added latency is the difference from the backend's latency without a gateway.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let job = Job::new(Work::Get, 4 * KIB, setup.arguments.requests() / 4);
    let turns = [Peer::Direct, Peer::Proxy, Peer::Longshore, Peer::Naive].map(|peer| (peer, job.clone()));
    let figures = in_turn(setup, NAME, &turns, None)?;
    let [direct, proxy, ours, naive] = [0, 1, 2, 3].map(|index| &figures[index]);
    let p50 = compared(ours.p50_us - direct.p50_us, proxy.p50_us - direct.p50_us);
    let p99 = compared(ours.p99_us - direct.p99_us, proxy.p99_us - direct.p99_us);
    let by_naive = compared(ours.p50_us - direct.p50_us, naive.p50_us - direct.p50_us);
    eprintln!("  added p50 vs. naive: {by_naive:.2}");
    for (what, ratio) in [("added p50 vs. TCP proxy", p50), ("added p99 vs. TCP proxy", p99)] {
        results.verdicts.push(TargetResult::at_most(NAME, what, ratio, 3.0).stretch(Some(2.0)));
    }
    results.figures.extend(figures);
    Ok(())
}

/// If the peer adds nothing measurable, because of noise, the ratio is infinite.
fn compared(ours: f64, peers: f64) -> f64 {
    if peers > 0.0 { ours / peers } else { f64::INFINITY }
}
