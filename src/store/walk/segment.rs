//! A part of the key space that is listed page by page.

use std::collections::VecDeque;

use super::pace::float;
use crate::store::{ListOptions, ListPage, WalkPage};

/// How many of the latest pages an estimate is based on.
pub(super) const SAMPLES: usize = 24;

/// The keys after one key, up to another. The pages that have been listed wait here for their turn.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u64,
    /// The request for the next page.
    next: ListOptions,
    /// The inclusive upper bound, which need not be an existing key; `None` if the segment ends with the listing.
    pub(super) end: Option<End>,
    state: State,
    pages: VecDeque<Waiting>,
    /// The last key so far, or the key after which the segment begins.
    last: String,
    /// The last keys of the latest pages.
    ends: VecDeque<String>,
    /// The number of pages so far.
    pub(super) listed: u32,
    /// Whether one of its keys has been listed.
    pub(super) has_keys: bool,
}

/// The state of a segment's next page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It can be requested.
    Listing,
    /// It has been requested.
    Requested,
    /// The request failed. It is repeated when the caller waits for the page.
    Failed,
    /// The server has no more pages.
    Exhausted,
}

/// The end of a segment.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) key: String,
    /// What fraction of the last page will probably be discarded.
    pub(super) waste: f64,
}

/// A page that waits for its turn.
#[derive(Debug)]
struct Waiting {
    page: ListPage,
    /// How many of its keys belong to the segment.
    keys: usize,
}

/// What a page turned out to be.
#[derive(Debug, PartialEq)]
pub(super) enum Added {
    /// Its keys ascend, or may come in any order. `beyond` is the fraction of them that does not belong to the segment.
    Ordered { beyond: f64 },
    /// Its keys are not in ascending order, or do not come after those of earlier pages.
    Unordered,
}

impl Segment {
    /// A segment whose first page is requested with these options.
    pub(super) fn new(id: u64, first: ListOptions, end: Option<End>) -> Self {
        Self {
            id,
            last: first.start_after.clone(),
            next: first,
            end,
            state: State::Listing,
            pages: VecDeque::new(),
            ends: VecDeque::new(),
            listed: 0,
            has_keys: false,
        }
    }

    /// Returns the request for the next page, and counts it as sent.
    pub(super) fn request(&mut self) -> ListOptions {
        self.state = State::Requested;
        self.next.clone()
    }

    /// Whether all of its pages have been listed.
    pub(super) fn is_complete(&self) -> bool {
        self.state == State::Exhausted || self.end.as_ref().is_some_and(|end| self.last > end.key)
    }

    /// Whether all of its pages have been listed and returned.
    pub(super) fn is_finished(&self) -> bool {
        self.is_complete() && self.pages.is_empty()
    }

    /// Whether the next page has been requested.
    pub(super) fn is_requested(&self) -> bool {
        self.state == State::Requested
    }

    /// Whether the next page can be requested, because the caller waits for it.
    pub(super) fn may_request(&self) -> bool {
        self.state != State::Requested && !self.is_complete()
    }

    /// Whether the next page can be requested before the caller waits for it.
    pub(super) fn may_request_ahead(&self) -> bool {
        self.state == State::Listing && !self.is_complete()
    }

    /// Records that the request failed.
    pub(super) fn fail(&mut self) {
        self.state = State::Failed;
    }

    /// The last key so far.
    pub(super) fn position(&self) -> &str {
        &self.last
    }

    /// All but the first of the latest pages, newest first, each as the key that it started after and its last key. The
    /// first page is left out because there may be a gap before it.
    pub(super) fn samples(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ends
            .iter()
            .zip(self.ends.iter().skip(1))
            .rev()
            .map(|(after, last)| (after.as_str(), last.as_str()))
    }

    /// The number of pages that wait for their turn.
    pub(super) fn waiting_pages(&self) -> usize {
        self.pages.len()
    }

    /// The number of keys that wait for their turn.
    pub(super) fn waiting_keys(&self) -> usize {
        self.pages.iter().map(|waiting| waiting.keys).sum()
    }

    /// Adds a page. Unless keys may come in any order, returns `Unordered` if they do not ascend. The page is kept in
    /// any case.
    pub(super) fn add(&mut self, page: ListPage, any_order: bool) -> Added {
        self.listed = self.listed.saturating_add(1);
        let keys = if any_order {
            page.objects.len()
        } else {
            let mut last = self.last.as_str();
            for object in &page.objects {
                // The empty string stands for no key.
                if object.key.as_str() <= last && !last.is_empty() {
                    self.accept(page, usize::MAX);
                    return Added::Unordered;
                }
                last = &object.key;
            }
            let end = self.end.as_ref().map(|end| end.key.as_str());
            end.map_or(page.objects.len(), |end| {
                page.objects.partition_point(|object| object.key.as_str() <= end)
            })
        };
        let all = page.objects.len();
        self.has_keys |= keys > 0;
        if !any_order && let Some(object) = page.objects.last() {
            self.last.clone_from(&object.key);
            self.ends.push_back(object.key.clone());
            if self.ends.len() > SAMPLES {
                self.ends.pop_front();
            }
        }
        self.accept(page, keys);
        let beyond = if all > 0 { float((all - keys) as u128) / float(all as u128) } else { 0.0 };
        Added::Ordered { beyond }
    }

    fn accept(&mut self, page: ListPage, keys: usize) {
        self.next.continuation.clone_from(&page.continuation);
        self.state = if page.continuation.is_some() { State::Listing } else { State::Exhausted };
        if !page.objects.is_empty() || page.skipped > 0 {
            self.pages.push_back(Waiting { keys: keys.min(page.objects.len()), page });
        }
    }

    /// Removes and returns the first waiting page, without the keys that do not belong to the segment.
    pub(super) fn take(&mut self) -> Option<WalkPage> {
        let Waiting { page, keys } = self.pages.pop_front()?;
        let ListPage { mut objects, mut skipped, skipped_at, memory, .. } = page;
        if keys < objects.len() {
            // Entries skipped after the first discarded key are counted in the next segment. Where one between that key
            // and the last key kept belongs cannot be known, so it may be counted twice.
            skipped = skipped_at.into_iter().filter(|at| *at <= keys).count();
            objects.truncate(keys);
        }
        Some(WalkPage { objects, skipped, memory })
    }

    /// The first key of its last waiting page that does not belong to it, but to one of the segments that follow.
    pub(super) fn first_discarded(&self) -> Option<&str> {
        let Waiting { page, keys } = self.pages.back()?;
        page.objects.get(*keys).map(|object| object.key.as_str())
    }

    /// Whether it lists `key`; `None` if it has not got there yet.
    pub(super) fn lists(&self, key: &str) -> Option<bool> {
        let has =
            |page: &ListPage| page.objects.binary_search_by(|object| object.key.as_str().cmp(key)).is_ok();
        if self.pages.iter().any(|waiting| has(&waiting.page)) {
            return Some(true);
        }
        (self.state == State::Exhausted || self.listed > 0 && self.last.as_str() >= key).then_some(false)
    }

    /// Extends the segment to the end of the listing. All keys of the pages that wait belong to it again.
    pub(super) fn extend_to_the_end(&mut self) {
        self.end = None;
        for waiting in &mut self.pages {
            waiting.keys = waiting.page.objects.len();
        }
    }
}
