//! Validates and converts requests for reads.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prost_types::Timestamp;

use super::{Failure, header_text, non_empty, unsigned};
use crate::{
    pb::{self, byte_range::Range},
    store::{ByteRange, Conditions, Error, ErrorKind, RangesOptions, ReadOptions},
};

/// The maximum number of ranges in a call.
const MAX_RANGES: usize = 1000;

/// The default of `coalesce_bytes`: ranges with a smaller gap, in bytes, are fetched with one request.
const COALESCE_BYTES: u64 = 1024 * 1024;

/// The first and the last second of a `google.protobuf.Timestamp`: the years 1 to 9999.
const TIMESTAMP_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A key. The store checks the length, because the limit depends on the store's prefix.
pub(crate) fn key<'a>(key: &'a str, field: &str) -> Result<&'a str, Failure> {
    if key.is_empty() {
        return Err(Failure::field(field.to_owned(), "must not be empty"));
    }
    Ok(key)
}

/// A version id. It is opaque, but it becomes part of a query.
pub(crate) fn version(version: String, field: &str) -> Result<Option<String>, Failure> {
    const LONGEST: usize = 1_024;
    if version.len() > LONGEST {
        let message = format!("must have at most {LONGEST} bytes, not {}", version.len());
        return Err(Failure::field(field.to_owned(), message));
    }
    header_text(version, field).map(non_empty)
}

/// The version and the conditions of a read.
pub(crate) fn read_options(
    version_id: String,
    conditions_message: Option<pb::ReadConditions>,
) -> Result<ReadOptions, Failure> {
    Ok(ReadOptions {
        version: version(version_id, "version")?,
        conditions: conditions(conditions_message, "conditions")?,
    })
}

/// The range of a read.
pub(crate) fn range(range: pb::ByteRange, field: &str) -> Result<ByteRange, Failure> {
    let Some(range) = range.range else {
        let message = "must set one of `bounded`, `offset` and `suffix`";
        return Err(Failure::field(field.to_owned(), message));
    };
    Ok(match range {
        Range::Bounded(bounded) => {
            let start = unsigned(bounded.start, &format!("{field}.bounded.start"))?;
            let end = unsigned(bounded.end, &format!("{field}.bounded.end"))?;
            if start > end {
                let message = format!("must not be less than `start` ({end} < {start})");
                return Err(Failure::field(format!("{field}.bounded.end"), message));
            }
            ByteRange::Bounded { start, end }
        }
        Range::Offset(offset) => ByteRange::Offset(unsigned(offset, &format!("{field}.offset"))?),
        Range::Suffix(suffix) => match unsigned(suffix, &format!("{field}.suffix"))? {
            // Rejected here because servers differ: RFC 9110, section 14.1.2, calls the range unsatisfiable, but some
            // servers send the whole object.
            0 => {
                let message = format!("`{field}.suffix`: must be 1 or more");
                return Err(Error::new(ErrorKind::RangeNotSatisfiable, message).into());
            }
            suffix => ByteRange::Suffix(suffix),
        },
    })
}

/// The ranges and options of `GetRanges`.
pub(crate) fn ranges_options(request: pb::GetRangesRequest) -> Result<RangesOptions, Failure> {
    let count = request.ranges.len();
    if !(1..=MAX_RANGES).contains(&count) {
        let message = format!("must have 1 to {MAX_RANGES} entries, not {count}");
        return Err(Failure::field("ranges", message));
    }
    let ranges = request.ranges.into_iter().enumerate();
    let ranges = ranges.map(|(index, asked)| range(asked, &format!("ranges[{index}]")));
    let coalesce_bytes = match request.coalesce_bytes {
        Some(bytes) => unsigned(bytes, "coalesce_bytes")?,
        None => COALESCE_BYTES,
    };
    Ok(RangesOptions {
        ranges: ranges.collect::<Result<_, Failure>>()?,
        coalesce_bytes,
        read: read_options(request.version, request.conditions)?,
    })
}

