//! Reads the bytes of an object, and resumes after a lost connection.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

use super::{
    ahead_part::Pieces,
    backend_speed::BackendSpeed,
    byte_range::check_covers,
    pinned::Pinned,
    read_ahead::{ReadAhead, Requested},
    resume::{MOST_SKIPPED, Progress},
};
use crate::store::{ChecksumType, Error, ErrorKind, ObjectMeta, ReadInfo, S3Store, budget::Reclaimable};
use crate::{
    s3::{Checksum, ChecksumHasher, GetAnswer},
    transport::{Attempts, ResponseBody, Retry, RetryCost, RetryQuota, TransportError},
};

/// The largest piece that [`ObjectReader::next`] returns, in bytes.
const MAX_PIECE: usize = 1024 * 1024;

/// A read in progress: first the object's metadata, then its bytes. Dropping it cancels the request.
#[derive(Debug)]
pub struct ObjectReader {
    store: S3Store,
    pinned: Pinned,
    info: ReadInfo,
    position: u64,
    source: Source,
    /// `None` if the read must not use additional connections.
    backend_speed: Option<BackendSpeed>,
    /// Received bytes that did not fit into the last piece.
    rest: Bytes,
    verifier: Option<Verifier>,
    progress: Progress,
}

/// Where the next bytes of a read come from.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "almost every read is one `Response`; boxing it would cost an allocation each time"
)]
enum Source {
    /// No response. If bytes are left, they have to be requested.
    Idle,
    /// The response to a request.
    Response(Response),
    /// Requests for parts, several at a time.
    Ahead(Reclaimable<ReadAhead>),
}

/// A response, and which of its bytes the read takes.
#[derive(Debug)]
struct Response {
    body: ResponseBody,
    /// Number of bytes to discard before the first requested one, from a server that does not support ranges.
    skip: u64,
    /// The offset of the first byte that is not taken from this response.
    until: u64,
    /// Reads the bytes from `until` on. `None` if the range ends there.
    then: Option<Reclaimable<ReadAhead>>,
    /// Why the response ended early; `None` if it has not. The read may resume: `progress` has already counted the
    /// interruption.
    interrupted: Option<Error>,
}

/// Verifies the bytes of a whole object against the checksum that S3 stores for it.
#[derive(Debug)]
struct Verifier {
    hasher: ChecksumHasher,
    expected: Checksum,
}

impl ObjectReader {
    /// The object and the range that are read.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }

    /// Whether all bytes have been returned.
    pub(in crate::store) fn is_at_end(&self) -> bool {
        self.position == self.info.end
    }

