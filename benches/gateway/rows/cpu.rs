//! Rows that compare CPU time with peers.

use super::turns::in_turn;
use crate::{
    Outcome,
    arguments::Arguments,
    job::{Job, KIB, Work},
    report::{Results, TargetResult},
    setup::{Peer, Setup},
};

/// A job with more requests than this has small requests.
const FEW: u64 = 100;

/// Measures Longshore first, then its peers.
#[derive(Debug)]
pub(super) struct CpuRow {
    pub(super) name: String,
    job: Job,
    goals: Vec<Goal>,
    /// Peers that are measured without a target.
    beside: Vec<Peer>,
    caller: Option<String>,
}

/// Longshore's maximum CPU time as a ratio of a peer's.
#[derive(Debug)]
struct Goal {
    against: Peer,
    at_most: f64,
    stretch: Option<f64>,
}

fn goal(against: Peer, at_most: f64, stretch: impl Into<Option<f64>>) -> Goal {
    Goal { against, at_most, stretch: stretch.into() }
}

pub(super) fn rows(arguments: &Arguments) -> Vec<CpuRow> {
    let mut rows = large_gets(arguments);
    rows.extend(small_gets(arguments));
    rows.extend(uploads(arguments));
    rows.extend(puts(arguments));
    rows.extend(walk(arguments));
    let others: Vec<Peer> = arguments.peer_names().map(|name| Peer::Other(name.clone())).collect();
    // These peers do not sign payloads.
    for row in rows.iter_mut().filter(|row| row.job.store != "signed") {
        row.beside.extend(others.iter().cloned());
    }
    rows
}

fn large_gets(arguments: &Arguments) -> Vec<CpuRow> {
    let get = Job::new(Work::Get, arguments.large(), 2);
    let four = Job { requests: 4, ..get.clone() }.at_once(4, 4);
    let mut rows = vec![
        row("Get 1 GiB", &get, [goal(Peer::Naive, 0.65, 0.5), goal(Peer::Proxy, 1.6, 1.3)]),
        row(
            "Get 1 GiB, checksums off (S3 sends none)",
            &get.clone().store("plain"),
            [goal(Peer::Naive, 0.65, 0.5), goal(Peer::Proxy, 1.6, 1.3)],
        ),
        row("Get 1 GiB × 4 at once, one connection each", &four, [goal(Peer::Naive, 0.7, 0.6)]),
    ];
    if arguments.grpcio_caller.is_some() {
        let mut grpcio = row("Get 1 GiB from grpcio", &get, [goal(Peer::Naive, 0.55, 0.5)]);
        grpcio.caller.clone_from(&arguments.grpcio_caller);
        rows.push(grpcio);
    }
    rows
}

fn small_gets(arguments: &Arguments) -> Vec<CpuRow> {
    let get = Job::new(Work::Get, 4 * KIB, arguments.requests());
    let goals = || [goal(Peer::Naive, 0.55, 0.45)];
    let mut rows = vec![
        row("Get 4 KiB, 1 in flight", &Job { requests: get.requests / 2, ..get.clone() }, goals()),
        row("Get 4 KiB, 64 in flight on one connection", &get.at_once(64, 1), goals()),
    ];
    for row in &mut rows {
        row.beside.push(Peer::Proxy);
    }
    rows
}

fn uploads(arguments: &Arguments) -> Vec<CpuRow> {
    let upload = Job::new(Work::Upload, arguments.large(), 2);
    let off = Job { checksums: false, ..upload.clone() }.store("plain");
    let small = Job { message: 16 * KIB, ..upload.clone() };
    let mut rows = vec![
        row("Upload 1 GiB", &upload, [goal(Peer::Naive, 0.8, 0.7), goal(Peer::NaiveSigned, 0.37, None)]),
        row(
            "Upload 1 GiB, checksums off (none from the caller, none to S3)",
            &off,
            [goal(Peer::Naive, 0.8, 0.7)],
        ),
        row("Upload 1 GiB in messages of 16 KiB", &small, [goal(Peer::Naive, 0.65, 0.6)]),
        row(
            "Upload 1 GiB, both payloads signed",
            &upload.store("signed"),
            [goal(Peer::NaiveSigned, 0.85, None)],
        ),
    ];
    rows[0].beside.push(Peer::Proxy);
    rows
}

fn puts(arguments: &Arguments) -> Vec<CpuRow> {
    let put = Job::new(Work::Put, 4 * KIB, arguments.requests());
    let signed = || [goal(Peer::NaiveSigned, 0.6, 0.5)];
    vec![
        row("Put 4 KiB, payloads signed, 1 in flight", &put.clone().store("signed"), signed()),
        row(
            "Put 4 KiB, payloads signed, 64 in flight on one connection",
            &put.clone().store("signed").at_once(64, 1),
            signed(),
        ),
        row(
            "Put 4 KiB, payloads unsigned, 64 in flight on one connection",
            &put.at_once(64, 1),
            [goal(Peer::Naive, 0.6, 0.5)],
        ),
    ]
}

fn walk(arguments: &Arguments) -> Vec<CpuRow> {
    let walk = Job::new(Work::Walk, arguments.keys(), 1);
    vec![row("Walk over 1,000,000 keys", &walk, [goal(Peer::Naive, 0.7, None)])]
}

fn row(name: &str, job: &Job, goals: impl Into<Vec<Goal>>) -> CpuRow {
    let (job, goals) = (job.clone(), goals.into());
    CpuRow { name: name.to_owned(), job, goals, beside: Vec::new(), caller: None }
}

impl CpuRow {
    pub(super) fn measure(&self, setup: &Setup, results: &mut Results) -> Outcome<()> {
        let mut turns = vec![(Peer::Longshore, self.job.clone())];
        turns.extend(self.goals.iter().map(|goal| (goal.against.clone(), self.job.clone())));
        turns.extend(self.beside.iter().map(|peer| (peer.clone(), self.job_of(peer))));
        let figures = in_turn(setup, &self.name, &turns, self.caller.as_deref())?;
        for (goal, peer) in self.goals.iter().zip(&figures[1..]) {
            let what = format!("CPU vs. {}", goal.against);
            let verdict = TargetResult::at_most(&self.name, what, figures[0].cpu / peer.cpu, goal.at_most);
            results.verdicts.push(verdict.stretch(goal.stretch));
        }
        results.figures.extend(figures);
        Ok(())
    }

    /// Peers in other languages are slow, so they get a tenth of the small requests.
    fn job_of(&self, peer: &Peer) -> Job {
        let mut job = self.job.clone();
        if matches!(peer, Peer::Other(_)) && job.requests > FEW {
            job.requests /= 10;
        }
        job
    }
}
