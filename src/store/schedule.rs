//! Which bytes each part of a resumable upload has, and how far S3's parts go.

use super::{Error, ResumableUpload, part_size::PartSizes};
use crate::s3::Part;

/// What S3 has of an upload, as far as there is no gap.
#[derive(Debug)]
pub(super) struct Persisted {
    pub(super) parts: Vec<(Part, u64)>,
    pub(super) size: u64,
    /// Every part, those beyond a gap too.
    pub(super) listed: Vec<(Part, u64)>,
}

/// Which bytes each part of an upload has: the same whoever writes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) sizes: PartSizes,
    pub(super) size: Option<u64>,
}

impl Schedule {
    pub(super) fn of(upload: &ResumableUpload) -> Self {
        let sizes = PartSizes::scheduled(upload.part_size, upload.parts_grow, upload.most_held);
        Self { sizes, size: upload.size }
    }

    /// The size of part `number`, which begins at `start`; 0 where the object ends.
    pub(super) fn part_size(&self, number: u32, start: u64) -> Result<u64, Error> {
        let left = self.size.map_or(u64::MAX, |size| size.saturating_sub(start));
        if left == 0 { Ok(0) } else { Ok(self.sizes.of(number)?.min(left)) }
    }

    /// The number of the part that has the byte at `offset`, and where it begins; of the last one, if none has.
    pub(super) fn part_at(&self, offset: u64) -> (u32, u64) {
        let (mut number, mut start) = (1, 0);
        while let Ok(size @ 1..) = self.part_size(number, start)
            && size <= offset - start
        {
            (number, start) = (number + 1, start + size);
        }
        (number, start)
    }

    /// The parts from the first on, up to a gap, a part that is not as long as it has to be, or the last.
    pub(super) fn persisted(&self, listed: Vec<(Part, u64)>) -> Persisted {
        let (mut parts, mut persisted) = (Vec::new(), 0);
        for (number, (part, size)) in (1..).zip(&listed) {
            let Ok(full) = self.part_size(number, persisted) else { break };
            let is_last = self.size.is_none() && *size < full;
            if part.number != number || !(*size == full || is_last) {
                break;
            }
            persisted += size;
            parts.push((part.clone(), *size));
            if is_last || self.size == Some(persisted) {
                break;
            }
        }
        Persisted { parts, size: persisted, listed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn upload(size: Option<u64>) -> ResumableUpload {
        ResumableUpload {
            key: "k".to_owned(),
            s3_upload_id: "u".to_owned(),
            checksum_algorithm: None,
            size,
            parts_grow: size.is_none(),
            part_size: 5 * MIB,
            most_held: 128 * MIB,
            write_id: String::new(),
        }
    }

    fn persisted(size: Option<u64>, listed: &[(u32, u64)]) -> (u64, usize) {
        let part = |(number, size): &(u32, u64)| {
            (Part { number: *number, etag: String::new(), checksum: None }, *size)
        };
        let persisted = Schedule::of(&upload(size)).persisted(listed.iter().map(part).collect());
        (persisted.size, persisted.parts.len())
    }

    #[test]
    fn only_whole_parts_without_a_gap_count() {
        let five = 5 * MIB;
        assert_eq!(persisted(None, &[]), (0, 0));
        assert_eq!(persisted(None, &[(1, five), (2, five), (4, five)]), (2 * five, 2));
        assert_eq!(persisted(None, &[(2, five)]), (0, 0));
        assert_eq!(persisted(None, &[(1, five + 1), (2, five)]), (0, 0), "of another schedule");
        assert_eq!(persisted(None, &[(1, five), (2, 7), (3, five)]), (five + 7, 2));
    }

    #[test]
    fn an_object_of_known_size_ends_where_it_ends() {
        let (five, size) = (5 * MIB, Some(5 * MIB + 7));
        assert_eq!(persisted(size, &[(1, five), (2, 6)]), (five, 1), "not all of the last part");
        assert_eq!(persisted(size, &[(1, five), (2, 7), (3, 1)]), (five + 7, 2));
        assert_eq!(persisted(Some(0), &[(1, 0)]), (0, 1));
    }

    #[test]
    fn an_offset_is_in_one_part() {
        let five = 5 * MIB;
        let at = |size, offset| Schedule::of(&upload(size)).part_at(offset);
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