    /// Returns the next piece, 1 byte to 1 MiB; `None` at the end. If the connection is lost, the read resumes at the
    /// same offset of the same object, unless nothing identifies the object, or too many connections in a row have
    /// delivered little. If the object has been replaced, the error is [`ErrorKind::ObjectChanged`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.is_at_end() {
            self.source = Source::Idle;
            return self.verify_checksum().err().map(Err);
        }
        if self.rest.is_empty() {
            match self.next_bytes().await {
                Ok(bytes) => self.rest = bytes,
                Err(error) => {
                    self.position = self.info.end;
                    (self.verifier, self.source) = (None, Source::Idle);
                    return Some(Err(error));
                }
            }
        }
        if let Source::Response(Response { then: Some(ahead), .. }) = &self.source {
            ahead.touch();
        }
        let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE));
        self.position += piece.len() as u64;
        if let Some(verifier) = &mut self.verifier {
            verifier.hasher.update(&piece);
        }
        Some(Ok(piece))
    }

    /// Reads the range in `info` from `body`, after discarding the first `skip` bytes of `body`, which is `None` if the
    /// range is empty.
    pub(in crate::store) fn new(
        store: S3Store,
        pinned: Pinned,
        info: ReadInfo,
        body: Option<ResponseBody>,
        skip: u64,
    ) -> Self {
        let ReadInfo { ref meta, start, end, .. } = info;
        let whole = start == 0 && end == meta.size;
        let verifier = if whole && body.is_some() { Verifier::of(&meta.properties.checksums) } else { None };
        let transfer = store.settings().transfer;
        let is_large = transfer.max_concurrency > 1 && end.saturating_sub(start) >= 2 * transfer.part_size;
        // All connections must read the same object.
        let backend_speed = (is_large && pinned.is_exact()).then(BackendSpeed::default);
        let response =
            |body| Source::Response(Response { body, skip, until: end, then: None, interrupted: None });
        Self {
            store,
            pinned,
            info,
            position: start,
            source: body.map_or(Source::Idle, response),
            backend_speed,
            rest: Bytes::new(),
            verifier,
            progress: Progress::from(start),
        }
    }

    /// Reads other bytes of an object that another read has found. Its [`ReadInfo`] has no key.
    pub(in crate::store) async fn of_pinned(
        store: S3Store,
        pinned: Pinned,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let answer = pinned.get(&store, range.clone()).await?;
        Self::of_answer(store, pinned, range, answer)
    }

    /// Reads a range of a pinned object from the response to a request for it.
    fn of_answer(
        store: S3Store,
        pinned: Pinned,
        range: Range<u64>,
        answer: GetAnswer,
    ) -> Result<Self, Error> {
        let GetAnswer { size, properties, attributes, start, end, body } = answer;
        check_covers(start..end, &range)?;
        let pinned = pinned.pinning_version_of(&properties);
        let meta = ObjectMeta { key: String::new(), size, properties };
        let info = ReadInfo { meta, attributes, start: range.start, end: range.end };
        Ok(Self::new(store, pinned, info, Some(body), range.start - start))
    }

    /// Returns the next bytes. Cancel safe.
    async fn next_bytes(&mut self) -> Result<Bytes, Error> {
        loop {
            match &mut self.source {
                Source::Response(response) if self.position < response.until => {
                    return self.next_of_response().await;
                }
                Source::Response(response) => {
                    self.source = response.then.take().map_or(Source::Idle, Source::Ahead);
                }
                Source::Ahead(ahead) => {
                    let mut ahead = ahead.in_use().await;
                    if let Some(piece) = ahead.next().await {
                        return piece;
                    }
                    let ignores_ranges = !ahead.has_given_up() && ahead.first_left().is_none();
                    drop(ahead);
                    if ignores_ranges {
                        // The server ignores ranges, so the responses to further requests would all contain the whole
                        // object.
                        self.backend_speed = None;
                    }
                    // Read the rest on one connection: the server ignores ranges, or there is no memory for reading
                    // ahead.
                    (self.source, self.progress) = (Source::Idle, Progress::from(self.position));
                }
                Source::Idle => self.request(u64::MAX).await?,
            }
        }
    }

    /// Records how long the read has waited for `bytes`. Starts reading ahead on other connections if S3 is slow.
    fn record_wait(&mut self, began: Instant, bytes: usize) {
        let part_size = self.store.settings().transfer.part_size;
        let (Some(speed), Source::Response(response)) = (&mut self.backend_speed, &mut self.source) else {
            return;
        };
        if !speed.record_wait(began.elapsed(), bytes) {
            return;
        }
        *speed = BackendSpeed::default();
        // The read takes bytes from the response only up to the first part that is read ahead.
        let from = self.position + bytes as u64 + part_size / 2;
        if response.then.is_none() && from < self.info.end {
            let (store, pinned) = (self.store.clone(), self.pinned.clone());
            let ahead = ReadAhead::of_range(read_part, store, pinned, from..self.info.end);
            response.then = ahead.map(|ahead| Reclaimable::new(&self.store.inner.budget, ahead));
            if response.then.is_some() {
                response.until = from;
            }
        }
    }

    /// Returns the next requested bytes of the response, or of a new one that resumes here.
    async fn next_of_response(&mut self) -> Result<Bytes, Error> {
        match self.timed_body_bytes().await? {
            Some(bytes) => Ok(bytes),
            None => self.resume().await,
        }
    }

    /// Continues [`Self::next_of_response`] after the response was interrupted. If this future is dropped during a
    /// pause, the next call pauses again.
    async fn resume(&mut self) -> Result<Bytes, Error> {
        let store = self.store.clone();
        // A broken connection is no sign of an overloaded S3, so resuming does not use the store's retry quota. The
        // pauses start over whenever bytes have arrived; `progress` limits the attempts.
        let (policy, quota) = (store.settings().download_policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, store.client().deadline());
        loop {
            let again = Retry::Later { cost: RetryCost::Failure, wait: None };
            let (may_try, position) = (attempts.again(again).await, self.position);
            if let Some(error) = self.interruption() {
                if !may_try {
                    let error = error.take().unwrap_or_else(|| broken("the read was interrupted"));
                    return Err(error.after_attempts(attempts.made(), attempts.elapsed()));
                }
                tracing::debug!(?error, position, "resuming a read after its connection was lost");
            }
            self.request(MOST_SKIPPED).await?;
            let bytes = self.timed_body_bytes().await;
            if let Some(bytes) =
                bytes.map_err(|error| error.after_attempts(attempts.made(), attempts.elapsed()))?
            {
                return Ok(bytes);
            }
        }
    }

    /// Returns the next requested bytes of this response, and starts reading ahead if S3 is slow. `None` if the
    /// response was interrupted and the read may resume.
    async fn timed_body_bytes(&mut self) -> Result<Option<Bytes>, Error> {
        if self.interruption().is_some_and(|error| error.is_some()) {
            return Ok(None);
        }
        let began = Instant::now();
        let skips = matches!(&self.source, Source::Response(response) if response.skip > 0);
        let error = match self.body_bytes().await {
            Some(Ok(bytes)) => {
                if !skips {
                    self.record_wait(began, bytes.len());
                }
                return Ok(Some(bytes));
            }
            Some(Err(error)) => broken(&error.to_string()),
            None => broken("the response ended before the object did"),
        };
        let download_attempts = self.store.settings().transfer.download_attempts;
        if !self.pinned.is_exact() || !self.progress.may_resume(self.position, download_attempts) {
            return Err(error.after_attempts(1, began.elapsed()));
        }
        if let Some(interrupted) = self.interruption() {
            *interrupted = Some(error);
        }
        Ok(None)
    }

    /// Why the current response, if there is one, ended early.
    fn interruption(&mut self) -> Option<&mut Option<Error>> {
        match &mut self.source {
            Source::Response(response) => Some(&mut response.interrupted),
            Source::Idle | Source::Ahead(_) => None,
        }
    }

    /// Returns the next requested bytes of this response; `None` if it ended.
    async fn body_bytes(&mut self) -> Option<Result<Bytes, TransportError>> {
        let Source::Response(response) = &mut self.source else { return None };
        loop {
            let mut bytes = match response.body.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(error)),
            };
            let skipped = bytes.len().min(usize::try_from(response.skip).unwrap_or(usize::MAX));
            response.skip -= skipped as u64;
            let _ = bytes.split_to(skipped);
            let left = usize::try_from(response.until - self.position).unwrap_or(usize::MAX);
            bytes.truncate(left);
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
    }

    /// Requests the bytes of the same object that the response has not delivered, or all remaining bytes if there is no
    /// response. Fails if a server that ignores ranges sends more than `most_skipped` bytes before them.
    async fn request(&mut self, most_skipped: u64) -> Result<(), Error> {
        let until = match &self.source {
            Source::Response(response) => response.until,
            Source::Idle | Source::Ahead(_) => self.info.end,
        };
        let GetAnswer { start, body, .. } = self.pinned.get(&self.store, self.position..until).await?;
        let skip = self.position - start;
        if skip > most_skipped {
            return Err(broken(
                "the S3 server does not support ranges and would send the object again from the start",
            ));
        }
        match &mut self.source {
            Source::Response(response) => {
                (response.body, response.skip, response.interrupted) = (body, skip, None);
            }
            source => {
                *source = Source::Response(Response { body, skip, until, then: None, interrupted: None });
            }
        }
        Ok(())
    }

    fn verify_checksum(&mut self) -> Result<(), Error> {
        let Some(verifier) = self.verifier.take() else { return Ok(()) };
        if verifier.hasher.finish().value == verifier.expected.value {
            return Ok(());
        }
        let message = format!(
            "the bytes read do not match the object's {} checksum",
            verifier.expected.algorithm.name()
        );
        Err(Error::new(ErrorKind::BytesDamaged, message))
    }
}

