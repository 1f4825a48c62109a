//! Whether a listing that goes on from page to page comes to an end.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Error, ErrorKind};

/// How many pages in a row may bring nothing new. Empty pages are ordinary where many keys were deleted or are filtered out by the
/// delimiter.
const PAGES_IN_VAIN: u32 = 1_000;

/// The pages of a listing so far. A server that sends the same markers again, or pages with nothing new on them, would
/// be asked for ever. The order of keys proves nothing: S3 Express lists in none.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// A marker to meet again if they go round in a circle, and after how many pages it is replaced by a later one (Brent, 1980: a
    /// circle is found within three rounds, and nothing else has to be kept).
    mark: Option<u64>,
    pages: u64,
    replaced_at: u64,
    /// The first entry of the last page that had one, and how many pages since then brought nothing else.
    first: Option<u64>,
    in_vain: u32,
}

impl Progress {
    /// Where a listing goes on, and its progress until there, as one text: callers give it back with the next page.
    pub(super) fn with(&self, marker: &str) -> String {
        let Self { mark, pages, replaced_at, first, in_vain } = self;
        let hash = |hash: &Option<u64>| hash.map(|hash| format!("{hash:x}")).unwrap_or_default();
        format!("{}.{pages:x}.{replaced_at:x}.{}.{in_vain:x}:{marker}", hash(mark), hash(first))
    }

    /// What [`Progress::with`] has put together; `None` if the text is not that.
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

    /// Notes a page: where the next begins, and what is on it. Fails if the listing does not come to an end.
    pub(super) fn page<'a>(
        &mut self,
        next: Option<&str>,
        mut entries: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let Some(next) = next else { return Ok(()) };
        let marker = hash(next);
        if self.mark == Some(marker) {
            return Err(endless("it continues where it has been before"));
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
        if self.in_vain >= PAGES_IN_VAIN {
            return Err(endless("page after page brings nothing new"));
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
    Error::new(ErrorKind::BackendProtocol, format!("the server's listing does not end: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of these pages a listing is given up.
    fn given_up(pages: impl Iterator<Item = (String, String)>) -> Option<usize> {
        let mut progress = Progress::default();
        pages.take(10_000).position(|(next, entry)| {
            progress
                .page(Some(&next), Some(entry.as_str()).filter(|entry| !entry.is_empty()).into_iter())
                .is_err()
        })
    }

    #[test]
    fn markers_that_come_again_end_a_listing() {
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
    fn progress_comes_back_with_its_marker() {
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
    fn pages_without_anything_new_end_a_listing_and_no_others_do() {
        let pages = |entry: fn(u64) -> String| (0_u64..).map(move |page| (page.to_string(), entry(page)));
        assert_eq!(given_up(pages(|_| String::new())), Some(PAGES_IN_VAIN as usize - 1));
        assert_eq!(given_up(pages(|_| "same".to_owned())), Some(PAGES_IN_VAIN as usize));
        assert_eq!(given_up(pages(|page| page.to_string())), None);
        let sometimes = |page: u64| if page.is_multiple_of(900) { page.to_string() } else { String::new() };
        assert_eq!(given_up(pages(sometimes)), None);
        // In no order.
        assert_eq!(given_up(pages(|page| (page * 7_919 % 10_007).to_string())), None);
    }
}
