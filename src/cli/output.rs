//! Output to the terminal. No other module prints.

use std::{
    io::{self, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::telemetry;

/// How long a command waits until standard output has accepted its text.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes `text` to standard output. A pipe that is closed, or that is not read, does not keep the process from serving.
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

/// Writes a failure to standard error, one sentence or one problem per line, after all log lines. Waits for at most one
/// second.
pub(super) fn problem(text: &str) {
    telemetry::write_error(text);
}
