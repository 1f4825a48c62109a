//! How large the parts of a multipart upload are.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>

use super::{Error, ErrorKind, TransferSettings};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The most parts that an upload can have.
pub(super) const MAX_PARTS: u32 = 10_000;
/// The largest part, and the largest object that one request can write or copy.
pub(super) const MAX_PART: u64 = 5 * GIB;
const MIN_PART: u64 = 5 * MIB;
/// What an upload may hold in memory whatever a store's settings: large enough for an object of 1.2 TiB.
const LEAST_HELD: u64 = 128 * MIB;
/// Parts of one size before the next, where the object's size is not known.
const STEP: u32 = 2_000;

/// The sizes of an upload's parts, and how many bytes of them may be under way. A part is held in memory until S3 has
/// it, so the store's settings bound both, and not what a caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PartSizes {
    base: u64,
    grows: bool,
    most_held: u64,
}

impl PartSizes {
    /// Sizes for an object of `size` bytes, where that is known: all equal, large enough for 10,000 parts to hold it.
    /// Otherwise they begin with `asked`, or the store's part size, and double every 2,000 parts, unless the store wants equal ones.
    pub(super) fn new(
        size: Option<u64>,
        asked: Option<u64>,
        transfer: TransferSettings,
    ) -> Result<Self, Error> {
        let most_held = transfer.part_size.saturating_mul(transfer.max_concurrency as u64);
        let most_held = most_held.clamp(LEAST_HELD, MAX_PART);
        let base = asked.unwrap_or(transfer.part_size);
        if !(MIN_PART..=most_held).contains(&base) {
            let most = most_held / MIB;
            let message = format!("is {base} bytes, and must be 5 MiB to {most} MiB in this store");
            return Err(Error::invalid_field("part_size", message));
        }
        let Some(size) = size else { return Ok(Self { base, grows: !transfer.equal_parts, most_held }) };
        let needed = size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(MIB);
        if needed > most_held {
            let message = format!(
                "is {size} bytes, which needs parts of {} MiB, and the store's transfer.part_size allows {} MiB",
                needed / MIB,
                most_held / MIB
            );
            return Err(Error::invalid_field("size", message));
        }
        Ok(Self { base: base.max(needed), grows: false, most_held })
    }

    /// Sizes as [`PartSizes::new`] gave them once.
    pub(super) fn scheduled(base: u64, grows: bool, most_held: u64) -> Self {
        Self { base, grows, most_held }
    }

    /// Whether later parts are larger than the first.
    pub(super) fn grows(&self) -> bool {
        self.grows
    }

    /// The size of the first part.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The size of part `number`, counted from 1.
    pub(super) fn of(&self, number: u32) -> Result<u64, Error> {
        if number > MAX_PARTS {
            let message = "the object has more bytes than 10,000 parts hold: give `size` or a larger `part_size` at the start, or raise the store's transfer.part_size";
            return Err(Error::new(ErrorKind::TooManyParts, message));
        }
        let doublings = if self.grows { number.saturating_sub(1) / STEP } else { 0 };
        Ok((self.base << doublings).min(self.most_held))
    }

    /// How many bytes of parts may be under way at once.
    pub(super) fn most_held(&self) -> u64 {
        self.most_held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(size: Option<u64>, asked: Option<u64>) -> Result<PartSizes, Error> {
        PartSizes::new(size, asked, TransferSettings::default())
    }

    #[test]
    fn ten_thousand_parts_hold_an_object_of_known_size() {
        for size in [0, 1, 8 * MIB, 80_000 * MIB + 1, 1200 * GIB] {
            let part = sizes(Some(size), None).unwrap().of(MAX_PARTS).unwrap();
            assert!(part * u64::from(MAX_PARTS) >= size);
        }
        assert_eq!(sizes(Some(GIB), None).unwrap().of(1).unwrap(), 8 * MIB);
    }

    #[test]
    fn parts_of_an_unknown_size_double_every_two_thousand() {
        let sizes = sizes(None, None).unwrap();
        let of = |number| sizes.of(number).unwrap() / MIB;
        assert_eq!([of(1), of(2_000), of(2_001), of(4_001), of(10_000)], [8, 8, 16, 32, 128]);
        assert_eq!(sizes.of(10_001).unwrap_err().kind(), ErrorKind::TooManyParts);
    }

    #[test]
    fn parts_are_equal_where_the_store_wants_that() {
        let equal = TransferSettings { equal_parts: true, ..TransferSettings::default() };
        let sizes = PartSizes::new(None, None, equal).unwrap();
        assert_eq!((sizes.of(1).unwrap(), sizes.of(10_000).unwrap()), (8 * MIB, 8 * MIB));
        let message = sizes.of(10_001).unwrap_err().message().to_owned();
        assert!(
            ["`size`", "`part_size`", "transfer.part_size"].iter().all(|name| message.contains(name)),
            "{message}"
        );
    }

    #[test]
    fn what_a_caller_asks_for_is_bounded_by_the_store() {
        for part_size in [0, MIN_PART - 1, LEAST_HELD + 1] {
            assert_eq!(sizes(None, Some(part_size)).unwrap_err().field(), Some("part_size"));
        }
        for size in [1300 * GIB, u64::MAX / 2, u64::MAX] {
            assert_eq!(sizes(Some(size), None).unwrap_err().field(), Some("size"));
        }
        let roomy = TransferSettings { part_size: 512 * MIB, ..TransferSettings::default() };
        let sizes = PartSizes::new(Some(5 * 1024 * GIB), None, roomy).unwrap();
        assert_eq!(sizes.of(1).unwrap(), 525 * MIB);
        assert_eq!(sizes.most_held(), MAX_PART);
    }
}
