//! Which bytes each part of a resumable upload contains, and which parts S3 has stored.

use std::ops::Range;

use super::part_size::{MAX_PARTS, PartSizes};
use crate::s3::Part;
use crate::store::{Error, PersistedBytes, ResumableUpload};

/// Consecutive parts of the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRun {
    /// The number of parts.
    pub parts: u32,
    /// The size of each part in bytes.
    pub part_size: u64,
}

/// The parts of an upload that S3 lists.
#[derive(Debug)]
pub(in crate::store) struct Persisted {
    /// The parts from the first one up to the first gap, each with its size in bytes.
    pub(in crate::store) parts: Vec<(Part, u64)>,
    pub(in crate::store) bytes: PersistedBytes,
    /// Number of parts that S3 lists in total, including those beyond a gap and those whose size differs from the
    /// schedule.
    pub(in crate::store) listed: usize,
}

/// Which bytes each part of an upload contains. It is the same for all writers.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Schedule {
    pub(in crate::store) sizes: PartSizes,
    pub(in crate::store) size: Option<u64>,
}

impl Schedule {
    pub(in crate::store) fn of(upload: &ResumableUpload) -> Self {
        let sizes = PartSizes::scheduled(upload.part_size, upload.parts_grow, upload.max_in_flight_bytes);
        Self { sizes, size: upload.size }
    }

    /// The size of part `number`, which begins at `start`; 0 if the object ends there.
    pub(in crate::store) fn part_size(&self, number: u32, start: u64) -> Result<u64, Error> {
        let left = self.size.map_or(u64::MAX, |size| size.saturating_sub(start));
        if left == 0 { Ok(0) } else { Ok(self.sizes.of(number)?.min(left)) }
    }

    /// Returns the number of the part that contains the byte at `offset`, and where that part begins. If no part
    /// contains it, returns the number after the last part, and where the last part ends.
    pub(in crate::store) fn part_at(&self, offset: u64) -> (u32, u64) {
        let (mut number, mut start) = (1, 0);
        while let Ok(size @ 1..) = self.part_size(number, start)
            && size <= offset - start
        {
            (number, start) = (number + 1, start + size);
        }
        (number, start)
    }

    /// All parts, in runs of one size. If the object's size is known, the last part may be shorter.
    pub(in crate::store) fn runs(&self) -> Vec<PartRun> {
        let (mut runs, mut start) = (Vec::<PartRun>::new(), 0);
        for number in 1..=MAX_PARTS {
            let (Ok(1..), Ok(part_size)) = (self.part_size(number, start), self.sizes.of(number)) else {
                break;
            };
            match runs.last_mut() {
                Some(run) if run.part_size == part_size => run.parts += 1,
                _ => runs.push(PartRun { parts: 1, part_size }),
            }
            start += part_size;
        }
        runs
    }

    /// Returns the bytes in the parts that S3 lists. `listed` is in the order of part numbers. A part counts only if
    /// it has its scheduled size. If the object's size is unknown, the last part listed may be shorter.
    pub(in crate::store) fn persisted(&self, listed: Vec<(Part, u64)>) -> Persisted {
        let (mut number, mut start) = (1, 0);
        let mut persisted =
            Persisted { parts: Vec::new(), bytes: PersistedBytes::default(), listed: listed.len() };
        let last = listed.last().map_or(0, |(part, _)| part.number);
        for (part, size) in listed {
            while number < part.number
                && let Ok(before @ 1..) = self.part_size(number, start)
            {
                (number, start) = (number + 1, start + before);
            }
            let Ok(full) = self.part_size(number, start) else { break };
            let beyond_the_end = full == 0 && number > 1;
            let is_short_last = self.size.is_none() && part.number == last && size < full;
            if part.number != number || beyond_the_end || !(size == full || is_short_last) {
                continue;
            }
            let bytes = start..start + size;
            if start == persisted.bytes.size && persisted.parts.len() + 1 == number as usize {
                persisted.bytes.size = bytes.end;
                persisted.parts.push((part, size));
            } else if !bytes.is_empty() {
                add(&mut persisted.bytes.ranges, bytes);
            }
        }
        persisted
    }
}