/// The conditions of a read. Conditions that no object can satisfy are rejected, because the usual error would suggest
/// that the object caused it.
pub(crate) fn conditions(message: Option<pb::ReadConditions>, field: &str) -> Result<Conditions, Failure> {
    let Some(message) = message else { return Ok(Conditions::default()) };
    let conditions = Conditions {
        if_match: etag(message.if_match, &format!("{field}.if_match"))?,
        if_none_match: etag(message.if_none_match, &format!("{field}.if_none_match"))?,
        if_modified_since: instant(message.if_modified_since, &format!("{field}.if_modified_since"))?,
        if_unmodified_since: instant(message.if_unmodified_since, &format!("{field}.if_unmodified_since"))?,
    };
    if let (Some(wanted), Some(unwanted)) = (&conditions.if_match, &conditions.if_none_match)
        && (wanted == unwanted || unwanted == "*")
    {
        let field = format!("{field}.if_none_match");
        return Err(Failure::field(field, "contradicts `if_match`: no object can satisfy both"));
    }
    // A date is ignored if the ETag condition is set (RFC 9110, section 13.2.2).
    if let (Some(after), Some(before)) = (conditions.if_modified_since, conditions.if_unmodified_since)
        && conditions.if_match.is_none()
        && conditions.if_none_match.is_none()
        && after >= before
    {
        let field = format!("{field}.if_modified_since");
        return Err(Failure::field(field, "must be earlier than `if_unmodified_since`"));
    }
    Ok(conditions)
}

/// The fields of the conditions that are set.
pub(crate) fn condition_names(conditions: &Conditions) -> Vec<&'static str> {
    let names = [
        (conditions.if_match.is_some(), "if_match"),
        (conditions.if_none_match.is_some(), "if_none_match"),
        // RFC 9110, section 13.2.2: a date is ignored if the ETag condition is set.
        (conditions.if_modified_since.is_some() && conditions.if_none_match.is_none(), "if_modified_since"),
        (conditions.if_unmodified_since.is_some() && conditions.if_match.is_none(), "if_unmodified_since"),
    ];
    names.into_iter().filter_map(|(set, name)| set.then_some(name)).collect()
}

pub(super) fn etag(etag: String, field: &str) -> Result<Option<String>, Failure> {
    // RFC 9110, section 8.8.3: an entity tag consists of visible characters.
    if !etag.chars().all(|character| character == ' ' || character.is_ascii_graphic()) {
        return Err(Failure::field(
            field.to_owned(),
            "must contain only visible ASCII characters and spaces",
        ));
    }
    Ok(non_empty(etag))
}

