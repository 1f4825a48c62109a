//! A large object over several connections, each with a limited rate.

use super::{
    memory,
    side::{Side, alternate},
};
use crate::{
    Outcome,
    job::{Job, MIB, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

/// The direction of a transfer.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) name: &'static str,
    work: Work,
}

pub(super) const WAYS: &[Way] = &[
    Way { name: "Get 1 GiB from S3", work: Work::Get },
    Way { name: "Upload 1 GiB to S3", work: Work::Upload },
];

impl Way {
    pub(super) fn measure(&self, setup: &Setup, results: &mut Results) -> Outcome<()> {
        let job = Job::new(self.work, setup.arguments.large(), 1).store("shaped");
        let mut sides = vec![Side::start(setup, &Peer::Longshore, &job)?];
        sides.push(sides[0].on("shaped-1", "longshore, max_concurrency 1"));
        sides.push(Side::start(setup, &Peer::ObjectStore, &job)?);
        if let Some(command) = &setup.arguments.boto3_caller {
            sides.push(Side::start(setup, &Peer::Boto3, &job)?.caller(command));
        }
        for name in setup.arguments.peer_names() {
            sides.push(Side::start(setup, &Peer::Other(name.clone()), &job)?);
        }
        for side in &sides {
            side.warm(&Job { size: 16 * MIB, ..job.clone() })?;
        }
        alternate(setup, &mut sides)?;
        let faster = sides[1].seconds() / sides[0].seconds();
        let verdict = TargetResult::at_least(self.name, "rate vs. max_concurrency 1", faster, 9.0);
        results.verdicts.push(verdict.stretch(Some(9.7)));
        results.verdicts.push(memory(self.name, &sides[0]));
        results.figures.extend(sides.iter().map(|side| side.figures(self.name)));
        Ok(())
    }
}
