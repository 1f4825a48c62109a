//! The buffered bytes of an upload that do not form a part yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Chunks smaller than this are copied into one chunk. Each chunk has an overhead, and a caller that sends single
/// bytes must not multiply the memory of a part.
const SMALL: usize = 16 * 1024;
/// Such a chunk is complete once it has this many bytes.
const TOGETHER: usize = 256 * 1024;

/// Chunks in order, split where a part ends. Large chunks are shared, and copied only by [`PartBuffer::compact`].
#[derive(Debug, Default)]
pub(in crate::store) struct PartBuffer {
    chunks: VecDeque<Bytes>,
    small: BytesMut,
    len: u64,
    /// Number of chunks at the front that have their own memory.
    owned: usize,
}

impl PartBuffer {
    /// Number of buffered bytes.
    pub(in crate::store) fn len(&self) -> u64 {
        self.len
    }

    /// Adds the next bytes.
    pub(in crate::store) fn push(&mut self, data: Bytes) {
        self.len += data.len() as u64;
        if data.len() < SMALL {
            self.small.extend_from_slice(&data);
            if self.small.len() >= TOGETHER {
                self.settle();
            }
        } else {
            self.settle();
            self.chunks.push_back(data);
        }
    }

    /// Copies all chunks into their own memory. Otherwise, the chunks of a slow caller would keep alive the larger
    /// buffers that the connection read them into. A chunk is copied only once.
    pub(in crate::store) fn compact(&mut self) {
        self.settle();
        let mut shared = self.chunks.split_off(self.owned).into_iter().peekable();
        while let Some(first) = shared.next() {
            let mut together = vec![first];
            let mut len = together[0].len();
            while let Some(chunk) = shared.next_if(|chunk| len + chunk.len() <= TOGETHER) {
                len += chunk.len();
                together.push(chunk);
            }
            self.chunks.push_back(together.concat().into());
        }
        self.owned = self.chunks.len();
    }

    /// Removes and returns the first `size` bytes, or all if there are fewer.
    pub(in crate::store) fn take(&mut self, size: u64) -> Vec<Bytes> {
        self.settle();
        let mut part = Vec::new();
        let mut wanted = size.min(self.len);
        self.len -= wanted;
        while wanted > 0 {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            self.owned = self.owned.saturating_sub(1);
            let most = usize::try_from(wanted).unwrap_or(usize::MAX);
            if chunk.len() > most {
                let rest = chunk.split_off(most);
                self.chunks.push_front(rest);
            }
            wanted -= chunk.len() as u64;
            part.push(chunk);
        }
        part
    }

    fn settle(&mut self) {
        if !self.small.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.small).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_split_where_a_part_ends_and_nothing_is_lost() {
        let mut buffer = PartBuffer::default();
        let large = Bytes::from(vec![1; SMALL]);
        buffer.push(Bytes::from_static(b"ab"));
        buffer.push(large.clone());
        buffer.push(Bytes::from_static(b"cd"));
        assert_eq!(buffer.len(), SMALL as u64 + 4);
        let part = buffer.take(SMALL as u64 + 3);
        assert_eq!(part[1].as_ptr(), large.as_ptr(), "large chunks are not copied");
        assert_eq!(part.concat().len(), SMALL + 3);
        assert_eq!(buffer.take(u64::MAX).concat(), b"d");
        assert_eq!(buffer.len(), 0);
        assert!(buffer.take(1).is_empty());
    }

    #[test]
    fn single_bytes_are_copied_into_one_chunk() {
        let mut buffer = PartBuffer::default();
        (0..TOGETHER).for_each(|_| buffer.push(Bytes::from_static(b"x")));
        assert_eq!(buffer.take(u64::MAX).len(), 1);
    }

    #[test]
    fn compacting_keeps_the_bytes_and_frees_the_buffers_they_arrived_in() {
        let mut buffer = PartBuffer::default();
        let read = Bytes::from(vec![7; 4 * TOGETHER]);
        for start in (0..20).map(|number| number * SMALL) {
            buffer.push(read.slice(start..start + SMALL));
        }
        buffer.push(Bytes::from_static(b"end"));
        buffer.compact();
        assert!(read.is_unique());
        let first = buffer.chunks[0].as_ptr();
        buffer.push(read.slice(..TOGETHER));
        buffer.compact();
        assert_eq!(buffer.chunks[0].as_ptr(), first, "a chunk is copied only once");
        let part = buffer.take(u64::MAX);
        assert_eq!(part.concat(), [vec![7; 20 * SMALL], b"end".to_vec(), vec![7; TOGETHER]].concat());
        assert!(part.iter().all(|chunk| chunk.len() <= TOGETHER));
    }
}
