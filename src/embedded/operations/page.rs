//! A page of a listing: where it begins, what it groups into common prefixes, and where the next page continues.

use redb::StorageError;
use s3s::{S3Result, s3_error};

/// The most entries in a page (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>).
const MAX: usize = 1_000;

/// What a listing requests.
pub(super) struct Query {
    pub(super) prefix: String,
    /// `None` if keys are not grouped into common prefixes.
    pub(super) delimiter: Option<String>,
    /// The key or the common prefix with which the previous page ended.
    pub(super) after: Option<String>,
    pub(super) max: usize,
}

/// A line of a listing.
pub(super) enum Line<T> {
    Entry(String, T),
    /// A common prefix, which stands for all keys that begin with it.
    Common(String),
}

impl<T> Line<T> {
    /// The name after which the next page begins.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Entry(name, _) | Self::Common(name) => name,
        }
    }
}

/// The lines of a page, and whether more lines follow.
pub(super) struct Page<T> {
    pub(super) lines: Vec<Line<T>>,
    pub(super) truncated: bool,
}

/// Entries in the order of their keys.
pub(super) type Entries<'t, T> = Box<dyn Iterator<Item = Result<(String, T), StorageError>> + 't>;

/// Collects a page of `entries`, which begin where the page begins. `from` returns the entries from a key on. It is
/// used to skip the keys of a common prefix.
pub(super) fn page<'t, T>(
    query: &Query,
    mut entries: Entries<'t, T>,
    from: impl Fn(&str) -> Result<Entries<'t, T>, StorageError>,
) -> Result<Page<T>, StorageError> {
    let mut lines = Vec::new();
    if query.max == 0 {
        return Ok(Page { lines, truncated: false });
    }
    while let Some(entry) = entries.next() {
        let (key, value) = entry?;
        if !key.starts_with(&query.prefix) {
            break;
        }
        let common = query.common(&key);
        // As in S3, a page that begins within a common prefix does not list that prefix.
        let listed_before =
            common.is_some_and(|common| query.after.as_ref().is_some_and(|after| after.starts_with(common)));
        if lines.len() == query.max && !listed_before {
            return Ok(Page { lines, truncated: true });
        }
        let Some(common) = common else {
            lines.push(Line::Entry(key, value));
            continue;
        };
        let behind = behind(common);
        if !listed_before {
            lines.push(Line::Common(common.to_owned()));
        }
        match behind {
            Some(behind) => entries = from(&behind)?,
            None => break,
        }
    }
    Ok(Page { lines, truncated: false })
}

impl Query {
    pub(super) fn new(
        prefix: Option<&String>,
        delimiter: Option<&String>,
        after: Option<String>,
        max: Option<i32>,
        name_of_max: &str,
    ) -> S3Result<Self> {
        let max = max.map_or(Ok(MAX), usize::try_from).map_err(|_| {
            s3_error!(InvalidArgument, "Argument {name_of_max} must be an integer between 0 and 2147483647")
        })?;
        Ok(Self {
            prefix: prefix.cloned().unwrap_or_default(),
            delimiter: delimiter.filter(|delimiter| !delimiter.is_empty()).cloned(),
            after: after.filter(|after| !after.is_empty()),
            max: max.min(MAX),
        })
    }

    /// The common prefix of a key: everything up to the end of the first delimiter after the query's prefix.
    fn common<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.delimiter.as_ref()?;
        let at = key[self.prefix.len()..].find(delimiter)?;
        Some(&key[..self.prefix.len() + at + delimiter.len()])
    }
}

/// The first string that sorts after all strings that begin with `prefix`, if there is one.
fn behind(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // UTF-8 bytes sort in the order of their characters. A range of `char` contains no surrogates.
        let next = (last..=char::MAX).nth(1);
        if let Some(next) = next {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_sorts_after_all_strings_with_the_prefix() {
        assert_eq!(behind("a/").as_deref(), Some("a0"));
        assert_eq!(behind("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(behind("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(behind("\u{10ffff}"), None);
    }

    fn listed(keys: &[&str], query: &Query) -> (Vec<String>, bool) {
        let entries = |at: &str, inclusive: bool| {
            let at = at.to_owned();
            let keys: Vec<_> = keys
                .iter()
                .filter(|key| if inclusive { ***key >= *at } else { ***key > *at })
                .map(|key| Ok(((*key).to_owned(), ())))
                .collect();
            Box::new(keys.into_iter()) as Entries<'static, ()>
        };
        let first = match &query.after {
            Some(after) if *after >= query.prefix => entries(after, false),
            _ => entries(&query.prefix, true),
        };
        let page = page(query, first, |at| Ok(entries(at, true))).unwrap();
        (page.lines.iter().map(|line| line.name().to_owned()).collect(), page.truncated)
    }

    #[test]
    fn a_page_that_begins_within_a_common_prefix_omits_it() {
        let query = |after: &str| Query {
            prefix: String::new(),
            delimiter: Some("/".to_owned()),
            after: Some(after.to_owned()),
            max: 9,
        };
        let keys = ["a/1", "a/2", "b/1", "c"];
        assert_eq!(listed(&keys, &query("a/1")).0, ["b/", "c"]);
        assert_eq!(listed(&keys, &query("a")).0, ["a/", "b/", "c"]);
    }

    #[test]
    fn pages_continue_where_they_ended_and_list_each_common_prefix_once() {
        let keys = ["a", "a/", "a/1", "a/2", "b", "b/1", "c"];
        for max in 1..=7 {
            for delimiter in [None, Some("/".to_owned())] {
                let (mut all, mut after) = (Vec::new(), None);
                loop {
                    let query = Query {
                        prefix: String::new(),
                        delimiter: delimiter.clone(),
                        after: after.clone(),
                        max,
                    };
                    let (lines, truncated) = listed(&keys, &query);
                    assert!(lines.len() <= max);
                    after = lines.last().cloned();
                    all.extend(lines);
                    if !truncated {
                        break;
                    }
                }
                let expected: &[&str] =
                    if delimiter.is_some() { &["a", "a/", "b", "b/", "c"] } else { &keys };
                assert_eq!(all, expected, "{max} {delimiter:?}");
            }
        }
    }
}
