//! The audit log: one line before the first S3 request of a call, and one when the call has ended.
//!
//! A call is admitted when the queue has room for both of its lines, so that the second one never has to wait. A thread
//! of its own writes the queue. Nothing is dropped: if the lines cannot be written, the queue becomes full, and no
//! further calls are admitted.

mod call;
mod line;
mod queue;
mod s3_requests;
mod settings;
mod subject;
mod writer;

use std::{io, sync::Arc, thread, time::Duration};

use tokio::{task::spawn_blocking, time::timeout};

pub use call::{AuditOutcome, AuditedCall};
pub use queue::AuditRoom;
pub use s3_requests::S3Requests;
pub use settings::{AuditSettings, AuditTarget};
pub use subject::{AuditedObject, CallIdentity};

use queue::Queue;
use writer::Writer;

/// The room that a call reserves for its two lines, in bytes. They are longer only if its keys are long.
const PER_CALL: usize = 1024;

/// The audit log. Cheap to clone. When the last clone is dropped, the thread that writes it ends.
#[derive(Debug, Clone)]
pub struct AuditLog(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    wait: Duration,
}

/// There was no room in the audit log for as long as a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditFull;

impl AuditLog {
    /// Opens the audit log and starts the thread that writes it. `None` if the settings name none.
    pub fn open(settings: &AuditSettings) -> io::Result<Option<Self>> {
        let Some(target) = &settings.log else { return Ok(None) };
        let writer = Writer::open(target.clone())?;
        let queue = Arc::new(Queue::new(usize::try_from(settings.buffer).unwrap_or(usize::MAX)));
        let queued = Arc::clone(&queue);
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(&queued))?;
        Ok(Some(Self(Arc::new(Handle { queue, wait: settings.wait }))))
    }

    /// Room for the lines of a call, if there is some without waiting.
    pub fn try_admit(&self) -> Option<AuditRoom> {
        self.0.queue.try_reserve(PER_CALL)
    }

    /// Waits for room for the lines of a call, for at most `LONGSHORE_AUDIT_WAIT`. First come, first served.
    pub async fn admit(&self) -> Result<AuditRoom, AuditFull> {
        self.reserve(PER_CALL).await
    }

    async fn reserve(&self, bytes: usize) -> Result<AuditRoom, AuditFull> {
        if let Some(room) = self.0.queue.try_reserve(bytes) {
            return Ok(room);
        }
        let _waiting = self.0.queue.count_waiting();
        timeout(self.0.wait, self.0.queue.reserve(bytes)).await.map_err(|_| AuditFull)
    }

    /// Makes the writer close the file and open it again, because it may have been renamed.
    pub fn reopen(&self) {
        self.0.queue.reopen();
    }

    /// Waits at most `limit` until all lines have been written, and returns how many have not.
    pub async fn flush(&self, limit: Duration) -> u64 {
        let queue = Arc::clone(&self.0.queue);
        spawn_blocking(move || queue.flush(limit)).await.unwrap_or_default()
    }

    /// What is wrong, if lines are not written.
    pub fn notice(&self) -> Option<String> {
        self.0.queue.trouble().map(|trouble| format!("the audit log is not written: {trouble}"))
    }

    /// The number of lines that have been written.
    pub fn lines_written(&self) -> u64 {
        self.0.queue.lines_written()
    }

    /// The bytes of the queue that are in use: lines that wait, and room for those of calls in flight.
    pub fn bytes_in_use(&self) -> u64 {
        self.0.queue.bytes_in_use() as u64
    }

    /// The number of calls that wait for room.
    pub fn calls_waiting(&self) -> u64 {
        self.0.queue.waiting()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests;
