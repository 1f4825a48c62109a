//! Reads an object or one range of it, and resumes after a lost connection.

use std::ops::Range;

use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use tokio::time::Instant;

use super::{
    ByteRange, ChecksumType, Error, ErrorKind, Field, Head, ObjectMeta, ReadInfo, ReadOptions, S3Store,
    byte_range::{check_covers, resolve},
    pinned::Pinned,
    read_ahead::{BackendSpeed, ReadAhead},
    resume::{MOST_SKIPPED, Progress},
};
use crate::{
    s3::{Checksum, ChecksumHasher, GetAnswer, HeadAnswer, Selection},
    transport::{Attempts, ResponseBody, Retry, RetryCost, RetryQuota, TransportError},
};

/// The largest piece that [`ObjectReader::next`] returns, in bytes.
const MAX_PIECE: usize = 1024 * 1024;

impl ReadOptions {
    pub(super) fn selecting<'a>(&'a self, key: &'a str) -> Selection<'a> {
        Selection { key, version: self.version.as_deref(), conditions: &self.conditions }
    }
}

impl S3Store {
    /// Returns an object's metadata and attributes.
    pub async fn head(&self, key: &str, options: &ReadOptions) -> Result<Head, Error> {
        let full = self.full_key(key, Field::Key)?;
        let HeadAnswer { size, properties, attributes, .. } =
            self.client().head_object(options.selecting(&full)).await?;
        Ok(Head { meta: ObjectMeta { key: key.to_owned(), size, properties }, attributes })
    }

    /// Reads an object or one range of it. An empty range returns no data. A suffix longer than the object returns
    /// the whole object, even if that is empty.
    pub async fn get(
        &self,
        key: &str,
        range: Option<ByteRange>,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        if let Some(ByteRange::Bounded { start, end }) = range
            && start == end
        {
            return self.get_nothing(key, start, options).await;
        }
        let full_key = self.full_key(key, Field::Key)?;
        match self.client().get_object(options.selecting(&full_key), range).await {
            Ok(GetAnswer { size, properties, attributes, start, end, body }) => {
                let requested = range.map_or(Ok(0..size), |range| resolve(range, size, "the range"))?;
                check_covers(start..end, &requested)?;
                let meta = ObjectMeta { key: key.to_owned(), size, properties };
                let pinned = Pinned::new(full_key, options, &meta);
                let skip = requested.start - start;
                let info = ReadInfo { meta, attributes, start: requested.start, end: requested.end };
                Ok(ObjectReader::new(self.clone(), pinned, info, Some(body), skip))
            }
            Err(error) => match range {
                // S3 answers 416 to any suffix of an empty object.
                Some(ByteRange::Suffix(1..)) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                    let reader = self.get_nothing(key, 0, options).await?;
                    if reader.info.meta.size == 0 { Ok(reader) } else { Err(error) }
                }
                _ => Err(error),
            },
        }
    }

    /// Reads an empty range at `offset`, for which S3 has no request.
    async fn get_nothing(
        &self,
        key: &str,
        offset: u64,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        let Head { meta, attributes } = self.head(key, options).await?;
        resolve(ByteRange::Bounded { start: offset, end: offset }, meta.size, "the range")?;
        let pinned = Pinned::new(self.full_key(key, Field::Key)?, options, &meta);
        let info = ReadInfo { meta, attributes, start: offset, end: offset };
        Ok(ObjectReader::new(self.clone(), pinned, info, None, 0))
    }
}

/// A read in progress: first the object's metadata, then its bytes. Dropping it cancels the request.
#[derive(Debug)]
pub struct ObjectReader {
    store: S3Store,
    pinned: Pinned,
    info: ReadInfo,
    position: u64,
    /// The offset at which `body` ends and `ahead` begins; the end of the range if there is no `ahead`.
    until: u64,
    body: Option<ResponseBody>,
    ahead: Option<ReadAhead>,
    /// `None` if the read does not use further connections.
    backend_speed: Option<BackendSpeed>,
    /// Received bytes that did not fit into the last piece.
    rest: Bytes,
    /// Number of bytes to discard before the first requested one, from a server that does not support ranges.
    skip: u64,
    verifier: Option<Verifier>,
    progress: Progress,
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

