//! Validates and converts requests for listings.

use super::{Failure, unsigned};
use crate::{
    pb,
    store::{ListOptions, WalkOptions},
};

/// The default and the maximum number of entries of a page: S3's own limit.
const PAGE_SIZE: u16 = 1000;

/// The number of entries to put on a page (AIP-158: 0 is the default, and a number above the maximum counts as the
/// maximum).
pub(crate) fn page_size(asked: i32) -> Result<u16, Failure> {
    match asked {
        ..0 => Err(Failure::field("page_size", format!("must be 0 or more, not {asked}"))),
        0 => Ok(PAGE_SIZE),
        _ => Ok(u16::try_from(asked).unwrap_or(PAGE_SIZE).min(PAGE_SIZE)),
    }
}

/// Rejects a text that is longer than any key: S3's keys have at most 1,024 bytes.
pub(crate) fn within_a_key(text: &str, field: &'static str) -> Result<(), Failure> {
    const LONGEST: usize = 1_024;
    if text.len() <= LONGEST {
        return Ok(());
    }
    let message = format!("must have at most {LONGEST} bytes, the limit for keys, not {}", text.len());
    Err(Failure::field(field, message))
}

/// Options for one page. `continuation` is where it begins, from the page token.
pub(crate) fn list_options(
    request: pb::ListRequest,
    continuation: Option<String>,
) -> Result<ListOptions, Failure> {
    for (text, field) in [
        (&request.prefix, "prefix"),
        (&request.delimiter, "delimiter"),
        (&request.start_after, "start_after"),
    ] {
        within_a_key(text, field)?;
    }
    Ok(ListOptions {
        page_size: page_size(request.page_size)?,
        prefix: request.prefix,
        delimiter: request.delimiter,
        start_after: request.start_after,
        continuation,
    })
}

/// Options for a walk of everything below a prefix.
pub(crate) fn walk_options(request: pb::WalkRequest) -> Result<WalkOptions, Failure> {
    within_a_key(&request.prefix, "prefix")?;
    within_a_key(&request.start_after, "start_after")?;
    let limit = unsigned(request.limit, "limit")?;
    let parallelism = unsigned(request.parallelism.into(), "parallelism")?;
    Ok(WalkOptions {
        prefix: request.prefix,
        start_after: request.start_after,
        limit: (limit > 0).then_some(limit),
        parallelism: usize::try_from(parallelism).ok().filter(|parallelism| *parallelism > 0),
    })
}

/// The objects below a prefix that a call works on, at most `max_keys` of them if that is not 0.
pub(crate) fn prefix_options(
    prefix: &str,
    field: &'static str,
    start_after: &str,
    max_keys: i64,
) -> Result<WalkOptions, Failure> {
    within_a_key(prefix, field)?;
    within_a_key(start_after, "start_after")?;
    let limit = unsigned(max_keys, "max_keys")?;
    Ok(WalkOptions {
        prefix: prefix.to_owned(),
        start_after: start_after.to_owned(),
        limit: (limit > 0).then_some(limit),
        parallelism: None,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    #[test]
    fn page_sizes_are_limited_to_a_thousand() {
        let cases =
            [(0, 1000), (1, 1), (999, 999), (1000, 1000), (1001, 1000), (70_000, 1000), (i32::MAX, 1000)];
        for (asked, given) in cases {
            assert_eq!(page_size(asked).unwrap(), given, "{asked}");
        }
        assert_eq!(field(page_size(-1)), "page_size");
    }

    #[test]
    fn texts_longer_than_a_key_are_rejected() {
        let (longest, long) = ("k".repeat(1_024), "k".repeat(1_025));
        let list = |request| list_options(request, None);
        assert!(list(pb::ListRequest { prefix: longest, ..Default::default() }).is_ok());
        assert_eq!(field(list(pb::ListRequest { prefix: long.clone(), ..Default::default() })), "prefix");
        assert_eq!(
            field(list(pb::ListRequest { delimiter: long.clone(), ..Default::default() })),
            "delimiter"
        );
        assert_eq!(
            field(list(pb::ListRequest { start_after: long.clone(), ..Default::default() })),
            "start_after"
        );
        assert_eq!(field(walk_options(pb::WalkRequest { prefix: long, ..Default::default() })), "prefix");
    }

    #[test]
    fn a_walk_with_limit_0_is_unlimited() {
        let walk = |limit| walk_options(pb::WalkRequest { limit, ..Default::default() });
        assert_eq!(walk(0).unwrap().limit, None);
        assert_eq!(walk(i64::MAX).unwrap().limit, Some(i64::MAX.unsigned_abs()));
        assert_eq!(field(walk(-1)), "limit");
    }

    #[test]
    fn a_walk_with_parallelism_0_has_that_of_the_store() {
        let walk = |parallelism| walk_options(pb::WalkRequest { parallelism, ..Default::default() });
        assert_eq!(walk(0).unwrap().parallelism, None);
        assert_eq!(walk(7).unwrap().parallelism, Some(7));
        assert_eq!(field(walk(-1)), "parallelism");
    }
}
