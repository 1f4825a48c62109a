//! Standard error, written many lines at a time: a system call for each call's line would cost more than the line.

use std::{
    io::{self, Write, stderr},
    mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line may wait for others.
const DELAY: Duration = Duration::from_millis(50);

/// How much may wait. Who logs more than this in [`DELAY`] writes it out.
const MOST: usize = 64 * 1024;

/// The process's log lines that wait to be written.
static OUTPUT: Output =
    Output { waiting: Mutex::new(Vec::new()), some: Condvar::new(), order: Mutex::new(()) };

#[derive(Debug)]
struct Output {
    waiting: Mutex<Vec<u8>>,
    /// There are lines where there were none.
    some: Condvar,
    /// Held while lines are written, so that they stay in order. Taken before `waiting`.
    order: Mutex<()>,
}

/// Starts the thread that writes lines out. Called once.
pub(super) fn start() -> io::Result<()> {
    thread::Builder::new().name("log".to_owned()).spawn(|| OUTPUT.write_now_and_then()).map(drop)
}

/// Writes out what waits: before the process ends.
pub fn flush() {
    OUTPUT.write_out();
}

impl Output {
    fn write_now_and_then(&self) {
        loop {
            drop(self.some.wait_while(self.lock(), |waiting| waiting.is_empty()));
            thread::sleep(DELAY);
            self.write_out();
        }
    }

    fn add(&self, line: &[u8], at_once: bool) {
        let mut waiting = self.lock();
        if waiting.is_empty() {
            self.some.notify_one();
        }
        waiting.extend_from_slice(line);
        let full = waiting.len() >= MOST;
        drop(waiting);
        if full || at_once {
            self.write_out();
        }
    }

    fn write_out(&self) {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = mem::take(&mut *self.lock());
        // Where it cannot be written there is nowhere left to say so.
        let _ = stderr().write_all(&lines);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes lines wait, but for warnings and errors, which may be the last that a process says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Together;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    at_once: bool,
}

impl<'a> MakeWriter<'a> for Together {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { at_once: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { at_once: *metadata.level() <= Level::WARN }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        OUTPUT.add(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
