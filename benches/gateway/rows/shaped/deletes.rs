//! A call that deletes many keys.

use super::{
    AT_ONCE, memory,
    side::{Side, alternate},
};
use crate::{
    Outcome,
    arguments::Arguments,
    job::{BATCH, Job, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

pub(super) fn name(arguments: &Arguments) -> String {
    format!("DeleteMany: {} keys", arguments.deletes())
}

pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let row = name(&setup.arguments);
    let job = Job::new(Work::DeleteMany, setup.arguments.deletes(), 1).store("shaped");
    let ideal = job.clone().at_once(AT_ONCE, AT_ONCE);
    let mut sides = vec![
        Side::start(setup, &Peer::Longshore, &job)?,
        Side::start(setup, &Peer::Direct, &ideal)?,
        Side::start(setup, &Peer::ObjectStore, &job)?,
    ];
    sides[1].label = format!("{AT_ONCE} requests in flight, no gateway");
    sides[0].warm(&Job { size: BATCH, ..job })?;
    alternate(setup, &mut sides)?;
    let what = format!("time vs. {AT_ONCE} requests in flight");
    let verdict = TargetResult::at_most(&row, what, sides[0].seconds() / sides[1].seconds(), 1.25);
    results.verdicts.push(verdict.stretch(Some(1.1)));
    results.verdicts.push(memory(&row, &sides[0]));
    results.figures.extend(sides.iter().map(|side| side.figures(&row)));
    Ok(())
}
