//! Reads bytes from disk and streams them to a caller.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use futures::stream;
use s3s::{S3Error, S3Result, dto::StreamingBlob};

use super::call::admit;
use crate::embedded::storage::{
    self, BlobName, Blobs, Failed, HeldBody, ObjectRow, PartRow, Storage, blocking,
};

/// The number of bytes that are read at once. Compared to reading them, the switch to a blocking thread is cheap.
const CHUNK: u64 = 256 * 1024;

/// An object with its bytes, which stay readable while this value exists.
pub(super) struct Content {
    pub(super) object: ObjectRow,
    pub(super) parts: Vec<(u16, PartRow)>,
    blobs: Arc<Blobs>,
    held: HeldBody,
}

/// Looks up an object, and keeps its bytes readable. Blocks on the disk.
pub(super) fn open(
    storage: &Storage,
    bucket: &str,
    key: &str,
    headers: &http::HeaderMap,
) -> Result<Content, Failed> {
    loop {
        let first = storage.look(|tables| {
            admit(storage::bucket(&tables.buckets, bucket)?, headers)?;
            existing(storage::object(&tables.objects, bucket, key)?)
        })?;
        let held = storage.blobs().hold(first.body);
        // The object may have been replaced, and its bytes removed, before `hold`. In that case, look it up again.
        let found = storage.look(|tables| {
            let object = existing(storage::object(&tables.objects, bucket, key)?)?;
            let parts = storage::parts(&tables.parts, object.body)?.collect::<Result<Vec<_>, _>>()?;
            Ok((object, parts))
        })?;
        if found.0.body == first.body {
            let (object, parts) = found;
            return Ok(Content { object, parts, blobs: Arc::clone(storage.blobs()), held });
        }
    }
}

/// The object, or NoSuchKey if there is none.
pub(super) fn existing(object: Option<ObjectRow>) -> Result<ObjectRow, Failed> {
    object.ok_or_else(|| s3s::s3_error!(NoSuchKey, "The specified key does not exist.").into())
}

impl Content {
    /// A reader of the bytes in a range, in order.
    pub(super) fn reading(self, range: Range<u64>) -> Reading {
        let mut pieces = VecDeque::new();
        let mut begin = 0;
        for (part, row) in &self.parts {
            let end = begin + row.size;
            let (from, to) = (range.start.max(begin), range.end.min(end));
            if from < to {
                let name = BlobName { body: self.object.body, part: *part, blob: row.blob };
                pieces.push_back(Piece { name, range: from - begin..to - begin });
            }
            begin = end;
        }
        Reading { blobs: self.blobs, pieces, file: None, _held: self.held }
    }

    /// The range of a part's bytes in the object, for objects that were uploaded in parts.
    pub(super) fn part(&self, number: u16) -> Option<(Range<u64>, &PartRow)> {
        let mut begin = 0;
        for (part, row) in &self.parts {
            if *part == number {
                return Some((begin..begin + row.size, row));
            }
            begin += row.size;
        }
        None
    }
}

/// A range of bytes in one blob.
#[derive(Debug)]
struct Piece {
    name: BlobName,
    range: Range<u64>,
}

/// The bytes that are still to be read.
#[derive(Debug)]
pub(super) struct Reading {
    blobs: Arc<Blobs>,
    pieces: VecDeque<Piece>,
    /// The file of the first piece, if some of it has been read.
    file: Option<File>,
    _held: HeldBody,
}

impl Reading {
    /// A buffer for the next bytes. Allocate it on the thread that also frees it: an allocator retains memory that one
    /// thread allocates and another frees, and there are many blocking threads.
    fn room(&self) -> Vec<u8> {
        let length = self.pieces.front().map_or(0, |piece| CHUNK.min(piece.range.end - piece.range.start));
        Vec::with_capacity(usize::try_from(length).unwrap_or_default())
    }

    /// The next bytes, or `None` at the end. Blocks on the disk.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let room = self.room();
        self.fill(room)
    }

    fn fill(&mut self, mut bytes: Vec<u8>) -> io::Result<Option<Bytes>> {
        let Some(piece) = self.pieces.front_mut() else { return Ok(None) };
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = self.blobs.file(piece.name)?;
                file.seek(SeekFrom::Start(piece.range.start))?;
                none.insert(file)
            }
        };
        let length = CHUNK.min(piece.range.end - piece.range.start);
        file.take(length).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        piece.range.start += length;
        if piece.range.is_empty() {
            self.pieces.pop_front();
            self.file = None;
        }
        Ok(Some(bytes.into()))
    }

    /// A body that reads one chunk ahead of its consumer. The caller passes the first chunk, which it has read together
    /// with the rows.
    pub(super) fn stream(self, first: Bytes) -> StreamingBlob {
        let ready = Ok((self, Some(first)));
        StreamingBlob::wrap(stream::try_unfold(Ahead::Ready(ready), |ahead| async {
            let (mut reading, chunk) = ahead.arrived().await?;
            let Some(chunk) = chunk else { return Ok::<_, S3Error>(None) };
            let room = reading.room();
            let next = tokio::task::spawn_blocking(move || {
                let chunk = reading.fill(room)?;
                Ok((reading, chunk))
            });
            Ok(Some((chunk, Ahead::Coming(next))))
        }))
    }
}

type Arrived = Result<(Reading, Option<Bytes>), Failed>;

/// The chunk after the one being sent.
enum Ahead {
    Ready(Arrived),
    Coming(tokio::task::JoinHandle<Arrived>),
}

impl Ahead {
    async fn arrived(self) -> S3Result<(Reading, Option<Bytes>)> {
        match self {
            Self::Ready(arrived) => Ok(arrived?),
            Self::Coming(task) => match task.await {
                Ok(arrived) => Ok(arrived?),
                Err(_) => Err(s3s::s3_error!(InternalError, "The server failed; see its log")),
            },
        }
    }
}

/// Reads bytes and computes the digests that a copy needs.
pub(super) async fn digest(
    mut reading: Reading,
    mut digests: super::checksums::Digests,
) -> S3Result<super::checksums::Digested> {
    blocking(move || {
        while let Some(chunk) = reading.next()? {
            digests.update(&chunk);
        }
        Ok(digests.finish())
    })
    .await
}
