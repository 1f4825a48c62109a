//! The lines of one call.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    AuditFull, AuditLog, AuditRoom, PER_CALL, S3Requests,
    line::{About, Detail, End, Key},
    subject::{AuditedObject, CallIdentity, Source},
};

/// How many bytes of keys a line has at most, so that lines do not become too long for the tools that read them.
const MAX_KEYS: usize = 64 * 1024;

/// How a call ended.
#[derive(Debug, Clone, Copy)]
pub struct AuditOutcome {
    /// The name of the status code.
    pub code: &'static str,
    /// The reason as in `google.rpc.ErrorInfo`.
    pub reason: Option<&'static str>,
    /// Object bytes received from the caller.
    pub bytes_in: u64,
    /// Object bytes sent to the caller.
    pub bytes_out: u64,
    /// How long the call took.
    pub elapsed: Duration,
}

/// An admitted call, whose lines have their room.
#[derive(Debug)]
pub struct AuditedCall {
    log: AuditLog,
    room: AuditRoom,
    /// Callers choose request ids, so they may repeat; these do not.
    id: String,
    identity: CallIdentity,
    object: OnceLock<AuditedObject>,
    source: OnceLock<Source>,
    s3: S3Requests,
    keys: AtomicU64,
    has_begun: AtomicBool,
}

impl AuditedCall {
    /// A call that was admitted with this room.
    pub fn new(log: AuditLog, room: AuditRoom, identity: CallIdentity) -> Self {
        Self {
            log,
            room,
            id: format!("{:016x}", fastrand::u64(..)),
            identity,
            object: OnceLock::new(),
            source: OnceLock::new(),
            s3: S3Requests::default(),
            keys: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
        }
    }

    /// Sets what the call is about. The first value is kept.
    pub fn set_object(&self, object: impl FnOnce() -> AuditedObject) {
        self.object.get_or_init(object);
    }

    /// Sets the source of a copy or a rename, with its version if the call names one. The first value is kept.
    pub fn set_source(&self, store: &str, key: &str, version: Option<&str>) {
        self.source.get_or_init(|| Source::new(store, key, version));
    }

    /// Queues the first line, unless it has been queued. Call it before the first S3 request, and after what the call
    /// is about has been set.
    pub fn begin(&self) {
        if !self.has_begun.swap(true, Relaxed) {
            self.room.push(&self.about().line("begin", None), PER_CALL / 2);
        }
    }

    /// Where the responses of the call's S3 requests are recorded.
    pub fn s3_requests(&self) -> &S3Requests {
        &self.s3
    }

    /// Queues lines with objects that are about to be deleted, or to get presigned URLs, by key and version. Waits for room
    /// for each of them, for at most `LONGSHORE_AUDIT_WAIT`.
    pub async fn keys(&self, objects: &[(&str, &str)]) -> Result<(), AuditFull> {
        let mut rest = objects;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take_while(|(key, version)| {
                bytes += key.len() + version.len();
                bytes <= MAX_KEYS
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            let keys = now.iter().map(|&(key, version)| Key { key, version }).collect();
            let line = self.about().line("keys", Some(Detail::Keys { keys }));
            let room = self.log.reserve(line.len()).await?;
            room.push(&line, line.len());
            self.keys.fetch_add(now.len() as u64, Relaxed);
            rest = later;
        }
        Ok(())
    }

    /// Queues the last line. Call it once.
    pub fn end(&self, outcome: &AuditOutcome) {
        self.begin();
        let s3 = self.s3.recorded();
        let keys = self.keys.load(Relaxed);
        let end = End {
            code: outcome.code,
            reason: outcome.reason,
            bytes_in: outcome.bytes_in,
            bytes_out: outcome.bytes_out,
            keys_sent: (keys > 0).then_some(keys),
            s3_responses: s3.responses,
            s3_request_ids: &s3.ids,
            elapsed_ms: (outcome.elapsed.as_secs_f64() * 1e6).round() / 1e3,
        };
        self.room.push(&self.about().line("end", Some(Detail::End(end))), PER_CALL);
    }

    fn about(&self) -> About<'_> {
        About {
            call: &self.id,
            identity: &self.identity,
            object: self.object.get(),
            source: self.source.get(),
        }
    }
}
