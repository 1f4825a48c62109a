//! The parts of a multipart upload: those in flight, and those that S3 has stored.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures::future::{BoxFuture, Shared};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::Instrument;

use super::{filling::FullPart, part_size::PartSizes};
use crate::s3::{ChecksummedPayload, MultipartUpload, Part};
use crate::store::{Error, ErrorKind, S3Store};
use crate::transport::SendObserver;

/// How long a full part waits for the one in flight before both are sent at the same time. A longer wait means that S3
/// is slower than the caller. If it is not, an upload holds only two parts.
const PATIENCE: Duration = Duration::from_millis(25);

/// How many requests of a call may be in flight if `max_concurrency` of them transfer data: a third more, for those
/// that wait for the first or last bytes of a response.
pub(in crate::store) fn with_overlap(max_concurrency: usize) -> usize {
    max_concurrency + max_concurrency / 3
}

/// The upload that parts are sent to, once S3 has created it.
pub(in crate::store) type Target = Shared<BoxFuture<'static, Result<MultipartUpload, Error>>>;

/// Parts in flight and parts that S3 has stored. Dropping it cancels the requests for parts in flight.
#[derive(Debug)]
pub(in crate::store) struct Parts {
    /// How many parts may be sent at a time: one, until S3 has proved to be slower than the caller.
    width: usize,
    in_flight: JoinSet<Result<(Part, u64), Error>>,
    /// Observers of the parts in flight, by number.
    sending: BTreeMap<u32, Arc<SendObserver>>,
    /// Notified when all bytes of a part have been sent.
    sent: Arc<Notify>,
    bytes_in_flight: u64,
    done: Vec<(Part, u64)>,
    report: Option<Report>,
}

/// Reports the offset up to which S3 has stored every byte.
#[derive(Debug)]
struct Report {
    /// The number of the first part that is not done.
    next: u32,
    /// The offset at which that part begins.
    end: u64,
    /// The sizes of later parts that are done, by number.
    ahead: BTreeMap<u32, u64>,
    listener: watch::Sender<u64>,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            width: 1,
            in_flight: JoinSet::new(),
            sending: BTreeMap::new(),
            sent: Arc::default(),
            bytes_in_flight: 0,
            done: Vec::new(),
            report: None,
        }
    }
}

impl Parts {
    /// From now on, reports to `listener` the offset up to which S3 has stored every byte. The next part has the number
    /// `next` and begins at `end`.
    pub(in crate::store) fn report_to(&mut self, listener: watch::Sender<u64>, next: u32, end: u64) {
        self.report = Some(Report { next, end, ahead: BTreeMap::new(), listener });
    }

    /// Whether a listener receives reports of stored parts.
    pub(in crate::store) fn is_reporting(&self) -> bool {
        self.report.is_some()
    }

    /// Number of parts.
    pub(in crate::store) fn count(&self) -> usize {
        self.done.len() + self.in_flight.len()
    }

    /// Number of parts in flight.
    pub(in crate::store) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Sends a part as soon as the number of parts being sent and the size of those in flight allow it. A part of which
    /// only the response is missing does not count as being sent, so that connections do not idle while S3 stores
    /// parts. A part whose upload S3 has not created yet does count.
    pub(in crate::store) async fn send(
        &mut self,
        store: &S3Store,
        target: &Target,
        number: u32,
        part: FullPart,
        sizes: &PartSizes,
    ) -> Result<(), Error> {
        let size = part.len();
        let most = store.settings().transfer.max_concurrency;
        while self.in_flight() > 0 && self.bytes_in_flight + size > sizes.max_in_flight_bytes() {
            self.one_done().await.transpose()?;
        }
        while self.being_sent() >= self.width.min(most) || self.in_flight() >= with_overlap(most) {
            if self.being_sent() >= most || self.in_flight() >= with_overlap(most) {
                self.one_sent().await?;
            } else if let Ok(sent) = timeout(PATIENCE, self.one_sent()).await {
                sent?;
            } else if target.peek().is_some() {
                self.width = most;
            } else {
                // S3 has not created the upload yet. That says nothing about how fast it takes parts.
                break;
            }
        }
        let (store, target, (payload, reservation)) = (store.clone(), target.clone(), part.into_parts());
        let observer = SendObserver::new(Arc::clone(&self.sent));
        self.sending.insert(number, Arc::clone(&observer));
        let payload = ChecksummedPayload { bytes: payload.bytes.observed_by(observer), ..payload };
        self.start(size, async move {
            let upload = target.await?;
            let part = store.client().upload_part(&upload, number, payload).await;
            drop(reservation);
            part
        });
        Ok(())
    }

    /// Starts sending a part of `size` bytes.
    pub(in crate::store) fn start(
        &mut self,
        size: u64,
        part: impl Future<Output = Result<Part, Error>> + Send + 'static,
    ) {
        self.bytes_in_flight += size;
        self.in_flight.spawn(async move { Ok((part.await?, size)) }.in_current_span());
    }

    /// Number of parts in flight that have not been sent completely.
    fn being_sent(&self) -> usize {
        self.in_flight().saturating_sub(self.sending.values().filter(|part| part.all_sent()).count())
    }

    /// Waits until all bytes of a part have been sent, or a part has ended.
    async fn one_sent(&mut self) -> Result<(), Error> {
        let sent = Arc::clone(&self.sent);
        tokio::select! {
            biased;
            done = self.one_done() => done.transpose().map(drop),
            () = sent.notified() => Ok(()),
        }
    }

    /// Waits for one part to end; `None` if no part is in flight. Cancel safe.
    pub(in crate::store) async fn one_done(&mut self) -> Option<Result<(), Error>> {
        let joined = self.in_flight.join_next().await?;
        Some(self.record(joined))
    }

    /// Waits until a part fails, and never returns otherwise. Cancel safe.
    pub(in crate::store) async fn failed(&mut self) -> Error {
        loop {
            match self.one_done().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => return std::future::pending().await,
            }
        }
    }

    /// Records the parts that have ended, without waiting.
    pub(in crate::store) fn record_finished(&mut self) -> Result<(), Error> {
        while let Some(joined) = self.in_flight.try_join_next() {
            self.record(joined)?;
        }
        Ok(())
    }

    /// Waits for all parts in flight. Returns all parts in order, with their sizes in bytes.
    pub(in crate::store) async fn all_done(&mut self) -> Result<Vec<(Part, u64)>, Error> {
        while let Some(part) = self.one_done().await {
            part?;
        }
        self.done.sort_by_key(|(part, _)| part.number);
        Ok(std::mem::take(&mut self.done))
    }

    /// Cancels the parts in flight, and waits until they have stopped.
    pub(in crate::store) async fn stop(&mut self) {
        self.in_flight.shutdown().await;
    }

    fn record(
        &mut self,
        joined: Result<Result<(Part, u64), Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let stopped = |_| Error::new(ErrorKind::Internal, "the task that sends a part was stopped");
        let (part, size) = joined.map_err(stopped)??;
        self.bytes_in_flight -= size;
        self.sending.remove(&part.number);
        if let Some(report) = &mut self.report {
            report.add(part.number, size);
        }
        self.done.push((part, size));
        Ok(())
    }
}

impl Report {
    fn add(&mut self, number: u32, size: u64) {
        self.ahead.insert(number, size);
        let before = self.next;
        while let Some(size) = self.ahead.remove(&self.next) {
            (self.next, self.end) = (self.next + 1, self.end + size);
        }
        if self.next > before {
            self.listener.send_replace(self.end);
        }
    }
}
