//! The table of results.

use std::{fmt::Write, fs, path::Path, time::Duration};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

use super::{
    Outcome,
    load::{Measured, Work},
    process,
};

const BEGIN: &str = "<!-- embedded-bench: begin -->";
const END: &str = "<!-- embedded-bench: end -->";

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    date: String,
    machine: String,
    load_before: f64,
    load_after: f64,
    rounds: usize,
    media: Vec<Medium>,
}

/// The figures with the servers' data in one place.
#[derive(Debug, Serialize)]
pub(super) struct Medium {
    pub(super) name: String,
    pub(super) rows: Vec<Row>,
}

/// The medians of one server for one workload.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    work: &'static str,
    server: String,
    size: usize,
    requests_per_second: f64,
    mib_per_second: f64,
    /// Over the requests of all rounds.
    p50_ms: f64,
    p99_ms: f64,
    cpu_us_per_request: f64,
    cpu_s_per_gib: f64,
    peak_mib: f64,
    #[serde(skip)]
    large: bool,
}

impl Row {
    pub(super) fn of(work: &Work, server: &str, rounds: Vec<Measured>) -> Self {
        let median_of = |figure: &dyn Fn(&Measured) -> f64| median(rounds.iter().map(figure).collect());
        let rate = median_of(&|round| round.latencies.len() as f64 / round.elapsed.as_secs_f64());
        let cpu = median_of(&|round| round.cpu.as_secs_f64() / round.latencies.len() as f64);
        let peak = median_of(&|round| round.peak as f64);
        let mut latencies: Vec<_> = rounds.into_iter().flat_map(|round| round.latencies).collect();
        latencies.sort_unstable();
        let mib = work.size as f64 / 1_048_576.0;
        Self {
            work: work.name,
            server: server.to_owned(),
            size: work.size,
            requests_per_second: rate,
            mib_per_second: rate * mib,
            p50_ms: quantile(&latencies, 0.50),
            p99_ms: quantile(&latencies, 0.99),
            cpu_us_per_request: cpu * 1e6,
            cpu_s_per_gib: cpu * 1024.0 / mib,
            peak_mib: peak / 1_048_576.0,
            large: work.is_large(),
        }
    }

    /// One line for the terminal, to show progress.
    pub(super) fn line(&self) -> String {
        let server = Path::new(&self.server).file_name().unwrap_or_default().to_string_lossy();
        format!(
            "{:30} {server:20} {:>12} p50 {:8.2} p99 {:8.2} ms, {:9.0} us/request {:6.2} s/GiB, {:4.0} MiB",
            self.work,
            self.rate(),
            self.p50_ms,
            self.p99_ms,
            self.cpu_us_per_request,
            self.cpu_s_per_gib,
            self.peak_mib
        )
    }

    fn rate(&self) -> String {
        if self.large {
            format!("{:.0} MiB/s", self.mib_per_second)
        } else {
            format!("{:.0}/s", self.requests_per_second)
        }
    }
}

impl Report {
    pub(super) fn new(rounds: usize, load_before: f64, media: Vec<Medium>) -> Self {
        let date = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
        let (machine, load_after) = (process::machine(), process::load());
        Self { date, machine, load_before, load_after, rounds, media }
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{}: {}. Machine load {:.1} before the run, {:.1} after it; rounds: {}.\n",
            self.date, self.machine, self.load_before, self.load_after, self.rounds
        );
        for medium in &self.media {
            // Writing to a String does not fail.
            let _ = write!(text, "\nData on {}:\n\n{}", medium.name, medium.table());
        }
        text
    }

    /// Replaces the text between this benchmark's markers in a file.
    pub(super) fn write_into(&self, path: &Path) -> Outcome<()> {
        let text = fs::read_to_string(path)?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
        let (before, after) = parts.ok_or("the file has no markers of this benchmark")?;
        fs::write(path, format!("{before}{BEGIN}\n{}{END}{after}", self.markdown()))?;
        Ok(())
    }
}

impl Medium {
    /// The last columns show Longshore's figures in proportion to each peer's.
    fn table(&self) -> String {
        let mut text = String::from(
            "| | | rate | p50 ms | p99 ms | CPU µs per request | CPU s per GiB | peak MiB | Longshore: rate | CPU |\n\
             |---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        let mut first: Option<&Row> = None;
        for row in &self.rows {
            let same = first.filter(|first| first.work == row.work);
            let compared = match same {
                Some(ours) => format!(
                    "×{:.2} | ×{:.2}",
                    ours.requests_per_second / row.requests_per_second,
                    ours.cpu_us_per_request / row.cpu_us_per_request
                ),
                None => " | ".to_owned(),
            };
            let work = if same.is_some() { "" } else { row.work };
            first = same.or(Some(row));
            let _ = writeln!(
                text,
                "| {work} | {} | {} | {:.2} | {:.2} | {:.0} | {:.2} | {:.0} | {compared} |",
                row.server,
                row.rate(),
                row.p50_ms,
                row.p99_ms,
                row.cpu_us_per_request,
                row.cpu_s_per_gib,
                row.peak_mib
            );
        }
        text
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// A quantile in milliseconds.
fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}
