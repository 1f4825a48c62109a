//! What is measured, a family of rows in a file.

mod beside;
mod cpu;
mod crowd;
mod flood;
mod gone;
mod latency;
mod memory;
mod slow;
mod start;
mod throttled;
mod trickle;
mod turns;

use crate::{
    Outcome,
    report::{Failure, Results},
    stage::Stage,
};

/// A row or a few that belong together, by the name that `--only` looks for.
type Row = (String, Box<dyn Fn(&Stage, &mut Results) -> Outcome<()>>);

/// Measures what was asked for. A row that fails does not keep the others from being measured.
pub(crate) fn measure(stage: &Stage) -> Results {
    let mut results = Results::default();
    for (name, row) in rows(stage) {
        if !stage.arguments.wants(&name) {
            continue;
        }
        eprintln!("{name}");
        if let Err(error) = row(stage, &mut results) {
            eprintln!("  {error}");
            results.failures.push(Failure { row: name, why: error.to_string() });
        }
    }
    results
}

fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for row in cpu::rows(&stage.arguments) {
        rows.push((row.name.clone(), Box::new(move |stage, results| row.measure(stage, results))));
    }
    rows.push((memory::NAME.to_owned(), Box::new(memory::measure)));
    rows.push((latency::NAME.to_owned(), Box::new(latency::measure)));
    for way in throttled::WAYS {
        rows.push((way.name.to_owned(), Box::new(move |stage, results| way.measure(stage, results))));
    }
    rows.push((slow::name(&stage.arguments), Box::new(slow::measure)));
    rows.push((start::NAME.to_owned(), Box::new(start::measure)));
    rows.push((gone::NAME.to_owned(), Box::new(gone::measure)));
    for connections in crowd::CONNECTIONS {
        let name = crowd::name(&stage.arguments, connections);
        rows.push((name, Box::new(move |stage, results| crowd::measure(stage, results, connections))));
    }
    rows.push((trickle::name(&stage.arguments), Box::new(trickle::measure)));
    rows.push((beside::NAME.to_owned(), Box::new(beside::measure)));
    rows.push((flood::NAME.to_owned(), Box::new(flood::measure)));
    rows
}