/// Adds a range that begins at the end of the last one, or after it.
fn add(ranges: &mut Vec<Range<u64>>, more: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if last.end == more.start => last.end = more.end,
        _ => ranges.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn listed(size: Option<u64>, parts: &[(u32, u64)]) -> Persisted {
        let part = |(number, size): &(u32, u64)| {
            (Part { number: *number, etag: String::new(), checksum: None }, *size)
        };
        Schedule::of(&ResumableUpload::of_size(size)).persisted(parts.iter().map(part).collect())
    }

    fn persisted(size: Option<u64>, parts: &[(u32, u64)]) -> (u64, usize) {
        let persisted = listed(size, parts);
        (persisted.bytes.size, persisted.parts.len())
    }

    #[test]
    fn only_whole_parts_up_to_the_first_gap_count() {
        let five = 5 * MIB;
        assert_eq!(persisted(None, &[]), (0, 0));
        assert_eq!(persisted(None, &[(1, five), (2, five), (4, five)]), (2 * five, 2));
        assert_eq!(persisted(None, &[(2, five)]), (0, 0));
        assert_eq!(persisted(None, &[(1, five + 1), (2, five)]), (0, 0), "of another schedule");
        assert_eq!(persisted(None, &[(1, five), (2, 7)]), (five + 7, 2), "the last part may be short");
        assert_eq!(persisted(None, &[(1, five), (2, 7), (3, five)]), (five, 1), "part 2 is not the last");
    }

    #[test]
    fn ranges_are_the_whole_parts_beyond_a_gap() {
        let five = 5 * MIB;
        let ranges = |size, parts: &[(u32, u64)]| {
            let ranges = listed(size, parts).bytes.ranges;
            ranges.into_iter().map(|range| (range.start, range.end)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(None, &[(1, five), (2, five)]), []);
        assert_eq!(
            ranges(None, &[(1, five), (3, five), (4, five), (6, 7)]),
            [(2 * five, 4 * five), (5 * five, 5 * five + 7)]
        );
        assert_eq!(
            ranges(None, &[(2, 7), (3, five), (5, 7), (6, five)]),
            [(2 * five, 3 * five), (5 * five, 6 * five)]
        );
        assert_eq!(ranges(None, &[(2_001, 2 * five)]), [(2_000 * five, 2_002 * five)], "parts have doubled");
        let size = Some(2 * five + 7);
        assert_eq!(
            ranges(size, &[(2, five), (3, 7), (4, 0), (5, five), (10_001, 1)]),
            [(five, 2 * five + 7)]
        );
        assert_eq!(ranges(size, &[(3, 6)]), [], "not all of the last part");
    }

    #[test]
    fn the_runs_of_a_schedule_hold_all_its_parts() {
        let runs = |size| Schedule::of(&ResumableUpload::of_size(size)).runs();
        let run = |parts, mib| PartRun { parts, part_size: mib * MIB };
        assert_eq!(runs(Some(0)), []);
        assert_eq!(runs(Some(10 * MIB)), [run(2, 5)]);
        assert_eq!(runs(Some(10 * MIB + 1)), [run(3, 5)]);
        assert_eq!(runs(None), [5, 10, 20, 40, 80].map(|mib| run(2_000, mib)));
        let equal = ResumableUpload { parts_grow: false, ..ResumableUpload::of_size(None) };
        assert_eq!(Schedule::of(&equal).runs(), [run(10_000, 5)]);
    }

    #[test]
    fn the_last_part_of_an_object_of_known_size_must_be_whole() {
        let (five, size) = (5 * MIB, Some(5 * MIB + 7));
        assert_eq!(persisted(size, &[(1, five), (2, 6)]), (five, 1), "not all of the last part");
        assert_eq!(persisted(size, &[(1, five), (2, 7), (3, 1)]), (five + 7, 2));
        assert_eq!(persisted(Some(0), &[(1, 0)]), (0, 1));
    }

    #[test]
    fn an_offset_belongs_to_one_part() {
        let five = 5 * MIB;
        let at = |size, offset| Schedule::of(&ResumableUpload::of_size(size)).part_at(offset);
        assert_eq!([at(None, 0), at(None, five - 1), at(None, five)], [(1, 0), (1, 0), (2, five)]);
        assert_eq!(at(None, 2_000 * five + 2 * five), (2_002, 2_002 * five), "parts have doubled");
        assert_eq!(at(None, u64::MAX).0, 10_001);
        let size = Some(five + 7);
        assert_eq!(
            [at(size, five + 6), at(size, five + 7), at(size, five + 8)],
            [(2, five), (3, five + 7), (3, five + 7)]
        );
        assert_eq!(at(Some(0), 0), (1, 0));
    }
}
