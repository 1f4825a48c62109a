//! The memory peak of four concurrent uploads.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    job::{Job, Work},
    report::{Figures, Results, TargetResult},
    setup::{Peer, Setup},
};

pub(super) const NAME: &str = "Memory: Upload 1 GiB × 4 at once";

/// Each round starts new processes, so that memory retained by the allocator does not count in the next round.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let job = Job::new(Work::Upload, setup.arguments.large(), 4).at_once(4, 4);
    let peers = [Peer::Longshore, Peer::Naive];
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..setup.arguments.rounds() {
        for (peer, measured) in peers.iter().zip(&mut rounds) {
            measured.push(measure_and_print(&setup.start(peer)?, &job, None)?);
        }
    }
    let [ours, naive] = [0, 1].map(|index| Figures::of(NAME, &peers[index], &job, &rounds[index]));
    let ratio = ours.peak_mib / naive.peak_mib;
    results.verdicts.push(TargetResult::at_most(NAME, "peak vs. naive", ratio, 0.6).stretch(Some(0.5)));
    results.figures.extend([ours, naive]);
    Ok(())
}
