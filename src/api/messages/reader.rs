//! Reads messages from a request's body without copying them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http_body::Body;
use tonic::Status;

use super::{
    Policy,
    clock::Clock,
    memory::{Memory, SMALL},
    segments::{PREFIX, Segments},
    toll::Toll,
    unpack,
};
use crate::{api::failure::Failure, tenants::Tenant};

/// Data of an unfinished chunk is passed on when this many bytes have arrived, or when no more bytes are available.
const PIECE: usize = 32 * 1024;

/// Uncompressed messages up to this size, in bytes, are not scanned: they cannot hold enough entries to be expensive to
/// decode.
const UNCHECKED: usize = 1024;

/// Finds a chunk in the first bytes of a message of the given length. If the message is a chunk, returns the offset of
/// the data, which extends to the end of the message, and the chunk's checksum. Returns `None` for any other message.
pub(crate) type FindChunk = fn(&[u8], usize) -> Option<(usize, Option<u32>)>;

/// How many bytes [`FindChunk`] needs.
pub(crate) const CHUNK_HEAD: usize = 32;

/// The result of a read.
#[derive(Debug)]
pub(crate) enum Read {
    /// A complete message.
    Message(Segments),
    /// Data of a chunk that may still be incomplete.
    Chunk {
        /// The checksum of the whole chunk.
        crc32c: Option<u32>,
        /// The data that follows the previous data of the chunk.
        data: Segments,
        /// Whether the chunk ends with this data.
        last: bool,
    },
}

#[derive(Debug, Clone, Copy)]
struct Prefix {
    compressed: bool,
    len: usize,
    /// Whether the message is read as a whole: it is not a chunk, or the reader does not ask for chunks.
    whole: bool,
}

/// A chunk whose data has not been passed on completely.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    left: usize,
    crc32c: Option<u32>,
}

/// The messages of a request.
#[derive(Debug)]
pub(crate) struct Messages<B> {
    body: B,
    policy: Policy,
    find_chunk: Option<FindChunk>,
    buffered: Segments,
    prefix: Option<Prefix>,
    chunk: Option<Chunk>,
    clock: Clock,
    memory: Memory,
    toll: Toll,
    /// How many messages have been read.
    count: u64,
    ended: bool,
}

impl<B: Body<Data = Bytes, Error = Status> + Unpin> Messages<B> {
    /// Reads complete messages.
    pub(crate) fn new(body: B, policy: Policy) -> Self {
        Self::with(body, policy, None)
    }

    /// Reads chunks piece by piece as they arrive, and other messages as a whole.
    pub(crate) fn with_chunks(body: B, policy: Policy, find_chunk: FindChunk) -> Self {
        Self::with(body, policy, Some(find_chunk))
    }

    fn with(body: B, policy: Policy, find_chunk: Option<FindChunk>) -> Self {
        Self {
            body,
            clock: Clock::new(policy.timeout, find_chunk.is_some()),
            memory: Memory::new(policy.tenant.clone(), policy.held.clone(), policy.unreserved.clone()),
            toll: Toll::new(policy.paced.clone()),
            policy,
            find_chunk,
            buffered: Segments::default(),
            prefix: None,
            chunk: None,
            count: 0,
            ended: false,
        }
    }

    /// The tenant's name; empty for a call without one.
    pub(super) fn tenant(&self) -> &str {
        self.policy.tenant.as_ref().map_or("", Tenant::name)
    }

