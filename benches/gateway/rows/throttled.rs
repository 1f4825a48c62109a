//! A backend that limits the rate of each connection. Several connections together exceed that rate.

use super::turns::measure_and_print;
use crate::{
    Outcome,
    job::{Job, MIB, Work},
    report::{Figures, Results, TargetResult, median},
    setup::{Peer, Setup},
};

/// The maximum number of rounds, since a round with one connection takes long.
const ROUNDS: usize = 3;

/// The direction of a transfer.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    work: Work,
    at_least: f64,
}

pub(super) const WAYS: &[Way] = &[
    Way { name: "Get 256 MiB from a backend that throttles each connection", work: Work::Get, at_least: 7.5 },
    Way {
        name: "Upload 256 MiB to a backend that throttles each connection",
        work: Work::Upload,
        at_least: 7.0,
    },
];

const STORES: [(&str, &str); 3] = [
    ("throttled-1", "max_concurrency 1"),
    ("throttled-8", "max_concurrency 8"),
    ("throttled", "default concurrency"),
];

impl Way {
    pub(super) fn measure(&self, setup: &Setup, results: &mut Results) -> Outcome<()> {
        let size = if setup.arguments.quick { 64 * MIB } else { 256 * MIB };
        let job = Job::new(self.work, size, 1);
        let longshore = setup.start(&Peer::Longshore)?;
        let mut rounds = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..setup.arguments.rounds().min(ROUNDS) {
            for ((store, _), measured) in STORES.iter().zip(&mut rounds) {
                measured.push(measure_and_print(&longshore, &job.clone().store(store), None)?);
            }
        }
        let seconds = |index: usize| median(rounds[index].iter().map(|round| round.done.seconds).collect());
        for (index, (_, label)) in STORES.iter().enumerate() {
            if index > 0 {
                let what = format!("rate with {label} vs. 1");
                let verdict =
                    TargetResult::at_least(self.name, what, seconds(0) / seconds(index), self.at_least);
                results.verdicts.push(verdict);
            }
            let mut figures = Figures::of(self.name, &Peer::Longshore, &job, &rounds[index]);
            figures.peer = format!("longshore, {label}");
            results.figures.push(figures);
        }
        Ok(())
    }
}
