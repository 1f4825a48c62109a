//! Reading an object or one range of it, and going on where a broken connection ended.

use std::ops::Range;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    ByteRange, ChecksumType, Conditions, Error, ErrorKind, Head, ObjectMeta, ReadInfo, ReadOptions, S3Store,
    read_ahead::{Pace, ReadAhead, bounded, changed},
    resume::{MOST_SKIPPED, Pin, Resumed},
};
use crate::{
    s3::{Checksum, ChecksumHasher, GetAnswer, HeadAnswer, Selection},
    transport::{Again, Attempts, ResponseBody, RetryCost, RetryQuota, TransportError},
};

/// The largest piece that [`ObjectReader::next`] gives.
const MAX_PIECE: usize = 1024 * 1024;

impl ReadOptions {
    pub(super) fn selecting<'a>(&'a self, key: &'a str) -> Selection<'a> {
        Selection { key, version: self.version.as_deref(), conditions: &self.conditions }
    }
}

impl S3Store {
    /// An object's metadata and attributes.
    pub async fn head(&self, key: &str, options: &ReadOptions) -> Result<Head, Error> {
        let full = self.full_key(key, "key")?;
        let HeadAnswer { size, properties, attributes, .. } =
            self.client().head_object(options.selecting(&full), self.deadline).await?;
        Ok(Head { meta: ObjectMeta { key: key.to_owned(), size, properties }, attributes })
    }

    /// Reads an object or one range of it. An empty range is answered without data; a suffix longer than the object is
    /// the whole object, also where that is empty.
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
        let full = self.full_key(key, "key")?;
        match self.client().get_object(options.selecting(&full), range, self.deadline).await {
            Ok(answer) => ObjectReader::new(self.clone(), full, key, range, options, answer),
            Err(error) => match range {
                // S3 answers 416 to any suffix of an empty object; RFC 9110, section 14.1.2, means the whole of it.
                Some(ByteRange::Suffix(1..)) if error.kind() == ErrorKind::RangeNotSatisfiable => {
                    let reader = self.get_nothing(key, 0, options).await?;
                    if reader.info.meta.size == 0 { Ok(reader) } else { Err(error) }
                }
                _ => Err(error),
            },
        }
    }

    /// No bytes at `offset`, which S3 has no way to ask for.
    async fn get_nothing(
        &self,
        key: &str,
        offset: u64,
        options: &ReadOptions,
    ) -> Result<ObjectReader, Error> {
        let Head { meta, attributes } = self.head(key, options).await?;
        if offset > meta.size {
            let message = format!("the range begins at {offset}, and the object has {} bytes", meta.size);
            return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
        }
        let info = ReadInfo { meta, attributes, start: offset, end: offset };
        Ok(ObjectReader::empty(self.clone(), info))
    }
}

/// A read under way: what is read, then its bytes. Dropping it ends the request.
#[derive(Debug)]
pub struct ObjectReader {
    store: S3Store,
    full_key: String,
    /// Pinned to what was first answered.
    options: ReadOptions,
    info: ReadInfo,
    position: u64,
    /// Where what is read of `body` ends and `ahead` begins; the end of all where there is none.
    until: u64,
    body: Option<ResponseBody>,
    ahead: Option<ReadAhead>,
    /// `None` where the read is to stay on one connection.
    pace: Option<Pace>,
    /// What has come but was too large for one piece.
    rest: Bytes,
    /// Bytes of the answer before the first that is wanted, from a server that does not know ranges.
    skip: u64,
    verifier: Option<Verifier>,
    resumed: Resumed,
}

/// Holds the bytes of a whole object against the checksum that S3 keeps of it.
#[derive(Debug)]
struct Verifier {
    hasher: ChecksumHasher,
    expected: Checksum,
}

impl ObjectReader {
    /// What is read.
    pub fn info(&self) -> &ReadInfo {
        &self.info
    }

