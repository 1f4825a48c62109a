//! The thread that writes the audit log.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    AuditTarget,
    queue::{Batch, Queue},
};

/// How long to wait after a failed write.
const RETRY: Duration = Duration::from_millis(200);

/// How long to wait if a pipe accepts nothing: its reader may need only a moment.
const FULL_PIPE: Duration = Duration::from_millis(20);

/// How often the writer checks whether the file is still at its path.
const CHECK: Duration = Duration::from_secs(1);

/// The largest buffer that the writer keeps between batches, in bytes.
const MAX_KEPT_BUFFER: usize = 1024 * 1024;

/// Writes the lines of a queue.
#[derive(Debug)]
pub(super) struct Writer {
    target: AuditTarget,
    out: File,
    checked: Instant,
}

impl Writer {
    /// Opens the target, so that a problem with it is reported at startup.
    pub(super) fn open(target: AuditTarget) -> io::Result<Self> {
        Ok(Self { out: open(&target)?, target, checked: Instant::now() })
    }

    /// Writes until the queue is closed.
    pub(super) fn run(mut self, queue: &Queue) {
        let mut batch = Batch::default();
        while queue.take(&mut batch) {
            if !self.write(&batch.lines, queue) {
                return;
            }
            queue.done(&batch);
            batch.lines.shrink_to(MAX_KEPT_BUFFER);
        }
    }

    /// Writes all lines, however long that takes. Returns false if the queue was closed before that.
    fn write(&mut self, lines: &[u8], queue: &Queue) -> bool {
        let mut at = 0;
        let mut must_open = false;
        loop {
            must_open |= queue.takes_reopen() || self.has_moved();
            let outcome = if must_open {
                // A line is never split between two files.
                self.reopen().map(|()| {
                    must_open = false;
                    at = lines[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                })
            } else if at == lines.len() {
                return true;
            } else {
                self.out.write(&lines[at..]).and_then(|written| {
                    at += written;
                    if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
                })
            };
            match outcome {
                Ok(()) => queue.progress(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let pause = if error.kind() == ErrorKind::WouldBlock { FULL_PIPE } else { RETRY };
                    if !queue.failed(described(&error), pause) {
                        return false;
                    }
                }
            }
        }
    }

    fn reopen(&mut self) -> io::Result<()> {
        if self.target != AuditTarget::Stdout {
            self.out = open(&self.target)?;
        }
        self.checked = Instant::now();
        Ok(())
    }

    /// Whether the file is no longer at its path, because it was renamed or removed.
    fn has_moved(&mut self) -> bool {
        let AuditTarget::File(path) = &self.target else { return false };
        if self.checked.elapsed() < CHECK {
            return false;
        }
        self.checked = Instant::now();
        let Ok(open) = self.out.metadata() else { return true };
        open.is_file() && fs::metadata(path).map_or(true, |there| !is_same(&open, &there))
    }
}

fn described(error: &io::Error) -> String {
    if error.kind() == ErrorKind::WouldBlock {
        "the reader of the pipe accepts nothing".to_owned()
    } else {
        error.to_string()
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

fn open(target: &AuditTarget) -> io::Result<File> {
    match target {
        AuditTarget::Stdout => standard_output(),
        AuditTarget::File(path) => open_file(path),
    }
}

/// A separate handle: std's handle takes a lock and has a buffer.
#[cfg(unix)]
fn standard_output() -> io::Result<File> {
    use std::os::fd::AsFd as _;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(not(unix))]
fn standard_output() -> io::Result<File> {
    Err(io::Error::new(ErrorKind::Unsupported, "use a file on this system"))
}

/// Opens the file to append to it. A pipe without a reader is an error, instead of waiting for one.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        options.mode(0o600).custom_flags(nonblocking);
    }
    let mut file = options.open(path)?;
    if ends_within_a_line(path).unwrap_or(false) {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Whether a process ended before it had written the whole of its last line.
fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
