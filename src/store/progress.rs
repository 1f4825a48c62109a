//! Detects listings that would never end.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Error, ErrorKind};

/// Number of pages in a row without anything new after which a listing fails. Empty pages are normal if many keys were
/// deleted or are filtered out by the delimiter.
const MAX_PAGES_WITHOUT_PROGRESS: u32 = 1_000;

/// The state of a listing after its pages so far. A listing would never end if the server repeated its markers, or
/// sent pages without anything new. The order of keys proves nothing: S3 Express lists keys in no order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// The hash of an earlier marker, which appears again if the markers form a cycle (Brent, 1980: the cycle is
    /// found within three rounds, and nothing else has to be kept).
    mark: Option<u64>,
    /// Number of pages so far.
    pages: u64,
    /// Number of pages after which a later marker replaces `mark`.
    replaced_at: u64,
    /// The hash of the first entry of the last page that had one.
    first: Option<u64>,
    /// Number of pages in a row that had no other first entry.
    in_vain: u32,
}

impl Progress {
    /// Encodes the marker of the next page together with the progress so far. Callers send the text back to get the
    /// next page.
    pub(super) fn with(&self, marker: &str) -> String {
        let Self { mark, pages, replaced_at, first, in_vain } = self;
        let hash = |hash: &Option<u64>| hash.map(|hash| format!("{hash:x}")).unwrap_or_default();
        format!("{}.{pages:x}.{replaced_at:x}.{}.{in_vain:x}:{marker}", hash(mark), hash(first))
    }

    /// Decodes the text that [`Progress::with`] returned; `None` if the text is invalid.
    pub(super) fn parse(text: &str) -> Option<(Self, &str)> {
        let (numbers, marker) = text.split_once(':')?;
        let mut numbers = numbers.split('.').map(|number| match number {
            "" => Some(None),
            number => u64::from_str_radix(number, 16).ok().map(Some),
        });
        let mut next = || numbers.next()?;
        let progress = Self {
            mark: next()?,
            pages: next()??,
            replaced_at: next()??,
            first: next()?,
            in_vain: u32::try_from(next()??).ok()?,
        };
        Some((progress, marker))
    }

    /// Records a page: the marker of the next one, and its entries. Fails if the listing would never end.
    pub(super) fn page<'a>(
        &mut self,
        next: Option<&str>,
        mut entries: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let Some(next) = next else { return Ok(()) };
        let marker = hash(next);
        if self.mark == Some(marker) {
            return Err(endless("it repeats an earlier page"));
        }
        self.pages = self.pages.saturating_add(1);
        if self.pages >= self.replaced_at {
            (self.mark, self.replaced_at) = (Some(marker), self.pages.saturating_mul(2));
        }
        let first = entries.next().map(hash);
        if first.is_none() || first == self.first {
            self.in_vain = self.in_vain.saturating_add(1);
        } else {
            (self.first, self.in_vain) = (first, 0);
        }
        if self.in_vain >= MAX_PAGES_WITHOUT_PROGRESS {
            return Err(endless("its pages contain nothing new"));
        }
        Ok(())
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn endless(how: &str) -> Error {
    Error::new(ErrorKind::BackendProtocol, format!("the S3 server's listing does not end: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the page on which a listing of these pages fails.
    fn given_up(pages: impl Iterator<Item = (String, String)>) -> Option<usize> {
        let mut progress = Progress::default();
        pages.take(10_000).position(|(next, entry)| {
            progress
                .page(Some(&next), Some(entry.as_str()).filter(|entry| !entry.is_empty()).into_iter())
                .is_err()
        })
    }

    #[test]
    fn a_listing_with_repeated_markers_fails() {
        for circle in [1_u64, 2, 3, 7, 100] {
            for tail in [0, 1, 5, 40] {
                let pages = (0_u64..).map(|page| {
                    let marker = if page < tail { page } else { 1_000 + (page - tail) % circle };
                    (marker.to_string(), page.to_string())
                });
                let found = given_up(pages).unwrap() as u64;
                assert!(found <= 3 * (circle + tail) + 2, "{circle} {tail}: {found}");
            }
        }
    }

    #[test]
    fn progress_and_marker_can_be_decoded() {
        let mut progress = Progress::default();
        for (next, entry) in [("a", Some("1")), ("b:.", Some("1")), ("", None)] {
            progress.page(Some(next), entry.into_iter()).unwrap();
            assert_eq!(Progress::parse(&progress.with(next)), Some((progress.clone(), next)));
        }
        for text in ["", "1", "1.2:x", "x.1.1.1.1:m", "....:m", "1.1.1.1.1ffffffff:m"] {
            assert_eq!(Progress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_listing_fails_only_after_many_pages_without_anything_new() {
        let pages = |entry: fn(u64) -> String| (0_u64..).map(move |page| (page.to_string(), entry(page)));
        assert_eq!(given_up(pages(|_| String::new())), Some(MAX_PAGES_WITHOUT_PROGRESS as usize - 1));
        assert_eq!(given_up(pages(|_| "same".to_owned())), Some(MAX_PAGES_WITHOUT_PROGRESS as usize));
        assert_eq!(given_up(pages(|page| page.to_string())), None);
        let sometimes = |page: u64| if page.is_multiple_of(900) { page.to_string() } else { String::new() };
        assert_eq!(given_up(pages(sometimes)), None);
        // Entries in no order.
        assert_eq!(given_up(pages(|page| (page * 7_919 % 10_007).to_string())), None);
    }
}
