//! Reports the figures as tables, as JSON and as a plot.

mod plot;
mod results;
mod table;

use std::{fs, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;

pub(crate) use self::results::{Failure, Figures, Results, TargetResult, median};
use crate::{Outcome, arguments::Arguments, backend::Shape, process, setup::Setup};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    date: String,
    machine: String,
    load_before: f64,
    load_after: f64,
    rounds: usize,
    tls: bool,
    quick: bool,
    shape: Shape,
    settings: String,
    #[serde(flatten)]
    results: Results,
}

impl Report {
    pub(crate) fn new(setup: &Setup, load_before: f64, results: Results) -> Self {
        Self {
            date: Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string(),
            machine: process::machine(),
            load_before,
            load_after: process::load(),
            rounds: setup.arguments.rounds(),
            tls: setup.arguments.tls,
            quick: setup.arguments.quick,
            shape: setup.arguments.shape.clone(),
            settings: setup.shipped.settings(),
            results,
        }
    }

    pub(crate) fn failures(&self) -> usize {
        self.results.failures.len()
    }

    pub(crate) fn markdown(&self) -> String {
        table::markdown(self)
    }

    /// Writes the JSON file and the plot to the output folder, and the tables to the Markdown file, if there is one.
    pub(crate) fn save(&self, arguments: &Arguments) -> Outcome<()> {
        let (folder, name) = (arguments.output(), self.name());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{name}.json")), serde_json::to_string_pretty(self)?)?;
        fs::write(folder.join(format!("{name}.svg")), plot::svg(self))?;
        eprintln!("wrote {}/{name}.json and {name}.svg", folder.display());
        match &arguments.markdown {
            Some(path) => self.write_into(path),
            None => Ok(()),
        }
    }

    /// Replaces the text between the markers in a file.
    fn write_into(&self, path: &Path) -> Outcome<()> {
        let name = self.name();
        let (begin, end) = (format!("<!-- {name}-bench: begin -->"), format!("<!-- {name}-bench: end -->"));
        let text = fs::read_to_string(path)?;
        let parts =
            text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
        let (before, after) = parts.ok_or_else(|| format!("{} has no {begin} ... {end}", path.display()))?;
        fs::write(path, format!("{before}{begin}\n{}{end}{after}", self.markdown()))?;
        Ok(())
    }

    fn name(&self) -> &'static str {
        if self.tls { "gateway-tls" } else { "gateway" }
    }
}
