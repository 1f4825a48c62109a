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

/// So much is written out at once, if nobody is writing.
const MUCH: usize = 64 * 1024;

/// How much may wait while standard error takes nothing. Whoever logs beyond it waits too.
const MOST: usize = 4 * 1024 * 1024;

/// What a pipe takes as a whole, without bytes of other writers in between (POSIX, `PIPE_BUF` on Linux).
const WHOLE: usize = 4096;

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
        let len = waiting.len();
        drop(waiting);
        if at_once || len >= MOST {
            self.write_out();
        } else if len >= MUCH
            && let Ok(order) = self.order.try_lock()
        {
            self.write_waiting(order);
        }
    }

    fn write_out(&self) {
        self.write_waiting(self.order.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn write_waiting(&self, _order: MutexGuard<'_, ()>) {
        let lines = mem::take(&mut *self.lock());
        for whole in wholes(&lines) {
            // Where it cannot be written there is nowhere left to say so.
            let _ = stderr().write_all(whole);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines in pieces of at most [`WHOLE`] bytes, cut between lines where they are not longer.
fn wholes(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let most = lines.len().min(WHOLE);
        let end_of = |part: &[u8]| part.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let first = || lines.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let (whole, rest) = lines.split_at(end_of(&lines[..most]).or_else(first).unwrap_or(lines.len()));
        lines = rest;
        (!whole.is_empty()).then_some(whole)
    })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_cut_where_they_end_and_stay_in_order(
            lengths in proptest::collection::vec(prop_oneof![0_usize..300, 3_000..9_000_usize], 0..40),
        ) {
            let lines: Vec<u8> = lengths.iter().flat_map(|len| [vec![b'x'; *len], vec![b'\n']].concat()).collect();
            let wholes: Vec<_> = wholes(&lines).collect();
            prop_assert_eq!(&wholes.concat(), &lines);
            for whole in wholes {
                let one = whole.iter().position(|byte| *byte == b'\n') == Some(whole.len() - 1);
                prop_assert!(whole.ends_with(b"\n") && (whole.len() <= WHOLE || one));
            }
        }
    }
}
