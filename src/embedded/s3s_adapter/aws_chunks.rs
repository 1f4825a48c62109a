//! Checks aws-chunked bodies before s3s reads them. s3s keeps each chunk in memory until it is complete, whatever its
//! size, and accepts a body that ends before its last chunk.
//!
//! A signed chunk can be verified only once it is complete, so its size is limited. Unsigned chunks are split as they
//! arrive: some of AWS's SDKs send a whole object as one chunk.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Frame, SizeHint};
use s3s::{Body, StdError, header::X_AMZ_CONTENT_SHA256};

/// The largest signed chunk. S3 documents no limit. AWS's tools sign chunks of 64 KiB to 1 MiB.
const LARGEST: u64 = 16 * 1024 * 1024;

/// The smallest size of a chunk with data, except for the last one.
const SMALLEST: u64 = 8 * 1024;

const UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// The longest head of a chunk. It consists of a size and a signature.
const LONGEST_HEAD: usize = 1024;
/// The most digits in the size of a signed chunk, as in s3s, and of an unsigned chunk, whose size fits a `u64`.
const MOST_DIGITS: usize = 8;
const MOST_DIGITS_UNSIGNED: usize = 15;

/// What is wrong with an aws-chunked body. s3s passes on only the text of this error, which `body_error` recognises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadChunks {
    #[error("aws-chunked: a chunk is too large")]
    TooLarge,
    #[error("aws-chunked: a chunk before the last is too small")]
    TooSmall,
    #[error("aws-chunked: a chunk is malformed")]
    Malformed,
    #[error("aws-chunked: the last chunk is missing")]
    Unfinished,
}

/// Whether a request declares that its body is aws-chunked.
pub(super) fn declared(headers: &HeaderMap) -> bool {
    let digest = headers.get_all(X_AMZ_CONTENT_SHA256);
    digest.iter().any(|digest| digest.as_bytes().starts_with(b"STREAMING-"))
}

/// Wraps the request's body in a check if it is aws-chunked.
pub(super) fn watch(request: Request<Body>) -> Request<Body> {
    if !declared(request.headers()) {
        return request;
    }
    let unsigned = request.headers().get(X_AMZ_CONTENT_SHA256).is_some_and(|digest| digest == UNSIGNED);
    request.map(|body| {
        let framing = Framing { unsigned, ..Framing::default() };
        Body::http_body(Chunks { body, framing, cut: VecDeque::new(), over: false })
    })
}

