//! The only place that prints.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::telemetry;

/// How long a command waits for standard output to be read.
const PATIENCE: Duration = Duration::from_secs(1);

/// To standard output, for people. Neither a closed pipe nor one that is not read keeps the process from serving.
pub(super) fn tell(text: &str) {
    let (written, told) = mpsc::channel();
    let text = format!("{text}\n");
    let write = move || {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let _ = written.send(());
    };
    if thread::Builder::new().name("greeting".to_owned()).spawn(write).is_ok() {
        let _ = told.recv_timeout(PATIENCE);
    }
}

/// To standard error, after all log lines: what went wrong, one sentence (or one a line). Waits a second at most.
pub(super) fn problem(text: &str) {
    telemetry::write_error(text);
}
