//! A bar chart of the figures relative to their targets.

use std::fmt::Write as _;

use super::{Report, TargetResult};

const LINE: usize = 22;
const LEFT: f64 = 520.0;
/// The length of the bar for a figure that equals its target.
const TARGET: f64 = 260.0;
const WIDEST: f64 = 3.0 * TARGET / 2.0;

/// A bar that ends left of the line is better than the target. For a figure with a minimum, the bar's length is the
/// target divided by the measured value.
pub(super) fn svg(report: &Report) -> String {
    let verdicts = &report.results.verdicts;
    let height = (verdicts.len() + 3) * LINE;
    let width = LEFT + WIDEST + 90.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"16\">Longshore vs. its targets, {}: shorter is better, the line is the target</text>\n",
        report.date
    );
    for (index, verdict) in verdicts.iter().enumerate() {
        text.push_str(&bar((index + 1) * LINE + 8, verdict));
    }
    let (line, bottom) = (LEFT + TARGET, height - LINE);
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "<line x1=\"{line}\" x2=\"{line}\" y1=\"{LINE}\" y2=\"{bottom}\" stroke=\"black\" stroke-dasharray=\"4 3\"/>"
    );
    text.push_str("</svg>\n");
    text
}

fn bar(top: usize, verdict: &TargetResult) -> String {
    let TargetResult { row, what, measured, unit, target, at_least, met, .. } = verdict;
    let part = if *at_least { target / measured } else { measured / target };
    let length = (part * TARGET).clamp(1.0, WIDEST);
    let colour = if *met { "#2a9d55" } else { "#d1495b" };
    let (text_top, after) = (top + 13, LEFT + length + 6.0);
    let label = escaped(&format!("{row}: {what}"));
    format!(
        "<text x=\"8\" y=\"{text_top}\">{label}</text>\n\
         <rect x=\"{LEFT}\" y=\"{top}\" width=\"{length:.1}\" height=\"16\" fill=\"{colour}\"/>\n\
         <text x=\"{after:.1}\" y=\"{text_top}\">{measured:.2} {unit}</text>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