    /// Returns the next piece, 1 byte to 1 MiB; `None` at the end. If the connection is lost, the read resumes at the
    /// same offset of the same object. If the object has been replaced, the error is [`ErrorKind::ObjectChanged`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.position == self.info.end {
            self.body = None;
            return self.verify_checksum().err().map(Err);
        }
        if self.rest.is_empty() {
            match self.next_bytes().await {
                Ok(bytes) => self.rest = bytes,
                Err(error) => {
                    self.position = self.info.end;
                    (self.verifier, self.ahead) = (None, None);
                    return Some(Err(error));
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(MAX_PIECE));
        self.position += piece.len() as u64;
        if let Some(verifier) = &mut self.verifier {
            verifier.hasher.update(&piece);
        }
        Some(Ok(piece))
    }

    /// Reads the bytes of `info` from `body`, of which it discards the first `skip` bytes.
    fn new(store: S3Store, pinned: Pinned, info: ReadInfo, body: Option<ResponseBody>, skip: u64) -> Self {
        let ReadInfo { ref meta, start, end, .. } = info;
        let whole = start == 0 && end == meta.size;
        let verifier = if whole && body.is_some() { Verifier::of(&meta.properties.checksums) } else { None };
        let transfer = store.settings().transfer;
        let is_large = transfer.max_concurrency > 1 && end.saturating_sub(start) >= 2 * transfer.part_size;
        // All connections must read the same object.
        let backend_speed = (is_large && pinned.is_exact()).then(BackendSpeed::default);
        Self {
            store,
            pinned,
            info,
            position: start,
            until: end,
            body,
            ahead: None,
            backend_speed,
            rest: Bytes::new(),
            skip,
            verifier,
            progress: Progress::from(start),
        }
    }

    /// Reads other bytes of an object that another read has found. Its [`ReadInfo`] has no key.
    pub(super) async fn of_pinned(store: S3Store, pinned: Pinned, range: Range<u64>) -> Result<Self, Error> {
        let GetAnswer { size, properties, attributes, start, end, body } =
            pinned.get(&store, range.clone()).await?;
        check_covers(start..end, &range)?;
        let pinned = pinned.pinning_version_of(&properties);
        let meta = ObjectMeta { key: String::new(), size, properties };
        let info = ReadInfo { meta, attributes, start: range.start, end: range.end };
        Ok(Self::new(store, pinned, info, Some(body), range.start - start))
    }

    /// Returns the next bytes, from this connection or from those that read ahead.
    async fn next_bytes(&mut self) -> Result<Bytes, Error> {
        if self.position < self.until {
            return self.next_from_body().await;
        }
        self.body = None;
        if let Some(ahead) = &mut self.ahead
            && let Some(piece) = ahead.next().await
        {
            return piece;
        }
        // There is no memory left for reading ahead: read the rest on one connection.
        (self.ahead, self.until) = (None, self.info.end);
        self.resume().await?;
        self.next_from_body().await
    }

    /// Records how long the read has waited for `bytes`. Starts reading ahead on other connections if S3 is slow.
    fn record_wait(&mut self, began: Instant, bytes: usize) {
        let part_size = self.store.settings().transfer.part_size;
        let Some(speed) = &mut self.backend_speed else { return };
        if !speed.record_wait(began.elapsed(), bytes) {
            return;
        }
        *speed = BackendSpeed::default();
        // The first multiple of the part size after the received bytes. If the object was uploaded in such parts, one
        // of them begins there.
        let from = ((self.position + bytes as u64) / part_size + 1).saturating_mul(part_size);
        if self.ahead.is_none() && from < self.info.end {
            let (store, pinned) = (self.store.clone(), self.pinned.clone());
            self.ahead = ReadAhead::begin(read_part, store, pinned, from..self.info.end);
            if self.ahead.is_some() {
                self.until = from;
            }
        }
    }

    /// Returns the next requested bytes of the response, or of a new one that resumes here.
    async fn next_from_body(&mut self) -> Result<Bytes, Error> {
        match self.timed_body_bytes().await {
            Ok(bytes) => Ok(bytes),
            Err(error) => self.resume_after(error).await,
        }
    }

    /// Continues [`Self::next_from_body`] after the response was interrupted.
    async fn resume_after(&mut self, mut error: Error) -> Result<Bytes, Error> {
        let store = self.store.clone();
        // A broken connection is no sign of an overloaded S3, so resuming does not use the store's retry quota. Each
        // read has its own attempts, which start over whenever bytes have arrived.
        let (policy, quota) = (store.settings().download_policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, store.client().deadline());
        loop {
            let download_attempts = store.settings().transfer.download_attempts;
            let may_resume =
                self.pinned.is_exact() && self.progress.may_resume(self.position, download_attempts);
            let again = Retry::Later { cost: RetryCost::Failure, wait: None };
            if !may_resume || !attempts.again(again).await {
                return Err(error.after_attempts(attempts.made(), attempts.elapsed()));
            }
            tracing::debug!(error = %error, position = self.position, "resuming a read after its connection was lost");
            self.resume().await?;
            match self.timed_body_bytes().await {
                Ok(bytes) => return Ok(bytes),
                Err(broken) => error = broken,
            }
        }
    }

    /// Returns the next requested bytes of this response, and starts reading ahead if S3 is slow.
    async fn timed_body_bytes(&mut self) -> Result<Bytes, Error> {
        let began = Instant::now();
        match self.body_bytes().await {
            Some(Ok(bytes)) => {
                self.record_wait(began, bytes.len());
                Ok(bytes)
            }
            Some(Err(error)) => Err(broken(&error.to_string())),
            None => Err(broken("the response ended before the object did")),
        }
    }

    /// Returns the next requested bytes of this response; `None` if it ended.
    async fn body_bytes(&mut self) -> Option<Result<Bytes, TransportError>> {
        loop {
            let mut bytes = match self.body.as_mut()?.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(error)),
            };
            let skipped = bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
            self.skip -= skipped as u64;
            let _ = bytes.split_to(skipped);
            let left = usize::try_from(self.until - self.position).unwrap_or(usize::MAX);
            bytes.truncate(left);
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
    }

    /// Requests the rest of the same object.
    async fn resume(&mut self) -> Result<(), Error> {
        let answer = self.pinned.get(&self.store, self.position..self.until).await?;
        self.skip = self.position - answer.start;
        if self.skip > MOST_SKIPPED {
            return Err(broken(
                "the S3 server does not support ranges and would send the object again from the start",
            ));
        }
        self.body = Some(answer.body);
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

/// Reads one part ahead. The stream is boxed because its type would otherwise contain itself: it holds an
/// [`ObjectReader`], which holds a [`ReadAhead`].
fn read_part(store: S3Store, pinned: Pinned, range: Range<u64>) -> BoxStream<'static, Result<Bytes, Error>> {
    let pieces = async move {
        let mut reader = ObjectReader::of_pinned(store, pinned, range).await?;
        reader.backend_speed = None;
        Ok(stream::unfold(reader, async |mut reader| reader.next().await.map(|piece| (piece, reader))))
    };
    stream::once(pieces).try_flatten().boxed()
}
