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
use http::{HeaderMap, HeaderValue, header};
use s3s::{S3Error, S3Result, dto::StreamingBlob, s3_error};

use super::{
    attributes,
    call::{admit, told_version},
};
use crate::embedded::storage::{
    self, BlobName, Blobs, Failed, HeldBody, ObjectRow, PartRow, Reading as Tables, Storage, VersionId,
    Versioning, blocking,
};

/// The number of bytes that are read at once. Compared to reading them, the switch to a blocking thread is cheap.
const CHUNK: u64 = 256 * 1024;

/// An object with its bytes, which stay readable while this value exists.
pub(super) struct Content {
    pub(super) object: ObjectRow,
    /// Whether the object's bucket keeps versions.
    pub(super) versioning: Versioning,
    pub(super) parts: Vec<(u16, PartRow)>,
    blobs: Arc<Blobs>,
    held: HeldBody,
}

/// Looks up an object or one of its versions, and keeps its bytes readable. Blocks on the disk.
pub(super) fn open(
    storage: &Storage,
    (bucket, key): (&str, &str),
    version: Option<VersionId>,
    headers: &HeaderMap,
) -> Result<Content, Failed> {
    let find = |tables: &Tables| {
        existing(storage::version(&tables.objects, &tables.versions, (bucket, key), version)?, version)
    };
    loop {
        let (first, versioning) = storage.look(|tables| {
            let row = admit(storage::bucket(&tables.buckets, bucket)?, headers)?;
            Ok((find(tables)?, row.versioning()))
        })?;
        let held = storage.blobs().hold(first.body);
        // The object may have been replaced, and its bytes removed, before `hold`. In that case, look it up again.
        let found = storage.look(|tables| {
            let object = find(tables)?;
            let parts = storage::parts(&tables.parts, object.body)?.collect::<Result<Vec<_>, _>>()?;
            Ok((object, parts))
        })?;
        if found.0.body == first.body {
            let (object, parts) = found;
            return Ok(Content { object, versioning, parts, blobs: Arc::clone(storage.blobs()), held });
        }
    }
}

/// The version, or an error if it does not exist or is a delete marker. `asked` is the version that the request names.
pub(super) fn existing(found: Option<ObjectRow>, asked: Option<VersionId>) -> Result<ObjectRow, Failed> {
    match (found, asked) {
        (Some(row), asked) if row.delete_marker => Err(hidden(&row, asked.is_some()).into()),
        (Some(row), _) => Ok(row),
        (None, None) => Err(s3_error!(NoSuchKey, "The specified key does not exist.").into()),
        (None, Some(_)) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.").into()),
    }
}

/// The error for a delete marker
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/DeleteMarker.html>).
fn hidden(marker: &ObjectRow, asked: bool) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(&VersionId::of(marker).text()) {
        headers.insert("x-amz-version-id", id);
    }
    let mut error = if asked {
        headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
        headers.insert(header::LAST_MODIFIED, attributes::last_modified_header(marker));
        s3_error!(MethodNotAllowed)
    } else {
        s3_error!(NoSuchKey, "The specified key does not exist.")
    };
    error.set_headers(headers);
    error
}

impl Content {
    /// The version's id as responses have it.
    pub(super) fn version_id(&self) -> Option<String> {
        told_version(self.versioning, &self.object)
    }

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
                Err(_) => Err(s3_error!(InternalError, "The server failed; see its log")),
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
