//! Bytes in the pieces in which they arrived, and the prefix of length-prefixed messages (gRPC over HTTP/2).

use std::{
    collections::{VecDeque, vec_deque},
    mem,
};

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
    /// Whether the first piece is the result of [`Segments::compact`].
    is_compact: bool,
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

    /// Copies all bytes into one piece, with room for `capacity` bytes in total. A piece that arrived keeps the whole
    /// buffer alive into which the connection was read, and that buffer may be much larger. A later call copies only
    /// the bytes that have arrived since.
    pub(super) fn compact(&mut self, capacity: usize) {
        if self.pieces.len() <= usize::from(self.is_compact) {
            return;
        }
        let mut pieces = mem::take(&mut self.pieces).into_iter();
        let first = if self.is_compact { pieces.next() } else { None };
        let mut joined = first.unwrap_or_default().try_into_mut().unwrap_or_else(BytesMut::from);
        let needed = capacity.max(self.len);
        if joined.capacity() < needed {
            // `reserve` would double the capacity.
            let mut larger = BytesMut::with_capacity(needed + joined.len() / 8);
            larger.extend_from_slice(&joined);
            joined = larger;
        }
        pieces.for_each(|piece| joined.extend_from_slice(&piece));
        self.pieces.push_back(joined.freeze());
        self.is_compact = true;
    }

    /// Removes and returns the first `len` bytes, or all bytes if there are fewer.
    pub(crate) fn split_to(&mut self, len: usize) -> Self {
        let mut taken = Self::default();
        while taken.len < len
            && let Some(first) = self.pieces.front_mut()
        {
            let wanted = len - taken.len;
            let piece = if first.len() > wanted { Some(first.split_to(wanted)) } else { self.pop_front() };
            taken.push(piece.unwrap_or_default());
        }
        self.len -= taken.len;
        taken
    }

    fn pop_front(&mut self) -> Option<Bytes> {
        self.is_compact = false;
        self.pieces.pop_front()
    }

    /// Returns the first `len` bytes without removing them.
    pub(crate) fn share(&self, len: usize) -> Self {
        let mut shared = Self { pieces: self.pieces.clone(), len: self.len, is_compact: false };
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
        let piece = self.pop_front()?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compact_bytes_do_not_keep_the_buffers_alive_in_which_they_arrived() {
        let mut segments = Segments::default();
        let buffers: Vec<_> = (0..3).map(|fill| Bytes::from(vec![fill; 8192])).collect();
        for buffer in &buffers {
            segments.push(buffer.slice(..2));
            assert!(!buffer.is_unique());
            segments.compact(100);
            assert!(buffer.is_unique());
        }
        assert_eq!(segments.join(), [0, 0, 1, 1, 2, 2][..]);
    }

    proptest! {
        #[test]
        fn bytes_keep_their_order(
            steps in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), any::<bool>(), 0_usize..5), 0..20),
        ) {
            let (mut segments, mut expected) = (Segments::default(), Vec::new());
            for (piece, compact, taken) in steps {
                expected.extend_from_slice(&piece);
                segments.push(Bytes::from(piece));
                if compact {
                    segments.compact(20);
                }
                let taken: Vec<_> = expected.drain(..taken.min(expected.len())).collect();
                prop_assert_eq!(segments.split_to(taken.len()).join(), &taken[..]);
                prop_assert_eq!(segments.len(), expected.len());
            }
            prop_assert_eq!(segments.join(), expected);
        }
    }
}
