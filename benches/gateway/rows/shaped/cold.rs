//! The first calls right after startup, when Longshore has no connections to S3 yet.

use super::super::turns::measure_and_print;
use crate::{
    Outcome,
    job::{Job, KIB, Work},
    report::{Figures, Results, TargetResult, median},
    setup::{Peer, Setup},
};

pub(super) const NAME: &str = "Cold connections: Get 4 KiB from S3 with TLS, 64 in flight on one connection";

/// The maximum number of rounds.
const ROUNDS: usize = 3;

/// Each round starts a new process. Without `--tls`, the row starts a backend with TLS for itself.
pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let secure;
    let setup = if setup.arguments.tls {
        setup
    } else {
        let mut arguments = setup.arguments.clone();
        arguments.tls = true;
        secure = Setup::prepare(arguments)?;
        &secure
    };
    let job = Job::new(Work::Get, 4 * KIB, 1_000).store("shaped").at_once(64, 1);
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..setup.arguments.rounds().min(ROUNDS) {
        let longshore = setup.start(&Peer::Longshore)?;
        for measured in &mut rounds {
            measured.push(measure_and_print(&longshore, &job, None)?);
        }
    }
    let [cold, warm] =
        [0, 1].map(|index| median(rounds[index].iter().map(|round| round.done.seconds).collect()));
    let verdict = TargetResult::at_most(NAME, "time right after startup vs. next 1,000", cold / warm, 1.5);
    results.verdicts.push(verdict.stretch(Some(1.2)));
    for (label, rounds) in ["longshore, right after startup", "longshore, next 1,000"].iter().zip(&rounds) {
        let mut figures = Figures::of(NAME, &Peer::Longshore, &job, rounds);
        (*label).clone_into(&mut figures.peer);
        results.figures.push(figures);
    }
    Ok(())
}
