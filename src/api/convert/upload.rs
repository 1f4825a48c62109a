//! Converts the parts and ranges of `UploadService`.

use std::ops::Range;

use super::signed;
use crate::{pb, store::PartRun};

/// Converts consecutive parts of the same size.
pub(crate) fn part_run(PartRun { parts, part_size }: PartRun) -> pb::PartRun {
    // There are at most 10,000 parts.
    pb::PartRun { parts: i32::try_from(parts).unwrap_or(i32::MAX), part_size: signed(part_size) }
}

/// Converts ranges of bytes.
pub(crate) fn content_ranges(ranges: Vec<Range<u64>>) -> Vec<pb::ContentRange> {
    let range = |Range { start, end }| pb::ContentRange { start: signed(start), end: signed(end) };
    ranges.into_iter().map(range).collect()
}
