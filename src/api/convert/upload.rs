//! Converts the parts and ranges of `UploadService`.

use std::{collections::BTreeMap, ops::Range};

use super::{Failure, read::etag, signed};
use crate::{
    pb,
    store::{PartRun, Verification},
};

/// S3's maximum number of parts (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const MAX_PARTS: usize = 10_000;

/// Converts consecutive parts of the same size.
pub(crate) fn part_run(PartRun { parts, part_size }: PartRun) -> pb::PartRun {
    // There are at most 10,000 parts.
    pb::PartRun { parts: i32::try_from(parts).unwrap_or(i32::MAX), part_size: signed(part_size) }
}

/// The ETags of parts, by part number.
pub(crate) fn part_etags(message: Vec<pb::PartEtag>) -> Result<BTreeMap<u32, String>, Failure> {
    if message.len() > MAX_PARTS {
        let message = format!("must have at most {MAX_PARTS} entries, not {}", message.len());
        return Err(Failure::field("part_etags", message));
    }
    let mut etags = BTreeMap::new();
    for (index, part) in message.into_iter().enumerate() {
        let number = u32::try_from(part.part_number).ok().filter(|number| *number > 0);
        let number = number
            .ok_or_else(|| Failure::field(format!("part_etags[{index}].part_number"), "must be 1 or more"))?;
        let field = format!("part_etags[{index}].etag");
        let value = etag(part.etag, &field)?.ok_or_else(|| Failure::field(field, "must not be empty"))?;
        if etags.insert(number, value).is_some() {
            let message = format!("repeats part {number}");
            return Err(Failure::field(format!("part_etags[{index}].part_number"), message));
        }
    }
    Ok(etags)
}

/// What is known about the bytes of an upload.
pub(crate) fn verification(verification: Verification) -> pb::UploadVerification {
    match verification {
        Verification::Size => pb::UploadVerification::Unverified,
        Verification::Parts => pb::UploadVerification::Parts,
        Verification::Object => pb::UploadVerification::Object,
    }
}

/// Converts ranges of bytes.
pub(crate) fn content_ranges(ranges: Vec<Range<u64>>) -> Vec<pb::ContentRange> {
    let range = |Range { start, end }| pb::ContentRange { start: signed(start), end: signed(end) };
    ranges.into_iter().map(range).collect()
}