impl Verifier {
    fn of(checksums: &[Checksum]) -> Option<Self> {
        let is_whole = |checksum: &&Checksum| checksum.kind == Some(ChecksumType::FullObject);
        let expected = checksums.iter().find(is_whole)?.clone();
        Some(Self { hasher: ChecksumHasher::new(expected.algorithm), expected })
    }
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost, "S3 stopped sending the object before its end").because(why)
}

/// Reads one of the parts of a [`ReadAhead`]. The stream is boxed because its type would otherwise contain itself: it
/// holds an [`ObjectReader`], which holds a [`ReadAhead`], which holds a pointer to a function that returns this
/// stream.
pub(in crate::store) fn read_part(
    store: S3Store,
    pinned: Pinned,
    range: Range<u64>,
    requested: Option<Requested>,
) -> Pieces {
    let pieces = async move {
        let answer = match requested {
            None => pinned.get(&store, range.clone()).await?,
            Some(requested) => {
                let stopped = |_| Error::new(ErrorKind::Internal, "the task of the request has stopped");
                pinned.check(requested.await.map_err(stopped)??, range.start)?
            }
        };
        let mut reader = ObjectReader::of_answer(store, pinned, range, answer)?;
        if matches!(&reader.source, Source::Response(response) if response.skip > 0) {
            return Err(Error::new(ErrorKind::OperationNotSupported, "the S3 server ignores ranges"));
        }
        (reader.backend_speed, reader.verifier) = (None, None);
        Ok(stream::unfold(reader, async |mut reader| reader.next().await.map(|piece| (piece, reader))))
    };
    stream::once(pieces).try_flatten().boxed()
}
