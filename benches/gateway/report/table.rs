//! Markdown tables of the figures.

use std::fmt::Write as _;

use super::{Figures, Report, TargetResult};

pub(super) fn markdown(report: &Report) -> String {
    let sides = if report.tls { "TLS on both sides" } else { "plaintext on both sides" };
    let quick = if report.quick { " Small sizes (`--quick`): these figures mean little." } else { "" };
    let mut text = format!(
        "{}: {}. Load average {:.1} before the run and {:.1} after it; rounds: {}; {sides}.{quick}\n\n",
        report.date, report.machine, report.load_before, report.load_after, report.rounds
    );
    text.push_str("| row | figure | measured | target | stretch | result |\n|---|---|---:|---:|---:|---|\n");
    let mut last = "";
    for verdict in &report.results.verdicts {
        let row = if verdict.row == last { "" } else { &verdict.row };
        last = &verdict.row;
        text.push_str(&verdict_line(row, verdict));
    }
    for failure in &report.results.failures {
        // Writing to a String does not fail.
        let _ = writeln!(text, "| {} | failed: {} | | | | **error** |", failure.row, one_line(&failure.why));
    }
    text.push_str("\n| row | gateway | CPU | rate | p50 ms | p99 ms | peak MiB |\n|-|-|-:|-:|-:|-:|-:|\n");
    let mut last = "";
    for figures in &report.results.figures {
        let row = if figures.row == last { "" } else { &figures.row };
        last = &figures.row;
        text.push_str(&figures_line(row, figures));
    }
    let _ = write!(text, "\nLongshore's settings:\n\n```text\n{}```\n", report.settings);
    text
}

fn verdict_line(row: &str, verdict: &TargetResult) -> String {
    let TargetResult { what, measured, unit, target, met, .. } = verdict;
    let sign = if verdict.at_least { "≥" } else { "≤" };
    let stretch = verdict.stretch.map_or_else(String::new, |stretch| format!("{stretch} {unit}"));
    let mark = if *met { "met" } else { "**missed**" };
    format!("| {row} | {what} | {measured:.2} {unit} | {sign} {target} {unit} | {stretch} | {mark} |\n")
}

fn figures_line(row: &str, figures: &Figures) -> String {
    let Figures { peer, cost, rate, p50_us, p99_us, peak_mib, .. } = figures;
    let (p50, p99) = (p50_us / 1e3, p99_us / 1e3);
    format!("| {row} | {peer} | {cost} | {rate} | {p50:.3} | {p99:.3} | {peak_mib:.0} |\n")
}

fn one_line(text: &str) -> String {
    text.replace(['\n', '|'], " ")
}
