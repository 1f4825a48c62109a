//! A watch on aws-chunked bodies, since s3s keeps each chunk in memory until it is whole, whatever its size, and
//! takes a body that ends before its last chunk for a whole one.
//!
//! A chunk that is signed can be judged only whole, so it may not be large. Others are cut as they come: some of
//! AWS's SDKs send a whole object as one.
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

/// S3 does not say how large a chunk may be. What AWS's tools sign is between 64 KiB and 1 MiB.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Every chunk with data but the last has at least so many bytes.
const SMALLEST: u64 = 8 * 1024;

const UNSIGNED: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A chunk's head is its size and a signature.
const LONGEST_HEAD: usize = 1024;
/// No more digits than s3s reads of a signed chunk's size, or than a size can have.
const MOST_DIGITS: usize = 8;
const MOST_DIGITS_UNSIGNED: usize = 15;

/// What is wrong with an aws-chunked body. s3s hands it on as text only, by which it is known again.
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

/// Whether a request says that its body is aws-chunked.
pub(super) fn declared(headers: &HeaderMap) -> bool {
    let digest = headers.get_all(X_AMZ_CONTENT_SHA256);
    digest.iter().any(|digest| digest.as_bytes().starts_with(b"STREAMING-"))
}

/// The request, its body with a watch on it if it is aws-chunked.
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

/// Passes a body on as it comes, or in smaller chunks.
struct Chunks {
    body: Body,
    framing: Framing,
    /// What is still to be passed on of unsigned chunks.
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
                // What was in it is in `cut` now, or was no more than a head.
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

/// How far a body has been read: `HEX[;EXTENSION] CRLF DATA CRLF` repeatedly, then a chunk of size zero and
/// perhaps trailers, which s3s judges.
#[derive(Debug, Default)]
struct Framing {
    /// Chunks have no signatures, so their frames may be others.
    unsigned: bool,
    state: State,
    /// The size of the chunk that is being read.
    size: u64,
    /// The size of the chunk before it.
    before: Option<u64>,
    /// Bytes of the head so far.
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
    /// Reads on; of unsigned chunks, what they hold goes to `cut` in chunks of what is there.
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

    /// One byte that is no data.
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

    /// The head has been read.
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

    /// What is said of a body that comes in pieces of so many bytes.
    fn read(body: &[u8], piece: usize) -> Result<(), BadChunks> {
        let (mut framing, mut cut) = (Framing::default(), VecDeque::new());
        body.chunks(piece).try_for_each(|bytes| framing.read(&Bytes::copy_from_slice(bytes), &mut cut))?;
        assert!(cut.is_empty());
        framing.end()
    }

    /// The same in pieces of any size.
    fn judge(body: &[u8]) -> Result<(), BadChunks> {
        let whole = read(body, body.len().max(1));
        for piece in [1, 2, 7, 1000] {
            assert_eq!(read(body, piece), whole);
        }
        whole
    }

    #[test]
    fn whole_bodies_are_good() {
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
    fn what_is_no_chunk_is_malformed() {
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
    fn chunks_have_at_most_16_mib_and_at_least_8_kib() {
        assert_eq!(judge(b"1000001\r\n"), Err(BadChunks::TooLarge));
        assert_eq!(judge(b"1000000\r\n"), Err(BadChunks::Unfinished));
        assert_eq!(judge(b"ffffffff\r\n"), Err(BadChunks::TooLarge));
        assert_eq!(judge(b"3\r\nabc\r\n03\r\nabc\r\n0\r\n\r\n"), Err(BadChunks::TooSmall));
    }

    #[test]
    fn unsigned_chunks_are_cut_as_they_come() {
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