    /// Whether all bytes have been read.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.ended || (self.buffered.len() == 0 && self.body.is_end_stream())
    }

    /// The next message without its prefix.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Segments, Failure>>> {
        self.poll_framed(cx).map_ok(|mut message| {
            message.skip(PREFIX);
            message
        })
    }

    /// The next message with the prefix of an uncompressed message. `None` only if the caller has closed its side: if
    /// the call was cancelled or its connection broke, the result is a failure, because the messages are incomplete.
    pub(super) fn poll_framed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Segments, Failure>>> {
        self.poll_read(cx).map_ok(|read| match read {
            Read::Message(message) => message,
            // Occurs only if the reader asked for chunks.
            Read::Chunk { data, .. } => data,
        })
    }

    /// The next message with its prefix, or data of a chunk. Ends like [`Messages::poll_framed`].
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Read, Failure>>> {
        let read = self.poll_some(cx);
        if read.is_pending()
            && let Some(reserved) = self.memory.take_compact()
        {
            let whole = self.prefix.map_or(0, |prefix| PREFIX + prefix.len);
            self.buffered.compact(whole.min(reserved));
        }
        let unfinished = if read.is_pending() { self.buffered.len() } else { 0 };
        self.memory.charge(unfinished);
        let read = ready!(read);
        if let Some(Err(_)) = &read {
            self.ended = true;
            (self.prefix, self.chunk, self.buffered) = (None, None, Segments::default());
        }
        Poll::Ready(read)
    }

    fn poll_some(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Read, Failure>>> {
        if self.policy.streaming && self.prefix.is_none() {
            self.memory.release();
        }
        loop {
            if let Some(read) = ready!(self.poll_take(cx)) {
                return Poll::Ready(Some(read));
            }
            if self.ended {
                return Poll::Ready(self.at_end().map(Err));
            }
            if self.find_chunk.is_none()
                && self.buffered.len() == 0
                && !self.is_small_and_whole()
                && let Err(failure) = ready!(self.memory.poll_first(cx))
            {
                return Poll::Ready(Some(Err(failure)));
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                // Trailers have no meaning in a request.
                Poll::Ready(Some(Ok(frame))) => {
                    self.buffered.push(frame.into_data().unwrap_or_default());
                    if self.chunk.is_some() {
                        self.clock.arrived();
                    }
                }
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(Failure::Stream(status)))),
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => return self.poll_idle(cx),
            }
        }
    }

    /// Whether the rest of the request has arrived and needs no reservation, so that reading it leaves no unfinished
    /// message. The limit is lower for compressed messages, which may have to wait for the memory to decompress them.
    fn is_small_and_whole(&self) -> bool {
        let small = if self.policy.gzip { SMALL / 16 } else { SMALL };
        self.body.size_hint().upper().is_some_and(|rest| rest <= small as u64)
    }

    /// Returns a message or data of a chunk, if enough bytes have arrived.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Read, Failure>>> {
        if self.chunk.is_none() && self.prefix.is_none() && self.buffered.len() >= PREFIX {
            match self.take_prefix() {
                Ok(prefix) => {
                    self.toll.begin(PREFIX + prefix.len);
                    self.prefix = Some(prefix);
                }
                Err(failure) => return Poll::Ready(Some(Err(failure))),
            }
        }
        if ready!(self.toll.poll(cx)) {
            // The caller is not to blame for this time.
            self.clock.stop();
            self.memory.taken();
        }
        self.find_chunk();
        if let Some(chunk) = self.chunk {
            let enough = self.buffered.len() >= PIECE.min(chunk.left);
            return Poll::Ready(enough.then(|| Ok(self.take_data(chunk))));
        }
        let Some(prefix) = self.prefix else { return Poll::Ready(None) };
        let whole = PREFIX + prefix.len;
        let most =
            if prefix.compressed { whole + unpack::most(prefix.len, self.policy.limit) } else { whole };
        if let Err(failure) = ready!(self.memory.poll_more(cx, self.buffered.len(), whole, most)) {
            return Poll::Ready(Some(Err(failure)));
        }
        if self.buffered.len() < whole {
            return Poll::Ready(None);
        }
        let message = ready!(self.poll_message(cx, prefix));
        (self.prefix, self.count) = (None, self.count + 1);
        self.clock.stop();
        self.memory.taken();
        Poll::Ready(Some(message.map(Read::Message)))
    }

    fn take_prefix(&mut self) -> Result<Prefix, Failure> {
        if self.count > 0 && !self.policy.streaming {
            return Err(Failure::Malformed("the method accepts only one message".into()));
        }
        let mut buffer = [0; PREFIX];
        let mut prefix = self.buffered.peek(&mut buffer);
        let compressed = match prefix.get_u8() {
            0 => false,
            1 if self.policy.gzip => true,
            1 => {
                return Err(Failure::Malformed(
                    "it is compressed, but `grpc-encoding` does not name the encoding".into(),
                ));
            }
            _ => return Err(Failure::Malformed("its compression flag is neither 0 nor 1".into())),
        };
        let len = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        let limit = self.policy.limit;
        let whole = compressed || self.find_chunk.is_none();
        if len > limit {
            Err(Failure::MessageTooLarge { limit, is_tenants: self.policy.tenant.is_some() })
        } else {
            Ok(Prefix { compressed, len, whole })
        }
    }

    /// Checks whether the message that begins is a chunk.
    fn find_chunk(&mut self) {
        let (Some(prefix), Some(find)) = (&mut self.prefix, self.find_chunk) else { return };
        let looked_at = PREFIX + prefix.len.min(CHUNK_HEAD);
        if self.chunk.is_some() || prefix.whole || self.buffered.len() < looked_at {
            return;
        }
        let mut buffer = [0; PREFIX + CHUNK_HEAD];
        let head = self.buffered.peek(&mut buffer[..looked_at]);
        let Some((before, crc32c)) = find(&head[PREFIX..], prefix.len) else {
            prefix.whole = true;
            return;
        };
        self.chunk = Some(Chunk { left: prefix.len - before, crc32c });
        self.buffered.skip(PREFIX + before);
    }

    /// Returns the data of the chunk that has arrived.
    fn take_data(&mut self, chunk: Chunk) -> Read {
        let data = self.buffered.split_to(chunk.left);
        let left = chunk.left - data.len();
        let last = left == 0;
        if last {
            (self.prefix, self.chunk, self.count) = (None, None, self.count + 1);
            self.clock.stop();
        } else {
            self.chunk = Some(Chunk { left, ..chunk });
        }
        Read::Chunk { crc32c: chunk.crc32c, data, last }
    }

    /// Returns the message that has arrived, decompressed, as soon as there is memory for it.
    fn poll_message(&mut self, cx: &mut Context<'_>, prefix: Prefix) -> Poll<Result<Segments, Failure>> {
        let whole = PREFIX + prefix.len;
        if !prefix.compressed {
            let message = self.buffered.split_to(whole);
            let checked = if prefix.len <= UNCHECKED { Ok(()) } else { self.policy.check(&message, None) };
            return Poll::Ready(checked.map(|()| message));
        }
        let mut packed = self.buffered.share(whole);
        packed.skip(PREFIX);
        let len = unpack::unpacked_len(&packed, self.policy.limit, self.policy.tenant.is_some())?;
        if whole + len > SMALL {
            ready!(self.memory.poll_reserve(cx, whole + len))?;
        }
        self.buffered.skip(whole);
        let packed_len = packed.len();
        let message = Segments::from(unpack::unpack(packed, len)?);
        self.policy.check(&message, Some(packed_len))?;
        Poll::Ready(Ok(message))
    }

    /// Handles the case that no more bytes have arrived.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Read, Failure>>> {
        if let Some(chunk) = self.chunk
            && self.buffered.len() > 0
        {
            return Poll::Ready(Some(Ok(self.take_data(chunk))));
        }
        let unfinished = self.prefix.is_some() || self.buffered.len() > 0;
        // A method that accepts one message is served only after the caller has closed its side.
        if !unfinished && self.count > 0 && self.policy.streaming {
            self.clock.stop();
            return Poll::Pending;
        }
        if self.clock.poll_expired(cx).is_ready() {
            return Poll::Ready(Some(Err(Failure::MessageTimeout { limit: self.policy.timeout })));
        }
        let whole = self.prefix.map(|prefix| PREFIX + prefix.len);
        self.memory.poll_claimed(cx, self.buffered.len(), whole).map(|failure| Some(Err(failure)))
    }

    fn at_end(&mut self) -> Option<Failure> {
        let cut = self.prefix.is_some() || self.buffered.len() > 0;
        cut.then(|| Failure::Malformed("the request ended before it was complete".into()))
    }
}
