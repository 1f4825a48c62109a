//! Bytes in the pieces in which they arrived, and the prefix of length-prefixed messages (gRPC over HTTP/2).

use std::collections::{VecDeque, vec_deque};

use bytes::{BufMut, Bytes, BytesMut};

/// The length of the prefix before each message: a flag for compression, and the message's length in four bytes.
pub(crate) const PREFIX: usize = 5;

/// Writes the prefix of an uncompressed message of `len` bytes.
pub(crate) fn put_prefix(buffer: &mut BytesMut, len: usize) {
    buffer.put_u8(0);
    // The server's messages are far smaller than 4 GiB: data is at most 1 MiB.
    buffer.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
}

/// Bytes that arrived in several pieces.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    pieces: VecDeque<Bytes>,
    len: usize,
}

impl From<Bytes> for Segments {
    fn from(piece: Bytes) -> Self {
        let mut segments = Self::default();
        segments.push(piece);
        segments
    }
}

impl Segments {
    /// The number of bytes in all pieces.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a piece at the end.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Removes and returns the first `len` bytes, or all bytes if there are fewer.
    pub(crate) fn split_to(&mut self, len: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < len
            && let Some(first) = self.pieces.front_mut()
        {
            let wanted = len - taken.len;
            let piece =
                if first.len() > wanted { Some(first.split_to(wanted)) } else { self.pieces.pop_front() };
            taken.push(piece.unwrap_or_default());
        }
        self.len -= taken.len;
        taken
    }

    /// Returns the first `len` bytes without removing them.
    pub(crate) fn share(&self, len: usize) -> Self {
        let mut shared = Self { pieces: self.pieces.clone(), len: self.len };
        shared.split_to(len)
    }

    /// Drops the first `len` bytes.
    pub(crate) fn skip(&mut self, len: usize) {
        drop(self.split_to(len));
    }

    /// Copies the first bytes into `buffer`: as many as fit, or all bytes if there are fewer.
    pub(crate) fn peek<'a>(&self, buffer: &'a mut [u8]) -> &'a [u8] {
        let mut copied = 0;
        for piece in &self.pieces {
            let count = piece.len().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&piece[..count]);
            copied += count;
        }
        &buffer[..copied]
    }

    /// Fills `buffer` with the bytes after the first `skipped` bytes, as far as there are any.
    pub(crate) fn copy_from(&self, skipped: usize, buffer: &mut [u8]) {
        let (mut skipped, mut copied) = (skipped, 0);
        for piece in &self.pieces {
            let rest = &piece[skipped.min(piece.len())..];
            skipped = skipped.saturating_sub(piece.len());
            let count = rest.len().min(buffer.len() - copied);
            buffer[copied..copied + count].copy_from_slice(&rest[..count]);
            copied += count;
        }
    }

    /// Removes and returns the first piece.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front()?;
        self.len -= piece.len();
        Some(piece)
    }

    /// The pieces in order, borrowed.
    pub(crate) fn pieces(&self) -> vec_deque::Iter<'_, Bytes> {
        self.pieces.iter()
    }

    /// The pieces in order.
    pub(crate) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        self.pieces.into_iter()
    }

    /// Joins all bytes into one piece. They are copied only if there are several pieces.
    pub(crate) fn join(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut joined = BytesMut::with_capacity(self.len);
        self.pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
        joined.freeze()
    }
}
