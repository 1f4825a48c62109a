//! Many small ranges of an object in one call.

use super::{
    AT_ONCE, memory,
    side::{Side, alternate},
};
use crate::{
    Outcome,
    job::{GIB, Job, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

pub(super) const NAME: &str = "GetRanges: 100 ranges of 4 KiB from 1 GiB";

pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    let calls = if setup.arguments.quick { 2 } else { 10 };
    let job = Job::new(Work::GetRanges, GIB, calls).store("shaped");
    let ideal = job.clone().at_once(AT_ONCE, AT_ONCE);
    let mut sides = vec![
        Side::start(setup, &Peer::Longshore, &job)?,
        Side::start(setup, &Peer::Direct, &ideal)?,
        Side::start(setup, &Peer::ObjectStore, &job)?,
    ];
    sides[1].label = format!("{AT_ONCE} requests in flight, no gateway");
    sides[0].warm(&Job { requests: 1, ..job })?;
    alternate(setup, &mut sides)?;
    let [ours, ideal, object_store] = [0, 1, 2].map(|index| sides[index].p50_us());
    // Medians, because object_store opens its connections in the first call.
    for (what, against, target, stretch) in [
        (format!("median time vs. {AT_ONCE} requests in flight"), ideal, 1.25, 1.1),
        ("median time vs. object_store".to_owned(), object_store, 1.1, 1.0),
    ] {
        let verdict = TargetResult::at_most(NAME, what, ours / against, target);
        results.verdicts.push(verdict.stretch(Some(stretch)));
    }
    results.verdicts.push(memory(NAME, &sides[0]));
    results.figures.extend(sides.iter().map(|side| side.figures(NAME)));
    Ok(())
}
