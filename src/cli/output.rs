//! The only place that prints.

use std::io::{self, Write};

use crate::telemetry;

/// To standard output, for people. A closed pipe is no reason to stop serving.
pub(super) fn tell(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}").and_then(|()| io::stdout().flush());
}

/// To standard error: what went wrong, one sentence (or one a line).
pub(super) fn problem(text: &str) {
    telemetry::flush_logs();
    let _ = writeln!(io::stderr().lock(), "{text}");
}
