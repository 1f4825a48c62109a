//! From the start of the process until it serves.

use std::time::Instant;

use crate::{
    Outcome, child,
    report::{Results, Verdict, median},
    stage::{Peer, Running, Stage},
};

pub(super) const NAME: &str = "Start until a health call says SERVING";

pub(super) fn measure(stage: &Stage, results: &mut Results) -> Outcome<()> {
    // One that is not counted brings the program into memory.
    let template = stage.start(&Peer::Longshore)?.target;
    let mut times = Vec::new();
    for _ in 0..stage.arguments.rounds() {
        let addresses = child::free_addresses()?;
        let start = Instant::now();
        let child = stage.shipped.start(addresses)?;
        let mut target = template.clone();
        target.address = child.address;
        let mut running = Running { peer: Peer::Longshore, target, child: Some(child) };
        stage.runtime.block_on(running.until_serving())?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("  {times:.1?} ms");
    results.verdicts.push(Verdict::at_most(NAME, "median", median(times), 50.0).unit("ms"));
    Ok(())
}
