//! Rows on the backend that has S3's latencies and per-connection rate.

mod cold;
mod deletes;
mod ranges;
mod side;
mod transfer;
mod walk;

use self::side::Side;
use super::Row;
use crate::{
    Outcome,
    arguments::Arguments,
    backend::{REQUESTS, Requests},
    caller::http,
    report::{TargetResult, median},
    setup::Setup,
};

/// How many requests the ideal caller keeps in flight.
const AT_ONCE: u64 = 10;

/// The memory that a call may use on top of what the idle server uses: a quarter of the default budget, in MiB.
const MEMORY: f64 = 64.0;

pub(super) fn rows(arguments: &Arguments) -> Vec<Row> {
    let mut rows: Vec<Row> = vec![(ranges::NAME.to_owned(), Box::new(ranges::measure))];
    for tree in walk::TREES {
        let row = move |setup: &_, results: &mut _| tree.measure(setup, results);
        rows.push((tree.name(arguments), Box::new(row)));
    }
    rows.push((deletes::name(arguments), Box::new(deletes::measure)));
    for way in transfer::WAYS {
        rows.push((way.name.to_owned(), Box::new(move |setup, results| way.measure(setup, results))));
    }
    rows.push((cold::NAME.to_owned(), Box::new(cold::measure)));
    rows
}

/// The median peak of a side, without the memory that its process had used before its first job.
fn memory(row: &str, side: &Side) -> TargetResult {
    let peak = median(side.rounds.iter().map(|round| round.peak).collect());
    TargetResult::at_most(row, "peak memory, without idle memory", peak - side.idle, MEMORY).unit("MiB")
}

/// The requests that the backend has received so far.
fn requests(setup: &Setup) -> Outcome<Requests> {
    setup.runtime.block_on(async {
        let text = http::Caller::connect(&setup.backend()).await?.text(REQUESTS).await?;
        Ok(serde_json::from_str(&text)?)
    })
}
