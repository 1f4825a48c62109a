//! The peak of four uploads at once.

use super::turns::told;
use crate::{
    Outcome,
    job::{Job, Work},
    report::{Figures, Results, Verdict},
    stage::{Peer, Stage},
};

pub(super) const NAME: &str = "Memory: Upload 1 GiB × 4 at once";

/// Each round has processes of its own: what an allocator keeps is not counted against the next round.
pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    let job = Job::new(Work::Upload, stage.arguments.large(), 4).at_once(4, 4);
    let peers = [Peer::Longshore, Peer::Naive];
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..stage.arguments.rounds() {
        for (peer, measured) in peers.iter().zip(&mut rounds) {
            measured.push(told(&stage.start(peer)?, &job, None)?);
        }
    }
    let [ours, naive] = [0, 1].map(|index| Figures::of(NAME, &peers[index], &job, &rounds[index]));
    let ratio = ours.peak_mib / naive.peak_mib;
    results.verdicts.push(Verdict::at_most(NAME, "peak against naive", ratio, 0.6).stretch(Some(0.5)));
    results.figures.extend([ours, naive]);
    Ok(())
}