    /// The next bytes, at most 1 MiB and never none; `None` at the end. A connection that breaks is made anew, and the
    /// read goes on from the byte reached, of the same object: if it was replaced meanwhile the error is
    /// [`ErrorKind::ObjectChanged`].
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if self.position == self.info.end {
            self.body = None;
            return self.verified().err().map(Err);
        }
        if self.rest.is_empty() {
            match self.following().await {
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

    fn new(
        store: S3Store,
        full_key: String,
        key: &str,
        range: Option<ByteRange>,
        options: &ReadOptions,
        answer: GetAnswer,
    ) -> Result<Self, Error> {
        let meta = ObjectMeta { key: key.to_owned(), size: answer.size, properties: answer.properties };
        let (start, end) = wanted(range, answer.start, answer.end, meta.size)?;
        let whole = start == 0 && end == meta.size;
        let verifier = if whole { Verifier::of(&meta.properties.checksums) } else { None };
        let Pin { version, if_match } = Pin::of(options, &meta.properties);
        // Another connection is asked for the rest of this very object, so it must be known by its ETag.
        let transfer = store.settings().transfer;
        let many = transfer.max_concurrency > 1 && end.saturating_sub(start) >= 2 * transfer.part_size;
        let is_pinned = version.is_some() || if_match.is_some();
        let pace = (many && is_pinned).then(Pace::default);
        let options = ReadOptions { version, conditions: Conditions { if_match, ..Conditions::default() } };
        Ok(Self {
            store,
            full_key,
            options,
            info: ReadInfo { meta, attributes: answer.attributes, start, end },
            position: start,
            until: end,
            body: Some(answer.body),
            ahead: None,
            pace,
            rest: Bytes::new(),
            skip: start - answer.start,
            verifier,
            resumed: Resumed::default(),
        })
    }

    fn empty(store: S3Store, info: ReadInfo) -> Self {
        let options = ReadOptions::default();
        let position = info.start;
        Self {
            store,
            full_key: String::new(),
            options,
            info,
            position,
            until: position,
            body: None,
            ahead: None,
            pace: None,
            rest: Bytes::new(),
            skip: 0,
            verifier: None,
            resumed: Resumed::default(),
        }
    }

    /// A part of an object that is being read: on one connection, and of nothing but the object that `options` pin.
    pub(super) async fn part(
        store: S3Store,
        full_key: String,
        options: ReadOptions,
        range: Range<u64>,
    ) -> Result<Self, Error> {
        let selection = options.selecting(&full_key);
        let answer = store.client().get_object(selection, Some(bounded(range.clone())), store.deadline).await;
        let asked = Some(bounded(range.clone()));
        let mut reader = Self::new(store, full_key, "", asked, &options, answer.map_err(changed)?)?;
        // A shorter part would shift all that comes behind it.
        if reader.options != options || reader.info.start != range.start || reader.info.end != range.end {
            return Err(replaced());
        }
        reader.pace = None;
        Ok(reader)
    }

    /// The next wanted bytes, of this connection or of those that read ahead.
    async fn following(&mut self) -> Result<Bytes, Error> {
        if self.position < self.until {
            return self.more().await;
        }
        self.body = None;
        if let Some(ahead) = &mut self.ahead
            && let Some(piece) = ahead.next().await
        {
            return piece;
        }
        // Others have taken the memory for reading ahead: the rest comes on one connection.
        (self.ahead, self.until) = (None, self.info.end);
        self.resume().await?;
        self.more().await
    }

    /// Reads what follows on other connections too, if S3 is what is waited for.
    fn look_ahead(&mut self, began: Instant, bytes: usize) {
        let part_size = self.store.settings().transfer.part_size;
        let Some(pace) = &mut self.pace else { return };
        if !pace.is_slow(began.elapsed(), bytes) {
            return;
        }
        *pace = Pace::default();
        // Where a part of the object begins, as S3 has it if it was uploaded so, and behind what has just come.
        let from = ((self.position + bytes as u64) / part_size + 1).saturating_mul(part_size);
        if self.ahead.is_none() && from < self.info.end {
            let (store, key, options) = (self.store.clone(), self.full_key.clone(), self.options.clone());
            self.ahead = ReadAhead::begin(store, key, options, from..self.info.end);
            if self.ahead.is_some() {
                self.until = from;
            }
        }
    }

    /// The next wanted bytes of the answer, or of another that goes on from here.
    async fn more(&mut self) -> Result<Bytes, Error> {
        match self.timed_frame().await {
            Ok(bytes) => Ok(bytes),
            Err(error) => self.more_after(error).await,
        }
    }

    /// As [`Self::more`], after the answer has broken off.
    async fn more_after(&mut self, mut error: Error) -> Result<Bytes, Error> {
        let store = self.store.clone();
        // Broken reads are not the backend refusing work: each read has attempts of its own, which begin
        // anew whenever bytes have come.
        let (policy, quota) = (store.settings().download_policy(), RetryQuota::default());
        let mut attempts = Attempts::new(&policy, &quota, store.deadline);
        loop {
            let is_pinned = self.options.version.is_some() || self.options.conditions.if_match.is_some();
            let cannot_go_on = !is_pinned || self.resumed.is_hopeless(self.position, policy.max_retries);
            let again = Again::Later { cost: RetryCost::Failure, wait: None };
            if cannot_go_on || !attempts.again(again).await {
                return Err(error.after_attempts(attempts.made(), attempts.elapsed()));
            }
            tracing::debug!(error = %error, position = self.position, "a read goes on after a broken connection");
            self.resume().await?;
            match self.timed_frame().await {
                Ok(bytes) => return Ok(bytes),
                Err(broken) => error = broken,
            }
        }
    }

    /// The next wanted bytes of this answer, and what is to be learnt of how long they took.
    async fn timed_frame(&mut self) -> Result<Bytes, Error> {
        let began = Instant::now();
        match self.frame().await {
            Some(Ok(bytes)) => {
                self.look_ahead(began, bytes.len());
                Ok(bytes)
            }
            Some(Err(error)) => Err(broken(&error.to_string())),
            None => Err(broken("it ended before the object did")),
        }
    }

    /// The next bytes of this answer, cut to those wanted; `None` if it ended.
    async fn frame(&mut self) -> Option<Result<Bytes, TransportError>> {
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

    /// Asks for the rest, of the same object.
    async fn resume(&mut self) -> Result<(), Error> {
        let range = Some(bounded(self.position..self.until));
        let selection = self.options.selecting(&self.full_key);
        let answer = self.store.client().get_object(selection, range, self.store.deadline).await;
        let answer = answer.map_err(changed)?;
        if answer.properties.etag != self.info.meta.properties.etag
            || answer.size != self.info.meta.size
            || answer.start > self.position
        {
            return Err(replaced());
        }
        self.skip = self.position - answer.start;
        if self.skip > MOST_SKIPPED {
            return Err(broken("the server knows no ranges, and would send it again from the beginning"));
        }
        self.body = Some(answer.body);
        Ok(())
    }

    fn verified(&mut self) -> Result<(), Error> {
        let Some(verifier) = self.verifier.take() else { return Ok(()) };
        if verifier.hasher.finish().value == verifier.expected.value {
            return Ok(());
        }
        let message =
            format!("the bytes read do not have the object's {}", verifier.expected.algorithm.name());
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

/// Which bytes are wanted of an answer of `start..end`, which is the whole object where a server does not know ranges.
fn wanted(range: Option<ByteRange>, start: u64, end: u64, size: u64) -> Result<(u64, u64), Error> {
    let (first, last) = match range {
        None => (0, size),
        Some(ByteRange::Bounded { start, end }) => (start, end.min(size)),
        Some(ByteRange::Offset(start)) => (start, size),
        Some(ByteRange::Suffix(length)) => (size.saturating_sub(length), size),
    };
    let suffix_of_empty = size == 0 && matches!(range, Some(ByteRange::Suffix(1..)));
    if range.is_some() && first >= size && !suffix_of_empty {
        let message = format!("the range begins at {first}, and the object has {size} bytes");
        return Err(Error::new(ErrorKind::RangeNotSatisfiable, message));
    }
    let (first, last) = (first.min(size), last.min(size));
    if first < start || last > end {
        return Err(Error::new(
            ErrorKind::BackendProtocol,
            "S3 answered with another range than was asked for",
        ));
    }
    Ok((first, last))
}

fn replaced() -> Error {
    Error::new(ErrorKind::ObjectChanged, "the object was replaced while it was read: read it anew")
}

fn broken(why: &str) -> Error {
    Error::new(ErrorKind::ConnectionLost, "the object's bytes stopped coming from S3").because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_bytes_are_found_in_any_answer() {
        let bounded = |start, end| Some(ByteRange::Bounded { start, end });
        assert_eq!(wanted(None, 0, 10, 10).unwrap(), (0, 10));
        assert_eq!(wanted(bounded(2, 5), 2, 5, 10).unwrap(), (2, 5));
        assert_eq!(wanted(bounded(2, 50), 2, 10, 10).unwrap(), (2, 10));
        assert_eq!(wanted(Some(ByteRange::Suffix(50)), 0, 10, 10).unwrap(), (0, 10));
        assert_eq!(
            wanted(Some(ByteRange::Offset(4)), 0, 10, 10).unwrap(),
            (4, 10),
            "a server without ranges"
        );
        assert_eq!(wanted(Some(ByteRange::Suffix(5)), 0, 0, 0).unwrap(), (0, 0), "an empty object");
        assert!(wanted(Some(ByteRange::Offset(10)), 0, 10, 10).is_err());
        assert!(wanted(bounded(2, 5), 3, 5, 10).is_err());
    }
}
