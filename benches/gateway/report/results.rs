//! The results of rows.

use serde::Serialize;

use crate::{
    job::{GIB, Job, RANGES, Work},
    setup::{Measured, Peer},
};

/// The results of all rows so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Results {
    pub(crate) figures: Vec<Figures>,
    pub(crate) verdicts: Vec<TargetResult>,
    pub(crate) failures: Vec<Failure>,
}

/// The medians of one peer in one row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    pub(crate) row: String,
    pub(crate) peer: String,
    /// CPU time, in seconds.
    pub(crate) cpu: f64,
    /// The CPU time per GiB, per small request, per range or per key, with its unit.
    pub(crate) cost: String,
    pub(crate) rate: String,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) peak_mib: f64,
    /// The single rounds.
    pub(crate) rounds: Vec<Round>,
}

/// One round of one peer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    cpu: f64,
    seconds: f64,
    p50_us: f64,
    p99_us: f64,
    peak_mib: f64,
}

/// A figure that has a target.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TargetResult {
    pub(crate) row: String,
    /// What is compared, such as "CPU vs. naive".
    pub(crate) what: String,
    pub(crate) measured: f64,
    /// The unit: `×`, `MiB` or `ms`.
    pub(crate) unit: &'static str,
    /// Whether the target is a minimum.
    pub(crate) at_least: bool,
    pub(crate) target: f64,
    pub(crate) stretch: Option<f64>,
    pub(crate) met: bool,
}

/// A row that could not be measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) row: String,
    pub(crate) why: String,
}

impl Figures {
    pub(crate) fn of(row: &str, peer: &Peer, job: &Job, rounds: &[Measured]) -> Self {
        let of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure).collect());
        let (cpu, seconds) = (of(&|round| round.cpu), of(&|round| round.done.seconds));
        let gib = job.bytes() as f64 / GIB as f64;
        let requests = job.requests as f64;
        let (cost, rate) = match job.work {
            Work::Walk | Work::DeleteMany => {
                let keys = job.size as f64 * requests;
                (format!("{:.2} µs/key", cpu / keys * 1e6), format!("{:.0} keys/s", keys / seconds))
            }
            Work::GetRanges => {
                let ranges = RANGES as f64 * requests;
                (format!("{:.1} µs", cpu / ranges * 1e6), format!("{:.0} ranges/s", ranges / seconds))
            }
            _ if job.size < 1024 * 1024 || job.work == Work::Head => {
                (format!("{:.1} µs", cpu / requests * 1e6), format!("{:.0}/s", requests / seconds))
            }
            _ => (format!("{:.3} s/GiB", cpu / gib), format!("{:.0} MiB/s", gib * 1024.0 / seconds)),
        };
        Self {
            row: row.to_owned(),
            peer: peer.to_string(),
            cpu,
            cost,
            rate,
            p50_us: of(&|round| round.done.p50_us),
            p99_us: of(&|round| round.done.p99_us),
            peak_mib: of(&|round| round.peak),
            rounds: rounds.iter().map(Round::of).collect(),
        }
    }
}

impl Round {
    fn of(measured: &Measured) -> Self {
        let Measured { cpu, peak, done } = measured.clone();
        Self { cpu, seconds: done.seconds, p50_us: done.p50_us, p99_us: done.p99_us, peak_mib: peak }
    }
}

impl TargetResult {
    /// A figure that must be at most `target`.
    pub(crate) fn at_most(row: &str, what: impl Into<String>, measured: f64, target: f64) -> Self {
        let what = what.into();
        let met = measured <= target;
        let (row, stretch) = (row.to_owned(), None);
        Self { row, what, measured, unit: "×", at_least: false, target, stretch, met }
    }

    /// A figure that must be at least `target`.
    pub(crate) fn at_least(row: &str, what: impl Into<String>, measured: f64, target: f64) -> Self {
        let met = measured >= target;
        Self { at_least: true, met, ..Self::at_most(row, what, measured, target) }
    }

    /// Sets the stretch target.
    pub(crate) fn stretch(mut self, stretch: Option<f64>) -> Self {
        self.stretch = stretch;
        self
    }

    /// Sets the unit.
    pub(crate) fn unit(mut self, unit: &'static str) -> Self {
        self.unit = unit;
        self
    }
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        length if length % 2 == 0 => f64::midpoint(figures[middle - 1], figures[middle]),
        _ => figures[middle],
    }
}
