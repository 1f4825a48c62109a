//! Parts of a multipart upload: those under way, and those that S3 has.

use std::{collections::BTreeMap, future::Future, time::Duration};

use futures::future::{BoxFuture, Shared};
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tracing::Instrument;

use super::{Error, ErrorKind, S3Store, filling::Full, part_size::PartSizes};
use crate::s3::{MultipartUpload, Part};

/// How long a full part waits for one that is under way before it goes beside it: S3 is then slower than the caller. Where it
/// is not, two parts are all that an upload holds.
const PATIENCE: Duration = Duration::from_millis(25);

/// The upload that parts are sent to, as soon as S3 has it.
pub(super) type Target = Shared<BoxFuture<'static, Result<MultipartUpload, Error>>>;

/// Parts under way and parts that S3 has. Dropped, it drops the requests for parts under way.
#[derive(Debug)]
pub(super) struct Parts {
    /// How many may be under way, as far as was worth it by now.
    width: usize,
    under_way: JoinSet<Result<(Part, u64), Error>>,
    bytes_under_way: u64,
    done: Vec<(Part, u64)>,
    report: Option<Report>,
}

/// Where the parts end that S3 has without a gap.
#[derive(Debug)]
struct Report {
    /// The number of the first part that is not done.
    next: u32,
    /// Where that part begins.
    end: u64,
    /// The sizes of later parts that are done, by number.
    ahead: BTreeMap<u32, u64>,
    listener: watch::Sender<u64>,
}

impl Default for Parts {
    fn default() -> Self {
        Self { width: 1, under_way: JoinSet::new(), bytes_under_way: 0, done: Vec::new(), report: None }
    }
}

impl Parts {
    /// Reports from now on where the parts end that S3 has without a gap. The next part has the number `next` and begins at `end`.
    pub(super) fn report_to(&mut self, listener: watch::Sender<u64>, next: u32, end: u64) {
        self.report = Some(Report { next, end, ahead: BTreeMap::new(), listener });
    }

    /// Whether somebody is told of parts that S3 has taken.
    pub(super) fn is_reporting(&self) -> bool {
        self.report.is_some()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.done.len() + self.under_way.len()
    }

    /// How many of them are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Sends a part, once there is room beside those under way. Parts that wait for their target are under way, too.
    pub(super) async fn send(
        &mut self,
        store: &S3Store,
        target: &Target,
        number: u32,
        part: Full,
        sizes: &PartSizes,
    ) -> Result<(), Error> {
        let size = part.len();
        let most = store.settings().transfer.max_concurrency;
        while self.under_way() > 0 && self.bytes_under_way + size > sizes.most_held() {
            self.one_done().await.transpose()?;
        }
        while self.under_way() >= self.width.min(most) {
            if self.under_way() >= most {
                self.one_done().await.transpose()?;
            } else if let Ok(done) = timeout(PATIENCE, self.one_done()).await {
                done.transpose()?;
            } else if target.peek().is_some() {
                self.width = most;
            } else {
                // This says nothing about how fast S3 takes parts.
                break;
            }
        }
        let (store, target, (payload, reservation)) = (store.clone(), target.clone(), part.into_parts());
        self.start(size, async move {
            let upload = target.await?;
            let part = store.client().upload_part(&upload, number, payload, store.deadline).await;
            drop(reservation);
            part
        });
        Ok(())
    }

    /// Starts a part of `size` bytes.
    pub(super) fn start(
        &mut self,
        size: u64,
        part: impl Future<Output = Result<Part, Error>> + Send + 'static,
    ) {
        self.bytes_under_way += size;
        self.under_way.spawn(async move { Ok((part.await?, size)) }.in_current_span());
    }

    /// Waits for one part to end; `None` if none is under way. May be dropped without losing a part.
    pub(super) async fn one_done(&mut self) -> Option<Result<(), Error>> {
        let joined = self.under_way.join_next().await?;
        Some(self.record(joined))
    }

    /// Waits until a part has failed. Never ends while all is well; may be dropped without losing a part.
    pub(super) async fn failed(&mut self) -> Error {
        loop {
            match self.one_done().await {
                Some(Ok(())) => {}
                Some(Err(error)) => return error,
                None => return std::future::pending().await,
            }
        }
    }

    /// Notes the parts that have ended, without waiting.
    pub(super) fn note_done(&mut self) -> Result<(), Error> {
        while let Some(joined) = self.under_way.try_join_next() {
            self.record(joined)?;
        }
        Ok(())
    }

    /// All parts with their sizes in bytes, in order, once none is under way.
    pub(super) async fn all_done(&mut self) -> Result<Vec<(Part, u64)>, Error> {
        while let Some(part) = self.one_done().await {
            part?;
        }
        self.done.sort_by_key(|(part, _)| part.number);
        Ok(std::mem::take(&mut self.done))
    }

    /// Stops the parts under way, and waits until they have.
    pub(super) async fn stop(&mut self) {
        self.under_way.shutdown().await;
    }

    fn record(
        &mut self,
        joined: Result<Result<(Part, u64), Error>, tokio::task::JoinError>,
    ) -> Result<(), Error> {
        let stopped = |_| Error::new(ErrorKind::Internal, "the upload of a part was stopped");
        let (part, size) = joined.map_err(stopped)??;
        self.bytes_under_way -= size;
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
