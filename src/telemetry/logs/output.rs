//! Writes log lines to standard error on a thread of their own. No other thread of the process writes there, so if
//! nothing reads standard error (a stuck collector, a stopped terminal, a full disk), log lines are lost but nothing
//! blocks.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::queue::Queue;

/// Maximum number of bytes of lines that wait to be written.
const LIMIT: usize = 4 * 1024 * 1024;

/// The largest write to a pipe that is atomic, without bytes of other writers in between (POSIX, `PIPE_BUF` on Linux).
const ATOMIC_WRITE: usize = 4096;

/// The largest buffer that the writer keeps between batches, in bytes.
const MAX_KEPT_BUFFER: usize = 256 * 1024;

/// How long to wait if standard error is in non-blocking mode and accepts nothing.
const RETRY: Duration = Duration::from_millis(20);

/// How long the process may wait at exit for lines to be written.
const LAST_WRITES: Duration = Duration::from_secs(1);

/// The process's log lines.
static QUEUE: Queue = Queue::new(LIMIT);

/// Starts the writer thread, unless it is already running.
pub(super) fn start() -> io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let mut sink = Sink::new(standard_error()?);
        let write = move || {
            loop {
                sink.write_batch(&QUEUE);
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        *started = true;
    }
    Ok(())
}

/// Waits until all lines so far have been written, for at most a second. Called before the process ends.
pub fn flush() {
    QUEUE.flush(LAST_WRITES);
}

/// Writes `text` and a line feed to standard error after all log lines so far, and waits at most a second for that.
pub fn write_error(text: &str) {
    if start().is_ok() {
        QUEUE.add_anyway(format!("{text}\n").as_bytes());
        flush();
    }
}

/// Queues a line, without applying a filter.
pub(super) fn add(line: &str) {
    QUEUE.add(line.as_bytes(), true);
}

/// The number of lines that the process has dropped.
pub(in crate::telemetry) fn dropped() -> u64 {
    QUEUE.dropped()
}

/// A separate handle: std's handle takes a lock that std's panic messages wait for.
#[cfg(unix)]
fn standard_error() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd as _;
    io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from)
}

#[cfg(not(unix))]
fn standard_error() -> io::Result<io::Stderr> {
    Ok(io::stderr())
}

/// Writes batches of lines to `out`.
#[derive(Debug)]
struct Sink<W> {
    out: W,
    batch: Vec<u8>,
    /// Whether the last write failed.
    failing: bool,
    /// Whether a failed write left a partial line.
    mid_line: bool,
    /// The number of dropped lines that the log does not report yet.
    unreported: u64,
}

impl<W: Write> Sink<W> {
    fn new(out: W) -> Self {
        Self { out, batch: Vec::new(), failing: false, mid_line: false, unreported: 0 }
    }

    fn write_batch(&mut self, queue: &Queue) {
        self.unreported += queue.take(&mut self.batch);
        // Now, so that the report appears where the dropped lines are missing.
        self.report_dropped();
        let batch = mem::take(&mut self.batch);
        for whole in wholes(&batch) {
            if let Err(written) = self.write_whole(whole) {
                let lines = whole[written..].split_inclusive(|byte| *byte == b'\n').count() as u64;
                queue.lost(lines);
                self.unreported += lines;
            }
        }
        // Before `done`, so that a flush that waits for this batch also waits for the report.
        self.report_dropped();
        queue.done(batch.len());
        if batch.capacity() <= MAX_KEPT_BUFFER {
            self.batch = batch;
        }
    }

    /// Logs the number of dropped lines once lines can be written again. While writing fails, this line would be
    /// dropped too, and cause the next report.
    fn report_dropped(&mut self) {
        if !self.failing && self.unreported > 0 {
            let dropped = mem::take(&mut self.unreported);
            tracing::warn!(target: "longshore::log", dropped, "{dropped} log lines were dropped");
        }
    }

    /// Writes all of `whole`. On failure, returns how many of its bytes were written.
    fn write_whole(&mut self, whole: &[u8]) -> Result<(), usize> {
        if self.mid_line {
            write_all(&mut self.out, b"\n").map_err(|_| 0_usize)?;
            self.mid_line = false;
        }
        let written = write_all(&mut self.out, whole);
        self.failing = written.is_err();
        if let Err(written) = written {
            self.mid_line = written > 0 && whole[written - 1] != b'\n';
        }
        written
    }
}

