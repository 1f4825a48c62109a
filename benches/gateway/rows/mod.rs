//! The rows of the benchmark, one file per family.

mod beside;
mod cpu;
mod crowd;
mod flood;
mod gone;
mod latency;
mod memory;
mod neighbours;
mod overload;
mod shaped;
mod slow;
mod start;
mod throttled;
mod trickle;
mod turns;

use crate::{
    Outcome,
    arguments::Behaviour,
    report::{Failure, Results},
    setup::Setup,
};

/// A row or a group of related rows, with the name that `--only` matches.
type Row = (String, Box<dyn Fn(&Setup, &mut Results) -> Outcome<()>>);

/// Measures the selected rows. If a row fails, the others are still measured.
pub(crate) fn measure(setup: &Setup) -> Results {
    let mut results = Results::default();
    for (name, row) in rows(setup) {
        if !setup.arguments.wants(&name) {
            continue;
        }
        eprintln!("{name}");
        if let Err(error) = row(setup, &mut results) {
            eprintln!("  {error}");
            results.failures.push(Failure { row: name, why: error.to_string() });
        }
    }
    results
}

fn rows(setup: &Setup) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    if setup.arguments.runs_on(Behaviour::S3) {
        rows.extend(shaped::rows(&setup.arguments));
    }
    if setup.arguments.runs_on(Behaviour::Loopback) {
        rows.extend(loopback(setup));
    }
    rows
}

fn loopback(setup: &Setup) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for row in cpu::rows(&setup.arguments) {
        rows.push((row.name.clone(), Box::new(move |setup, results| row.measure(setup, results))));
    }
    rows.push((memory::NAME.to_owned(), Box::new(memory::measure)));
    rows.push((latency::NAME.to_owned(), Box::new(latency::measure)));
    for way in throttled::WAYS {
        rows.push((way.name.to_owned(), Box::new(move |setup, results| way.measure(setup, results))));
    }
    rows.push((slow::name(&setup.arguments), Box::new(slow::measure)));
    rows.push((start::NAME.to_owned(), Box::new(start::measure)));
    rows.push((gone::NAME.to_owned(), Box::new(gone::measure)));
    for connections in crowd::CONNECTIONS {
        let name = crowd::name(&setup.arguments, connections);
        rows.push((name, Box::new(move |setup, results| crowd::measure(setup, results, connections))));
    }
    rows.push((trickle::name(&setup.arguments), Box::new(trickle::measure)));
    rows.push((beside::NAME.to_owned(), Box::new(beside::measure)));
    rows.push((flood::NAME.to_owned(), Box::new(flood::measure)));
    rows.push((neighbours::NAME.to_owned(), Box::new(neighbours::measure)));
    rows.push((overload::NAME.to_owned(), Box::new(overload::measure)));
    rows
}
