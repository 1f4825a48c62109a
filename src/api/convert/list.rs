//! What a listing asks for.

use super::{Failure, unsigned};
use crate::{
    pb,
    store::{ListOptions, WalkOptions},
};

/// How much a page holds unless less is asked for, and at most: S3's own limit.
const PAGE_SIZE: u16 = 1000;

/// How much a page shall hold (AIP-158: 0 is the default, and more than there can be is as much as there can be).
pub(crate) fn page_size(asked: i32) -> Result<u16, Failure> {
    match asked {
        ..0 => Err(Failure::field("page_size", format!("{asked} is negative"))),
        0 => Ok(PAGE_SIZE),
        _ => Ok(u16::try_from(asked).unwrap_or(PAGE_SIZE).min(PAGE_SIZE)),
    }
}

/// Rejects a text that no key can hold: S3's keys have at most 1,024 bytes.
pub(crate) fn within_a_key(text: &str, field: &'static str) -> Result<(), Failure> {
    const LONGEST: usize = 1_024;
    if text.len() <= LONGEST {
        return Ok(());
    }
    Err(Failure::field(field, format!("has {} bytes, and a key has at most {LONGEST}", text.len())))
}

/// One page; where it begins is in the page token, which is read elsewhere.
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

/// Everything below a prefix.
pub(crate) fn walk_options(request: pb::WalkRequest) -> Result<WalkOptions, Failure> {
    within_a_key(&request.prefix, "prefix")?;
    within_a_key(&request.start_after, "start_after")?;
    let limit = unsigned(request.limit, "limit")?;
    Ok(WalkOptions {
        prefix: request.prefix,
        start_after: request.start_after,
        limit: (limit > 0).then_some(limit),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::field, *};

    #[test]
    fn pages_hold_up_to_a_thousand() {
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
    fn a_walk_without_a_limit_is_endless() {
        let walk = |limit| walk_options(pb::WalkRequest { limit, ..Default::default() });
        assert_eq!(walk(0).unwrap().limit, None);
        assert_eq!(walk(i64::MAX).unwrap().limit, Some(i64::MAX.unsigned_abs()));
        assert_eq!(field(walk(-1)), "limit");
    }
}