/// Writes all of `bytes`. On failure, returns how many of them were written.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), usize> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err(written),
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(_) => return Err(written),
        }
    }
    Ok(())
}

/// Splits the lines into pieces of at most [`ATOMIC_WRITE`] bytes. A piece ends between lines; a longer line is its own piece.
fn wholes(mut lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let most = lines.len().min(ATOMIC_WRITE);
        let end_of = |part: &[u8]| part.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let first = || lines.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let (whole, rest) = lines.split_at(end_of(&lines[..most]).or_else(first).unwrap_or(lines.len()));
        lines = rest;
        (!whole.is_empty()).then_some(whole)
    })
}

/// The subscriber's writer, which queues lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued;

/// Queues one line.
#[derive(Debug)]
pub(super) struct Line {
    urgent: bool,
}

impl<'a> MakeWriter<'a> for Queued {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { urgent: true }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { urgent: *metadata.level() <= Level::WARN }
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.add(line, self.urgent);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Accepts as many bytes as each answer says, or fails.
    #[derive(Default)]
    struct Scripted {
        answers: VecDeque<Result<usize, ErrorKind>>,
        written: Vec<u8>,
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.answers.pop_front().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(answers: impl IntoIterator<Item = Result<usize, ErrorKind>>) -> Sink<Scripted> {
        Sink::new(Scripted { answers: answers.into_iter().collect(), written: Vec::new() })
    }

    #[test]
    fn a_failed_write_loses_its_lines_and_the_next_line_starts_on_a_new_line() {
        let queue = Queue::new(1_000);
        let mut sink = sink([Ok(7), Err(ErrorKind::StorageFull), Ok(usize::MAX)]);
        queue.add(b"first\nsecond\nthird\n", true);
        sink.write_batch(&queue);
        assert_eq!((sink.failing, sink.unreported, queue.dropped()), (true, 2, 2));
        queue.add(b"fourth\n", true);
        sink.write_batch(&queue);
        assert_eq!(
            (sink.failing, sink.unreported),
            (false, 0),
            "the loss is reported once lines can be written"
        );
        assert_eq!(str::from_utf8(&sink.out.written).unwrap(), "first\ns\nfourth\n");
        assert!(queue.flush(Duration::ZERO));
    }

    #[test]
    fn a_closed_pipe_does_not_cause_reports_of_lost_lines() {
        let queue = Queue::new(1_000);
        let mut sink = sink([Err(ErrorKind::BrokenPipe), Err(ErrorKind::BrokenPipe)]);
        for _ in 0..2 {
            queue.add(b"line\n", true);
            sink.write_batch(&queue);
        }
        assert_eq!((sink.unreported, queue.dropped()), (2, 2));
        assert!(queue.flush(Duration::ZERO));
    }

    #[test]
    fn writes_that_are_interrupted_or_would_block_are_retried() {
        let queue = Queue::new(1_000);
        let mut sink = sink([Err(ErrorKind::Interrupted), Err(ErrorKind::WouldBlock), Ok(2)]);
        queue.add(b"line\n", true);
        sink.write_batch(&queue);
        assert_eq!(sink.out.written, b"line\n");
    }

    proptest! {
        #[test]
        fn pieces_end_between_lines_and_stay_in_order(
            lengths in proptest::collection::vec(prop_oneof![0_usize..300, 3_000..9_000_usize], 0..40),
        ) {
            let lines: Vec<u8> = lengths.iter().flat_map(|len| [vec![b'x'; *len], vec![b'\n']].concat()).collect();
            let wholes: Vec<_> = wholes(&lines).collect();
            prop_assert_eq!(&wholes.concat(), &lines);
            for whole in wholes {
                let one = whole.iter().position(|byte| *byte == b'\n') == Some(whole.len() - 1);
                prop_assert!(whole.ends_with(b"\n") && (whole.len() <= ATOMIC_WRITE || one));
            }
        }
    }
}
