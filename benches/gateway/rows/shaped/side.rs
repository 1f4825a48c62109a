//! What a row compares: jobs of several peers, in alternation.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{super::turns::measure_and_print, requests};
use crate::{
    Outcome,
    job::Job,
    report::{Figures, median},
    setup::{Measured, Peer, Running, Setup},
};

/// The maximum number of rounds. The times mostly consist of waiting, so they hardly differ.
const ROUNDS: usize = 3;

/// After this time, no further round begins.
const LONG: Duration = Duration::from_mins(1);

/// A peer with its job.
pub(super) struct Side {
    pub(super) label: String,
    running: Rc<Running>,
    job: Job,
    /// The command of another caller program.
    caller: Option<String>,
    /// The memory of the peer's process before its first job, in MiB.
    pub(super) idle: f64,
    pub(super) rounds: Vec<Measured>,
}

impl Side {
    /// Starts a peer for this side alone.
    pub(super) fn start(setup: &Setup, peer: &Peer, job: &Job) -> Outcome<Self> {
        Self::of(&Rc::new(setup.start_on(peer, job.bucket())?), job)
    }

    pub(super) fn of(running: &Rc<Running>, job: &Job) -> Outcome<Self> {
        let (label, idle) = (running.peer.to_string(), running.memory()?);
        let (running, job) = (running.clone(), job.clone());
        Ok(Self { label, running, job, caller: None, idle, rounds: Vec::new() })
    }

    /// The same process with another store, as a side of its own.
    pub(super) fn on(&self, store: &str, label: &str) -> Self {
        Self {
            label: label.to_owned(),
            running: self.running.clone(),
            job: self.job.clone().store(store),
            caller: self.caller.clone(),
            idle: self.idle,
            rounds: Vec::new(),
        }
    }

    pub(super) fn caller(mut self, command: &str) -> Self {
        self.caller = Some(command.to_owned());
        self
    }

    /// Runs a job that is not counted.
    pub(super) fn warm(&self, job: &Job) -> Outcome<()> {
        self.running.measure(job, self.caller.as_deref()).map(drop)
    }

    /// The median time of a round, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.done.seconds).collect())
    }

    /// The median time of a call, in microseconds.
    pub(super) fn p50_us(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.done.p50_us).collect())
    }

    pub(super) fn figures(&self, row: &str) -> Figures {
        let mut figures = Figures::of(row, &self.running.peer, &self.job, &self.rounds);
        figures.peer.clone_from(&self.label);
        figures
    }
}

/// Measures the sides alternately, at least once.
pub(super) fn alternate(setup: &Setup, sides: &mut [Side]) -> Outcome<()> {
    let start = Instant::now();
    for round in 0..setup.arguments.rounds().min(ROUNDS) {
        if round > 0 && start.elapsed() > LONG {
            break;
        }
        for side in &mut *sides {
            // Querying resets the maximum.
            requests(setup)?;
            side.rounds.push(measure_and_print(&side.running, &side.job, side.caller.as_deref())?);
            eprintln!("    at most {} requests to S3 in flight", requests(setup)?.most_in_flight);
        }
    }
    Ok(())
}
