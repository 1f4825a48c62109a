//! Logs panics. The message that Rust prints would block the thread if nothing reads standard error.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    thread,
};

use super::output;

const TARGET: &str = "longshore::panic";

/// Makes the process log panics instead of printing them.
pub(super) fn log() {
    panic::set_hook(Box::new(|panic| {
        log_one(panic);
        // A panic of the main thread ends the process without another flush.
        if thread::current().name() == Some("main") {
            output::flush();
        }
    }));
}

fn log_one(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("the panic payload is not a string");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let current = thread::current();
    let name = current.name().unwrap_or("unnamed");
    if !tracing::enabled!(target: TARGET, tracing::Level::ERROR) {
        output::add(&format!("thread {name} panicked at {location}: {message}\n"));
        return;
    }
    // Captured only if RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(target: TARGET, thread = name, location, backtrace, "a thread panicked: {message}");
}
