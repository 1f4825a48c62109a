//! How large the parts of a multipart upload are.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

use super::{Error, ErrorKind};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The most parts that an upload can have.
pub(super) const MAX_PARTS: u32 = 10_000;
/// The largest part, and the largest object that one request can write or copy.
pub(super) const MAX_PART: u64 = 5 * GIB;
const MIN_PART: u64 = 5 * MIB;
/// A part is held in memory until S3 has it.
const MAX_CHOSEN: u64 = 512 * MIB;
/// Parts of one size before the next, where the object's size is not known.
const STEP: u32 = 2_000;

/// The sizes of an upload's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartSizes {
    base: u64,
    grows: bool,
}

impl PartSizes {
    /// Sizes for an object of `size` bytes, where that is known: all equal, large enough for 10,000 parts to hold it.
    /// Otherwise they begin with `part_size` and double every 2,000 parts.
    pub(super) fn new(size: Option<u64>, part_size: u64) -> Result<Self, Error> {
        if !(MIN_PART..=MAX_CHOSEN).contains(&part_size) {
            return Err(Error::invalid_field("spec.part_size", "spec.part_size must be 5 MiB to 512 MiB"));
        }
        let Some(size) = size else { return Ok(Self { base: part_size, grows: true }) };
        let needed = size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(MIB);
        if needed > MAX_PART {
            let message = format!("spec.size is {size} bytes, and S3 takes 10,000 parts of 5 GiB at most");
            return Err(Error::invalid_field("spec.size", message));
        }
        Ok(Self { base: part_size.max(needed), grows: false })
    }

    /// The size of part `number`, counted from 1.
    pub(super) fn of(&self, number: u32) -> Result<u64, Error> {
        if number > MAX_PARTS {
            let message = "the object has more bytes than 10,000 parts hold: give spec.size, so that parts can be larger";
            return Err(Error::new(ErrorKind::TooManyParts, message));
        }
        let doublings = if self.grows { number.saturating_sub(1) / STEP } else { 0 };
        Ok((self.base << doublings).min(MAX_PART))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_parts_hold_an_object_of_known_size() {
        for size in [0, 1, 8 * MIB, 80_000 * MIB + 1, 5 * 1024 * GIB] {
            let part = PartSizes::new(Some(size), 8 * MIB).unwrap().of(MAX_PARTS).unwrap();
            assert!(part * u64::from(MAX_PARTS) >= size);
        }
        assert_eq!(PartSizes::new(Some(GIB), 8 * MIB).unwrap().of(1).unwrap(), 8 * MIB);
        assert_eq!(PartSizes::new(Some(u64::MAX / 2), 8 * MIB).unwrap_err().field(), Some("spec.size"));
    }

    #[test]
    fn parts_of_an_unknown_size_double_every_two_thousand() {
        let sizes = PartSizes::new(None, 8 * MIB).unwrap();
        let of = |number| sizes.of(number).unwrap() / MIB;
        assert_eq!([of(1), of(2_000), of(2_001), of(4_001), of(10_000)], [8, 8, 16, 32, 128]);
        assert_eq!(sizes.of(10_001).unwrap_err().kind(), ErrorKind::TooManyParts);
    }

    #[test]
    fn a_part_size_that_s3_refuses_is_refused_by_name() {
        for part_size in [0, MIN_PART - 1, MAX_CHOSEN + 1] {
            assert_eq!(PartSizes::new(None, part_size).unwrap_err().field(), Some("spec.part_size"));
        }
    }
}
