//! A walk over many pages.

use super::{
    memory, requests,
    side::{Side, alternate},
};
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

/// The number of keys in a page.
const PAGE: u64 = 1000;

/// Callers that read one page at a time are measured if that takes at most this long, in seconds.
const PATIENCE: f64 = 20.0;

/// Keys that a walk lists.
#[derive(Debug)]
pub(super) struct Tree {
    store: &'static str,
    keys: &'static str,
}

pub(super) const TREES: &[Tree] = &[
    Tree { store: "shaped", keys: "below one prefix" },
    Tree { store: "shaped-tree", keys: "below 1,000 prefixes" },
];

impl Tree {
    pub(super) fn name(&self, arguments: &Arguments) -> String {
        format!("Walk: {} keys {}", arguments.keys(), self.keys)
    }

    pub(super) fn measure(&self, setup: &Setup, results: &mut Results) -> Outcome<()> {
        let row = self.name(&setup.arguments);
        let job = Job::new(Work::Walk, setup.arguments.keys(), 1).store(self.store);
        let pages = job.size.div_ceil(PAGE);
        let mut sides = vec![Side::start(setup, &Peer::Longshore, &job)?];
        sides[0].warm(&Job { work: Work::Head, size: 0, ..job.clone() })?;
        let before = requests(setup)?;
        alternate(setup, &mut sides)?;
        let after = requests(setup)?;
        let lists = (after.list - before.list) as f64 / sides[0].rounds.len() as f64;
        let ms = setup.arguments.shape.list_page_ms;
        let mut sequential = (pages * ms) as f64 / 1e3;
        let mut what = format!("rate vs. one page at a time (computed: {pages} pages × {ms} ms)");
        if sequential <= PATIENCE {
            sides.push(Side::start(setup, &Peer::Direct, &job)?);
            sides.push(Side::start(setup, &Peer::ObjectStore, &job)?);
            "one page at a time, no gateway".clone_into(&mut sides[1].label);
            alternate(setup, &mut sides[1..])?;
            sequential = sides[1].seconds();
            "rate vs. one page at a time".clone_into(&mut what);
        }
        let faster = TargetResult::at_least(&row, what, sequential / sides[0].seconds(), 6.0);
        results.verdicts.push(faster.stretch(Some(9.0)));
        let extra = TargetResult::at_most(&row, "list requests vs. pages", lists / pages as f64, 1.05);
        results.verdicts.push(extra);
        results.verdicts.push(memory(&row, &sides[0]));
        results.figures.extend(sides.iter().map(|side| side.figures(&row)));
        Ok(())
    }
}