fn instant(timestamp: Option<Timestamp>, field: &str) -> Result<Option<SystemTime>, Failure> {
    let Some(timestamp) = timestamp else {
        return Ok(None);
    };
    if !TIMESTAMP_SECONDS.contains(&timestamp.seconds) || !(0..1_000_000_000).contains(&timestamp.nanos) {
        return Err(Failure::field(field.to_owned(), "must be a valid timestamp of the years 1 to 9999"));
    }
    // HTTP dates have whole seconds. A date before 1970 has the same effect as 1970.
    let seconds = u64::try_from(timestamp.seconds).unwrap_or(0);
    Ok(Some(UNIX_EPOCH + Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    fn bounded(start: i64, end: i64) -> pb::ByteRange {
        pb::ByteRange { range: Some(Range::Bounded(pb::BoundedRange { start, end })) }
    }

    #[test]
    fn ranges_are_converted_or_rejected_by_field() {
        let of = |range| super::range(pb::ByteRange { range: Some(range) }, "range");
        assert_eq!(field(range(pb::ByteRange { range: None }, "range")), "range");
        assert_eq!(range(bounded(3, 3), "range").unwrap(), ByteRange::Bounded { start: 3, end: 3 });
        assert_eq!(of(Range::Offset(0)).unwrap(), ByteRange::Offset(0));
        assert_eq!(of(Range::Suffix(9)).unwrap(), ByteRange::Suffix(9));
        assert_eq!(field(range(bounded(4, 3), "range")), "range.bounded.end");
        assert_eq!(field(range(bounded(-1, 3), "range")), "range.bounded.start");
        assert_eq!(field(range(bounded(0, i64::MIN), "range")), "range.bounded.end");
        assert_eq!(field(of(Range::Offset(-1))), "range.offset");
        assert_eq!(field(of(Range::Suffix(-1))), "range.suffix");
        let Failure::Store(error, _) = of(Range::Suffix(0)).unwrap_err() else { panic!() };
        assert_eq!(error.kind(), ErrorKind::RangeNotSatisfiable);
    }

    #[test]
    fn an_invalid_range_is_named_by_its_index() {
        let request = |ranges| pb::GetRangesRequest { ranges, ..Default::default() };
        assert_eq!(
            field(ranges_options(request(vec![bounded(0, 1), bounded(2, 1)]))),
            "ranges[1].bounded.end"
        );
        assert_eq!(field(ranges_options(request(Vec::new()))), "ranges");
        assert_eq!(field(ranges_options(request(vec![bounded(0, 1); 1001]))), "ranges");
        let options = ranges_options(request(vec![bounded(0, 1); 1000])).unwrap();
        assert_eq!(
            (options.ranges.len(), options.ranges[0]),
            (1000, ByteRange::Bounded { start: 0, end: 1 })
        );
        assert_eq!(
            field(ranges_options(request(vec![bounded(0, 1), pb::ByteRange::default()]))),
            "ranges[1]"
        );
        assert_eq!(options.coalesce_bytes, 1024 * 1024);
    }

    #[test]
    fn coalesce_bytes_is_used_as_given() {
        let options = |coalesce_bytes| {
            let ranges = vec![bounded(0, 1)];
            ranges_options(pb::GetRangesRequest { ranges, coalesce_bytes, ..Default::default() })
        };
        assert_eq!(options(Some(10)).unwrap().coalesce_bytes, 10);
        assert_eq!(options(Some(0)).unwrap().coalesce_bytes, 0);
        assert_eq!(field(options(Some(-1))), "coalesce_bytes");
    }

    #[test]
    fn timestamps_become_whole_seconds_since_1970() {
        let at = |seconds, nanos| instant(Some(Timestamp { seconds, nanos }), "t");
        assert_eq!(at(5, 999_999_999).unwrap(), Some(UNIX_EPOCH + Duration::from_secs(5)));
        assert_eq!(at(-5, 0).unwrap(), Some(UNIX_EPOCH));
        assert_eq!(at(-62_135_596_800, 0).unwrap(), Some(UNIX_EPOCH));
        assert!(at(253_402_300_799, 0).is_ok());
        for (seconds, nanos) in
            [(253_402_300_800, 0), (-62_135_596_801, 0), (i64::MIN, 0), (0, -1), (0, 1_000_000_000)]
        {
            assert_eq!(field(at(seconds, nanos)), "t");
        }
    }

    #[test]
    fn conditions_that_no_object_can_satisfy_are_rejected() {
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let check = |message: pb::ReadConditions| conditions(Some(message), "conditions");
        let etags = |wanted: &str, unwanted: &str| pb::ReadConditions {
            if_match: wanted.to_owned(),
            if_none_match: unwanted.to_owned(),
            ..Default::default()
        };
        assert_eq!(field(check(etags("\"a\"", "\"a\""))), "conditions.if_none_match");
        assert_eq!(field(check(etags("\"a\"", "*"))), "conditions.if_none_match");
        assert!(check(etags("\"a\"", "\"b\"")).is_ok());
        assert!(check(etags("*", "\"b\"")).is_ok());
        assert!(check(etags("", "*")).is_ok());
        let dates = |after, before| pb::ReadConditions {
            if_modified_since: time(after),
            if_unmodified_since: time(before),
            ..Default::default()
        };
        assert_eq!(field(check(dates(10, 10))), "conditions.if_modified_since");
        assert!(check(dates(10, 11)).is_ok());
        assert!(check(pb::ReadConditions { if_match: "\"a\"".to_owned(), ..dates(10, 10) }).is_ok());
        assert_eq!(field(check(etags("\"a\"\r\nx: y", ""))), "conditions.if_match");
        assert_eq!(conditions(None, "conditions").unwrap(), Conditions::default());
    }

    #[test]
    fn a_key_is_required_and_never_changed() {
        assert_eq!(field(key("", "source.key")), "source.key");
        for odd in ["/", "..", "a//b", " ", "\u{1f600}", "\u{1}", "e\u{301}"] {
            assert_eq!(key(odd, "key").unwrap(), odd);
        }
    }
}
