//! The sizes of the parts of a multipart upload, within S3's limits
//! (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).

use crate::store::{Error, ErrorKind, Field, TransferSettings};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// Maximum number of parts of an upload.
pub(in crate::store) const MAX_PARTS: u32 = 10_000;
/// Maximum size of a part, and of an object that one request can write or copy, in bytes.
pub(in crate::store) const MAX_PART: u64 = 5 * GIB;
const MIN_PART: u64 = 5 * MIB;
/// Number of bytes that an upload may hold in memory, whatever the store's settings. Parts of this size are enough for
/// an object of 1.2 TiB.
const MIN_IN_FLIGHT_BYTES: u64 = 128 * MIB;
/// Number of parts after which the part size doubles if the object's size is unknown.
const STEP: u32 = 2_000;

/// The sizes of an upload's parts, and the number of their bytes that may be in flight. A part stays in memory until
/// S3 has stored it, so the store's settings limit both, whatever the caller requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct PartSizes {
    base: u64,
    grows: bool,
    max_in_flight_bytes: u64,
}

impl PartSizes {
    /// Chooses the sizes. They start at `asked` bytes, or at the store's part size. If the object's `size` is known,
    /// all parts have the same size, which is raised if 10,000 parts could not hold the object. If it is unknown,
    /// the sizes double every 2,000 parts, unless the store requires equal parts.
    pub(in crate::store) fn new(
        size: Option<u64>,
        asked: Option<u64>,
        transfer: TransferSettings,
    ) -> Result<Self, Error> {
        let max_in_flight_bytes = transfer.part_size.saturating_mul(transfer.max_concurrency as u64);
        let max_in_flight_bytes = max_in_flight_bytes.clamp(MIN_IN_FLIGHT_BYTES, MAX_PART);
        let base = asked.unwrap_or(transfer.part_size);
        if !(MIN_PART..=max_in_flight_bytes).contains(&base) {
            let most = max_in_flight_bytes / MIB;
            let message = format!("is {base} bytes, but must be 5 MiB to {most} MiB in this store");
            return Err(Error::invalid_field(Field::PartSize, message));
        }
        let Some(size) = size else {
            return Ok(Self { base, grows: !transfer.equal_parts, max_in_flight_bytes });
        };
        let needed = size.div_ceil(u64::from(MAX_PARTS)).next_multiple_of(MIB);
        if needed > max_in_flight_bytes {
            let message = format!(
                "is {size} bytes, which needs parts of {} MiB, but this store allows parts of at most {} MiB: \
                 raise transfer.part_size or transfer.max_concurrency",
                needed / MIB,
                max_in_flight_bytes / MIB
            );
            return Err(Error::invalid_field(Field::Size, message));
        }
        Ok(Self { base: base.max(needed), grows: false, max_in_flight_bytes })
    }

    /// Restores sizes that [`PartSizes::new`] chose earlier.
    pub(in crate::store) fn scheduled(base: u64, grows: bool, max_in_flight_bytes: u64) -> Self {
        Self { base, grows, max_in_flight_bytes }
    }

    /// Whether later parts are larger than the first.
    pub(in crate::store) fn grows(&self) -> bool {
        self.grows
    }

    /// The size of the first part.
    pub(in crate::store) fn base(&self) -> u64 {
        self.base
    }

    /// The size of part `number`, counted from 1.
    pub(in crate::store) fn of(&self, number: u32) -> Result<u64, Error> {
        if number > MAX_PARTS {
            let message = "the object does not fit into 10,000 parts: give `size` or a larger `part_size` at the start, or raise the store's transfer.part_size";
            return Err(Error::new(ErrorKind::TooManyParts, message));
        }
        let doublings = if self.grows { number.saturating_sub(1) / STEP } else { 0 };
        Ok((self.base << doublings).min(self.max_in_flight_bytes))
    }

    /// Maximum size of a part, and of all parts in flight together, in bytes.
    pub(in crate::store) fn max_in_flight_bytes(&self) -> u64 {
        self.max_in_flight_bytes
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
    fn the_part_size_doubles_every_2000_parts_if_the_size_is_unknown() {
        let sizes = sizes(None, None).unwrap();
        let of = |number| sizes.of(number).unwrap() / MIB;
        assert_eq!([of(1), of(2_000), of(2_001), of(4_001), of(10_000)], [8, 8, 16, 32, 128]);
        assert_eq!(sizes.of(10_001).unwrap_err().kind(), ErrorKind::TooManyParts);
    }

    #[test]
    fn parts_are_equal_if_the_store_requires_it() {
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
    fn the_store_limits_the_sizes_that_a_caller_requests() {
        for part_size in [0, MIN_PART - 1, MIN_IN_FLIGHT_BYTES + 1] {
            assert_eq!(sizes(None, Some(part_size)).unwrap_err().field(), Some(Field::PartSize));
        }
        for size in [1300 * GIB, u64::MAX / 2, u64::MAX] {
            assert_eq!(sizes(Some(size), None).unwrap_err().field(), Some(Field::Size));
        }
        let roomy = TransferSettings { part_size: 512 * MIB, ..TransferSettings::default() };
        let sizes = PartSizes::new(Some(5 * 1024 * GIB), None, roomy).unwrap();
        assert_eq!(sizes.of(1).unwrap(), 525 * MIB);
        assert_eq!(sizes.max_in_flight_bytes(), MAX_PART);
    }
}
