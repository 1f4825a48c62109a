//! The time from process start until the server serves.

use std::time::Instant;

use crate::{
    Outcome, child,
    report::{Results, TargetResult, median},
    setup::{Peer, Running, Setup},
};

pub(super) const NAME: &str = "Startup time until health reports SERVING";

pub(super) fn measure(setup: &Setup, results: &mut Results) -> Outcome<()> {
    // An uncounted start loads the program into the page cache.
    let template = setup.start(&Peer::Longshore)?.target;
    let mut times = Vec::new();
    for _ in 0..setup.arguments.rounds() {
        let addresses = child::free_addresses()?;
        let start = Instant::now();
        let child = setup.shipped.start(addresses)?;
        let mut target = template.clone();
        target.address = child.address;
        let mut running = Running { peer: Peer::Longshore, target, child: Some(child) };
        setup.runtime.block_on(running.until_serving())?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("  {times:.1?} ms");
    results.verdicts.push(TargetResult::at_most(NAME, "median", median(times), 50.0).unit("ms"));
    Ok(())
}