/// Passes a body on, either unchanged or in smaller chunks.
struct Chunks {
    body: Body,
    framing: Framing,
    /// The pieces of unsigned chunks that are still to be passed on.
    cut: VecDeque<Bytes>,
    over: bool,
}

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.cut.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
            let judged = match &frame {
                Some(Ok(frame)) => {
                    frame.data_ref().map_or(Ok(()), |data| this.framing.read(data, &mut this.cut))
                }
                Some(Err(_)) => Ok(()),
                None => this.framing.end(),
            };
            this.over = judged.is_err() || !matches!(frame, Some(Ok(_)));
            match judged {
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
                // The frame's data is in `cut` now, or the frame had only part of a head.
                Ok(()) if this.framing.unsigned && matches!(&frame, Some(Ok(frame)) if frame.is_data()) => {}
                Ok(()) => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.cut.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.framing.unsigned { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// How far a body has been read: repeated `HEX[;EXTENSION] CRLF DATA CRLF`, then a chunk of size zero and possibly
/// trailers, which s3s checks.
#[derive(Debug, Default)]
struct Framing {
    /// Whether the chunks are unsigned, so that they may be split.
    unsigned: bool,
    state: State,
    /// The size of the current chunk.
    size: u64,
    /// The size of the previous chunk.
    before: Option<u64>,
    /// The number of bytes of the head so far.
    head: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    HeadEnd,
    Data {
        left: u64,
    },
    DataEnd,
    DataEndFeed,
    Over,
}

impl Framing {
    /// Reads the next bytes of the body. The data of unsigned chunks goes to `cut`, in chunks as large as is available.
    fn read(&mut self, bytes: &Bytes, cut: &mut VecDeque<Bytes>) -> Result<(), BadChunks> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Data { left } => {
                    let there = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len() - at);
                    if self.unsigned {
                        cut.push_back(format!("{there:x}\r\n").into());
                        cut.push_back(bytes.slice(at..at + there));
                        cut.push_back(Bytes::from_static(b"\r\n"));
                    }
                    at += there;
                    self.state = match left - there as u64 {
                        0 => State::DataEnd,
                        left => State::Data { left },
                    };
                }
                State::Over => {
                    if self.unsigned {
                        cut.push_back(bytes.slice(at..));
                    }
                    return Ok(());
                }
                _ => {
                    self.step(bytes[at])?;
                    at += 1;
                    if self.unsigned && self.state == State::Over {
                        cut.push_back(Bytes::from_static(b"0\r\n"));
                    }
                }
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<(), BadChunks> {
        if self.state == State::Over { Ok(()) } else { Err(BadChunks::Unfinished) }
    }

    /// Reads one byte that is not a chunk's data.
    fn step(&mut self, byte: u8) -> Result<(), BadChunks> {
        self.head += 1;
        if self.head > LONGEST_HEAD {
            return Err(BadChunks::Malformed);
        }
        self.state = match (self.state, byte) {
            (State::Size, b';') if self.head > 1 => State::Extension,
            (State::Size, b'\r') if self.head > 1 => State::HeadEnd,
            (State::Size, digit) => return self.digit(digit),
            (State::Extension, b'\r') => State::HeadEnd,
            (State::Extension, byte) if byte != b'\n' => State::Extension,
            (State::HeadEnd, b'\n') => return self.begin(),
            (State::DataEnd, b'\r') => State::DataEndFeed,
            (State::DataEndFeed, b'\n') => {
                self.head = 0;
                State::Size
            }
            _ => return Err(BadChunks::Malformed),
        };
        Ok(())
    }

    fn digit(&mut self, digit: u8) -> Result<(), BadChunks> {
        let most = if self.unsigned { MOST_DIGITS_UNSIGNED } else { MOST_DIGITS };
        let digit = char::from(digit).to_digit(16).filter(|_| self.head <= most);
        let digit = u64::from(digit.ok_or(BadChunks::Malformed)?);
        self.size = self.size * 16 + digit;
        if self.size > LARGEST && !self.unsigned { Err(BadChunks::TooLarge) } else { Ok(()) }
    }

    /// Begins a chunk after its head has been read.
    fn begin(&mut self) -> Result<(), BadChunks> {
        let size = std::mem::take(&mut self.size);
        if size > 0 && self.before.is_some_and(|before| before < SMALLEST) {
            return Err(BadChunks::TooSmall);
        }
        self.head = 0;
        self.before = Some(size);
        self.state = if size == 0 { State::Over } else { State::Data { left: size } };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The result for a body that arrives in pieces of `piece` bytes.
    fn read(body: &[u8], piece: usize) -> Result<(), BadChunks> {
        let (mut framing, mut cut) = (Framing::default(), VecDeque::new());
        body.chunks(piece).try_for_each(|bytes| framing.read(&Bytes::copy_from_slice(bytes), &mut cut))?;
        assert!(cut.is_empty());
        framing.end()
    }

    /// The result for a body. It must be the same for pieces of any size.
    fn judge(body: &[u8]) -> Result<(), BadChunks> {
        let whole = read(body, body.len().max(1));
        for piece in [1, 2, 7, 1000] {
            assert_eq!(read(body, piece), whole);
        }
        whole
    }

    #[test]
    fn complete_bodies_are_accepted() {
        let large = [b"2000\r\n".as_slice(), &[b'\r'; 8192], b"\r\n3\r\nabc\r\n0\r\n\r\n"].concat();
        assert_eq!(judge(&large), Ok(()));
        assert_eq!(judge(b"0;chunk-signature=00\r\n\r\n"), Ok(()));
        assert_eq!(
            judge(b"00000003;chunk-signature=00\r\na\r\n\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n"),
            Ok(())
        );
    }

    #[test]
    fn a_body_without_its_last_chunk_is_unfinished() {
        for body in
            ["", "3", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "3\r\nabc\r\n0", "3\r\nabc\r\n0\r"]
        {
            assert_eq!(judge(body.as_bytes()), Err(BadChunks::Unfinished), "{body:?}");
        }
    }

    #[test]
    fn malformed_chunks_are_rejected() {
        let long = format!("3;{}\r\n", "x".repeat(1100));
        for body in [
            "x",
            "\r\n",
            ";a\r\n",
            "3\n",
            "3;a\n",
            "3\rx",
            "3\r\nabcd\r\n",
            "3\r\nabc\r0",
            "000000003\r\n",
            &long,
        ] {
            assert_eq!(judge(body.as_bytes()), Err(BadChunks::Malformed), "{body:?}");
        }
    }

    #[test]
    fn chunk_sizes_are_between_8_kib_and_16_mib() {
        assert_eq!(judge(b"1000001\r\n"), Err(BadChunks::TooLarge));
        assert_eq!(judge(b"1000000\r\n"), Err(BadChunks::Unfinished));
        assert_eq!(judge(b"ffffffff\r\n"), Err(BadChunks::TooLarge));
        assert_eq!(judge(b"3\r\nabc\r\n03\r\nabc\r\n0\r\n\r\n"), Err(BadChunks::TooSmall));
    }

    #[test]
    fn unsigned_chunks_are_split_as_they_arrive() {
        let body = [
            b"0001000005\r\n".as_slice(),
            &vec![b'a'; 0x100_0005],
            b"\r\n0\r\nx-amz-checksum-crc32:AA==\r\n\r\n",
        ];
        for piece in [1_000, 65_536, 100_000_000] {
            let (mut framing, mut cut) = (Framing { unsigned: true, ..Framing::default() }, VecDeque::new());
            for bytes in body.concat().chunks(piece) {
                framing.read(&Bytes::copy_from_slice(bytes), &mut cut).unwrap();
            }
            framing.end().unwrap();
            let cut = Vec::from(cut).concat();
            let text = String::from_utf8(cut).unwrap();
            let (chunks, trailers) = text.split_once("\r\n0\r\n").unwrap();
            assert_eq!(trailers, "x-amz-checksum-crc32:AA==\r\n\r\n");
            let lines: Vec<_> = chunks.split("\r\n").collect();
            let mut data = 0;
            for pair in lines.chunks(2) {
                assert_eq!(usize::from_str_radix(pair[0], 16), Ok(pair[1].len()));
                data += pair[1].len();
            }
            assert_eq!(data, 0x100_0005);
        }
    }
}
