//! Computes the checksums of an upload's parts while their bytes arrive. The bytes are still in the processor's
//! caches then; a full part would have to be fetched from memory again.

use std::collections::VecDeque;

use crate::s3::{Checksum, ChecksumHasher};
use crate::store::ChecksumAlgorithm;

/// Checksums of the buffered bytes, split where parts end.
#[derive(Debug)]
pub(in crate::store) struct PartSums {
    algorithm: ChecksumAlgorithm,
    /// The checksums of whole parts, with their lengths in bytes.
    whole: VecDeque<(Checksum, u64)>,
    /// The checksum of the part being filled.
    filling: ChecksumHasher,
    /// Number of bytes of that part.
    filled: u64,
}

impl PartSums {
    pub(in crate::store) fn new(algorithm: ChecksumAlgorithm) -> Self {
        Self { algorithm, whole: VecDeque::new(), filling: ChecksumHasher::new(algorithm), filled: 0 }
    }

    /// Adds the next bytes, of parts that are `part` bytes long.
    pub(in crate::store) fn update(&mut self, mut data: &[u8], part: u64) {
        // It is 0 if no more bytes are expected.
        let part = part.max(1);
        while !data.is_empty() {
            let room = usize::try_from(part.saturating_sub(self.filled)).unwrap_or(usize::MAX);
            let (now, later) = data.split_at(room.min(data.len()));
            self.filling.update(now);
            self.filled += now.len() as u64;
            if self.filled >= part {
                let sum = self.of_filling();
                self.whole.push_back(sum);
            }
            data = later;
        }
    }

    /// Removes and returns the checksum of the first part, if it is whole and has `size` bytes.
    pub(in crate::store) fn take_part(&mut self, size: u64) -> Option<Checksum> {
        let whole = self.whole.front().is_some_and(|(_, len)| *len == size);
        if whole { self.whole.pop_front().map(|(sum, _)| sum) } else { None }
    }

    /// Removes all checksums and returns that of all buffered bytes; `None` if the algorithm cannot combine them.
    pub(in crate::store) fn take_all(&mut self) -> Option<Checksum> {
        let mut all = std::mem::take(&mut self.whole);
        if self.filled > 0 || all.is_empty() {
            all.push_back(self.of_filling());
        }
        match all.len() {
            1 => all.pop_front().map(|(sum, _)| sum),
            _ => ChecksumHasher::combine(all.iter().map(|(sum, len)| (Some(sum), *len))),
        }
    }

    fn of_filling(&mut self) -> (Checksum, u64) {
        let filled = std::mem::replace(&mut self.filling, ChecksumHasher::new(self.algorithm));
        (filled.finish(), std::mem::take(&mut self.filled))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::s3::ChecksumType;

    fn sum(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Checksum {
        let mut hasher = ChecksumHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    proptest! {
        /// This holds for bytes in pieces of any size, whether they are taken all at once or part by part.
        #[test]
        fn checksums_are_those_of_each_part_hashed_alone(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            chunk in 1_usize..90,
            part in 1_usize..60,
            parts_taken in 0_usize..9,
        ) {
            for algorithm in ChecksumAlgorithm::ALL {
                let mut sums = PartSums::new(algorithm);
                for chunk in bytes.chunks(chunk) {
                    sums.update(chunk, part as u64);
                }
                let mut rest = &bytes[..];
                for _ in 0..parts_taken.min(bytes.len() / part) {
                    let (taken, left) = rest.split_at(part);
                    prop_assert_eq!(sums.take_part(part as u64), Some(sum(algorithm, taken)));
                    rest = left;
                }
                prop_assert_eq!(sums.take_part(part as u64 + 1), None);
                let several = rest.len() > part;
                match sums.take_all() {
                    None => prop_assert!(several && algorithm.multipart_type() == ChecksumType::Composite),
                    all => prop_assert_eq!(all, Some(sum(algorithm, rest))),
                }
                prop_assert_eq!(sums.take_all(), Some(sum(algorithm, b"")), "nothing is left");
            }
        }
    }
}
