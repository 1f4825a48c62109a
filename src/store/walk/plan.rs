//! Which pages of a walk are requested next, and which page comes next in its order. Does no I/O.

use std::collections::VecDeque;

use super::{
    numbers::Numbers,
    pace::{Pace, Scale, float},
    segment::{Added, End, SAMPLES, Segment},
    siblings::{self, Siblings},
    waste::Waste,
};
use crate::store::{Error, ErrorKind, ListOptions, ListPage, WalkPage};

/// How many pages must have been listed before a walk is split. A shorter walk costs no extra requests.
const FIRST_SPLIT: u32 = 4;
/// How many pages ahead a segment is usually split, at least and at most. The more the ends of segments waste, the
/// nearer the maximum.
const PAGES: (f64, f64) = (10.0, 16.0);
/// The largest share of a segment's pages that its end should waste.
const END_SHARE: f64 = 1.0 / 40.0;
/// A segment is not split into pieces shorter than this many pages.
const SHORTEST: f64 = 3.0;
/// How many pages may wait for their turn, as a multiple of the parallelism.
const WAITING_PAGES: usize = 16;

/// A request for a page.
#[derive(Debug)]
pub(super) struct Request {
    /// Identifies what the page is for.
    pub(super) id: u64,
    pub(super) options: ListOptions,
}

/// The result of [`Plan::check_boundary`], the check at the end of the first segment.
enum BoundaryCheck {
    /// A later segment lists the first key that the first segment discarded, or there is nothing to check now.
    Listed,
    /// No later segment lists that key.
    Missing,
    /// The segment with this index has not been listed that far.
    NotListedYet(usize),
}

/// How to split a segment.
enum Split {
    /// The index of the segment, and its new end.
    Boundary(usize, End),
    /// The same, where the end is an entry of [`Siblings`].
    Sibling(usize, End),
    /// Boundaries may be among the directories that this request lists.
    AskForSiblings(ListOptions),
}

/// Measures pages before `from`, the latest first, by the numbers in their keys.
fn pace_of_numbers(samples: &[(&str, &str)], from: &str) -> Option<Pace<Numbers>> {
    let keys = samples.iter().rev().flat_map(|(after, last)| [*after, *last]).chain([from]);
    Pace::measure(Numbers::of(&keys.collect::<Vec<_>>())?, samples)
}

/// A string a little less than `key`. Without this, a segment would often end exactly at an existing key. If that key
/// were also the last one of a page, nothing would show that the next segment continues where this one ends.
fn just_before(mut key: String) -> String {
    match key.pop() {
        Some(last @ '"'..='~') => {
            key.extend(char::from_u32(u32::from(last) - 1));
            key.push('~');
        }
        last => key.extend(last),
    }
    key
}

/// The segments of a walk.
#[derive(Debug)]
pub(super) struct Plan {
    /// In key order, without gaps. The first one is being returned.
    segments: VecDeque<Segment>,
    prefix: String,
    page_size: u16,
    /// How many objects may still be returned.
    limit: Option<u64>,
    parallelism: usize,
    /// Whether the keys of some page were not in ascending order. From then on, the walk requests one page at a time.
    is_unordered: bool,
    /// Whether the last page of a segment, cut off at the segment's end, has been returned.
    is_past_boundary: bool,
    waste: Waste,
    /// The directories beside the current one, once they have been listed.
    siblings: Option<Siblings>,
    /// The id of the request for siblings that is in flight, and the key after which it lists.
    asked: Option<(u64, String)>,
    /// Siblings are requested once this many pages have been useful.
    ask_at: f64,
    next_id: u64,
}

impl Plan {
    pub(super) fn new(first: ListOptions, limit: Option<u64>, parallelism: usize) -> Self {
        Self {
            prefix: first.prefix.clone(),
            page_size: first.page_size,
            segments: VecDeque::from([Segment::new(0, first, None)]),
            limit,
            parallelism,
            is_unordered: false,
            is_past_boundary: false,
            waste: Waste::default(),
            siblings: None,
            asked: None,
            ask_at: 0.0,
            next_id: 1,
        }
    }

    /// How many requests may be in flight.
    pub(super) fn parallelism(&self) -> usize {
        if self.is_unordered { 1 } else { self.parallelism }
    }

    /// Whether the keys of some page were not in ascending order.
    pub(super) fn is_unordered(&self) -> bool {
        self.is_unordered
    }

    /// Whether every page has been returned.
    pub(super) fn is_done(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether the response to the request with this id is still needed.
    pub(super) fn needs(&self, id: u64) -> bool {
        self.segments.iter().any(|segment| segment.id == id)
            || self.asked.as_ref().is_some_and(|(asked, _)| *asked == id)
    }

    /// The request for the page that the caller is waiting for, unless it has been sent.
    pub(super) fn request_next(&mut self) -> Option<Request> {
        let awaited = self.awaited_segment();
        let segment = self.segments.get_mut(awaited).filter(|segment| segment.may_request())?;
        Some(Request { id: segment.id, options: segment.request() })
    }

    /// The most useful request that the caller is not waiting for yet: for the next page or, if `far`, for one further
    /// ahead.
    pub(super) fn request_ahead(&mut self, far: bool) -> Option<Request> {
        let front = self.segments.front()?;
        if front.may_request_ahead() && front.waiting_pages() == 0 && self.needs_more(0) {
            return self.request_next();
        }
        let waiting: usize = self.segments.iter().map(Segment::waiting_pages).sum();
        if !far || !self.may_split() || waiting >= WAITING_PAGES * self.parallelism {
            return None;
        }
        for index in 0..self.segments.len() {
            if !self.needs_more(index) {
                return None;
            }
            let segment = &mut self.segments[index];
            if segment.may_request_ahead() {
                return Some(Request { id: segment.id, options: segment.request() });
            }
        }
        self.split()
    }

    /// Whether the walk has turned out to be long, and in order.
    fn may_split(&self) -> bool {
        let is_long = || self.segments.front().is_some_and(|front| front.listed >= FIRST_SPLIT);
        self.parallelism > 1 && !self.is_unordered && (self.next_id > 1 || is_long())
    }

    /// Whether more pages of a segment are needed to reach the limit.
    fn needs_more(&self, index: usize) -> bool {
        let keys: usize = self.segments.iter().take(index + 1).map(Segment::waiting_keys).sum();
        self.limit.is_none_or(|limit| (keys as u64) < limit)
    }

    /// Splits the first segment that is long enough, and returns the request for the first page after the boundary. May
    /// instead return a request that helps to find a boundary.
    fn split(&mut self) -> Option<Request> {
        let busy = self.segments.iter().filter(|segment| !segment.is_complete()).count();
        let asking = if self.asked.is_some() { 1.0 } else { 0.0 };
        let pending: f64 = self.segments.iter().map(|segment| self.pending(segment)).sum();
        if busy >= self.parallelism || !self.waste.affords(asking + pending + 1.0) {
            return None;
        }
        let id = self.next_id;
        let (index, end) = match (0..self.segments.len()).find_map(|index| self.find_boundary(index))? {
            Split::Boundary(index, end) => (index, end),
            Split::Sibling(index, end) => {
                self.ask_at = self.ask_at.min(self.waste.useful() + 1.0 / END_SHARE);
                (index, end)
            }
            Split::AskForSiblings(options) => {
                self.asked = Some((id, options.start_after.clone()));
                self.next_id += 1;
                return Some(Request { id, options });
            }
        };
        self.next_id += 1;
        let first = ListOptions {
            prefix: self.prefix.clone(),
            start_after: end.key.clone(),
            page_size: self.page_size,
            ..ListOptions::default()
        };
        let end = self.segments[index].end.replace(end);
        let mut segment = Segment::new(id, first, end);
        let options = segment.request();
        self.segments.insert(index + 1, segment);
        Some(Request { id, options })
    }

    /// How many pages a segment may still waste.
    fn pending(&self, segment: &Segment) -> f64 {
        let unproven = if segment.listed == 0 { 1.0 } else { 0.0 };
        let end = segment.end.as_ref().filter(|_| !segment.is_complete());
        unproven + end.map_or(0.0, |end| self.waste.at_end(end.waste))
    }

    /// Whether more segments can begin after the last one.
    fn is_open(&self) -> bool {
        self.segments.back().is_some_and(|last| last.end.is_none() && !last.is_complete())
    }

    /// A boundary in a segment, or how to find one. `None` if it should not be split.
    fn find_boundary(&self, index: usize) -> Option<Split> {
        let segment = &self.segments[index];
        let is_as_planned = segment.end.is_some() && f64::from(segment.listed) <= PAGES.1 && self.is_open();
        if segment.is_complete() || !segment.has_keys || is_as_planned {
            return None;
        }
        let from = segment.position();
        let samples = self.segments.range(..=index).rev().flat_map(Segment::samples);
        let samples: Vec<_> = samples.take(SAMPLES).collect();
        let numbers = pace_of_numbers(&samples, from);
        let boundary = |end| Split::Boundary(index, end);
        if let Some(pace) = numbers.as_ref().filter(|pace| pace.is_regular() || pace.scale().is_numeric()) {
            return self.boundary(index, pace).map(boundary);
        }
        if let Some(siblings) = self.siblings.as_ref().filter(|siblings| siblings.position(from).is_some()) {
            let known = samples.iter().copied().filter(|(after, _)| siblings.position(after).is_some());
            let pace = Pace::measure(siblings, &known.collect::<Vec<_>>());
            if let Some(end) = pace.and_then(|pace| self.boundary(index, &pace)) {
                return Some(Split::Sibling(index, end));
            }
            // The directories may be so large that the boundary is in the current one.
            let directory = from.rfind('/').and_then(|at| from.get(..=at)).unwrap_or_default();
            let inside = samples.iter().copied().take_while(|(after, _)| after.starts_with(directory));
            let pace = pace_of_numbers(&inside.collect::<Vec<_>>(), from);
            return pace.and_then(|pace| self.boundary(index, &pace)).map(boundary);
        }
        if self.asked.is_some() {
            return None;
        }
        if segment.end.is_none() && self.waste.useful() >= self.ask_at {
            let request =
                |(first, _): &(&str, _)| siblings::request(first, from, &self.prefix, self.page_size);
            if let Some(request) = samples.iter().skip(2).find_map(request) {
                return Some(Split::AskForSiblings(request));
            }
        }
        numbers.and_then(|pace| self.boundary(index, &pace)).map(boundary)
    }

    /// A key at which a segment can be split, if it is long enough.
    fn boundary(&self, index: usize, pace: &Pace<impl Scale>) -> Option<End> {
        let segment = &self.segments[index];
        let from = segment.position();
        let error = pace.error(PAGES.0);
        let expected = (0.05 + 1.5 * error).min(1.0);
        let mut pages = (self.waste.at_end(expected) / END_SHARE).clamp(PAGES.0, PAGES.1).round();
        if let Some(end) = &segment.end {
            match pace.pages_between(from, &end.key) {
                Some(left) if left >= 2.0 * pages => {}
                // No segment can begin after the last one, so the remaining ones are split.
                Some(left) if left >= 2.0 * SHORTEST && !self.is_open() => {
                    pages = (left / 2.0).floor().min(pages);
                }
                None if f64::from(segment.listed) > 1.5 * pages => {}
                _ => return None,
            }
        }
        // A segment that ends a little before the end of a page wastes less than one that ends a little after it.
        let key = just_before(pace.ahead(from, pages - error)?);
        let is_inside = key.starts_with(&self.prefix)
            && key.as_str() > from
            && segment.end.as_ref().is_none_or(|end| key < end.key);
        let end = End { key, waste: expected };
        (is_inside && self.is_within_limit(index, pages)).then_some(end)
    }

    /// Whether the limit is well beyond a boundary that is this many pages ahead in a segment.
    fn is_within_limit(&self, index: usize, pages: f64) -> bool {
        let Some(limit) = self.limit else { return true };
        let before = self.segments.range(..index).filter(|segment| !segment.is_complete());
        let unlisted = PAGES.1 * float(before.count() as u128) + pages;
        let listed: usize = self.segments.range(..=index).map(Segment::waiting_keys).sum();
        2.0 * (float(listed as u128) + unlisted * f64::from(self.page_size)) <= float(limit.into())
    }

    /// Records the response to a request.
    pub(super) fn listed(&mut self, id: u64, page: ListPage) -> Result<(), Error> {
        if let Some((_, after)) = self.asked.take_if(|(asked, _)| *asked == id) {
            self.waste.page(1.0);
            // Directories may turn out to be too small to be of use.
            self.ask_at = 2.0 * self.waste.useful();
            if !page.common_prefixes.is_sorted() || !page.objects.is_sorted_by(|a, b| a.key <= b.key) {
                return self.continue_in_any_order();
            }
            self.siblings = Some(Siblings::new(after, page));
            return Ok(());
        }
        let Some(index) = self.segments.iter().position(|known| known.id == id) else { return Ok(()) };
        let has_no_objects = page.objects.is_empty();
        let is_empty = has_no_objects && page.skipped == 0 && page.continuation.is_none();
        let is_last = index + 1 == self.segments.len();
        let segment = &mut self.segments[index];
        // The end of the last segment is only an estimate of where the keys end, so a later key removes it.
        if is_last
            && page.objects.last().zip(segment.end.as_ref()).is_some_and(|(last, end)| last.key > end.key)
        {
            segment.end = None;
        }
        let Added::Ordered { beyond } = segment.add(page, self.is_unordered || self.parallelism == 1) else {
            return self.continue_in_any_order();
        };
        let wasted = if has_no_objects && segment.id > 0 { 1.0 } else { beyond };
        self.waste.page(wasted);
        if segment.is_complete() && segment.end.is_some() && !is_empty {
            self.waste.closed(beyond);
        }
        if segment.is_complete()
            && !segment.has_keys
            && index > 0
            && index + 1 == self.segments.len()
            && is_empty
        {
            // The boundary was guessed beyond the last key. It remains the end of the segment before it.
            self.segments.pop_back();
        }
        Ok(())
    }

    /// Drops all segments but the first: the order of keys does not tell which keys belong to them. Fails if keys
    /// before a boundary may be missing.
    fn continue_in_any_order(&mut self) -> Result<(), Error> {
        self.is_unordered = true;
        if self.is_past_boundary {
            let message = "the S3 server does not list keys in ascending order: walk with `parallelism: 1`";
            return Err(Error::new(ErrorKind::BackendProtocol, message));
        }
        self.drop_all_but_first();
        Ok(())
    }

    /// Drops all segments but the first, whose listing continues to the end.
    fn drop_all_but_first(&mut self) {
        self.asked = None;
        self.segments.truncate(1);
        self.segments.iter_mut().for_each(Segment::extend_to_the_end);
    }

    /// Drops all segments but the first, and counts their pages as wasted, also those in flight.
    pub(super) fn give_up(&mut self) {
        // The keys that a segment has discarded at its end are only in the segments that follow.
        while self.segments.len() > 1 && self.segments.front().is_some_and(Segment::is_finished) {
            self.segments.pop_front();
        }
        for segment in self.segments.iter().skip(1) {
            self.waste.discard(f64::from(segment.listed));
            if segment.is_requested() {
                self.waste.page(1.0);
            }
        }
        if self.asked.is_some() {
            self.waste.page(1.0);
            self.ask_at = 2.0 * self.waste.useful().max(1.0);
        }
        self.drop_all_but_first();
    }

    /// Records that a page was thrown away.
    pub(super) fn wasted_page(&mut self) {
        self.waste.page(1.0);
    }

    /// Records that a request failed. Returns whether it was for the page that comes next.
    pub(super) fn failed(&mut self, id: u64) -> bool {
        if self.asked.take_if(|(asked, _)| *asked == id).is_some() {
            self.ask_at = 2.0 * self.waste.useful().max(1.0);
        }
        let awaited = self.awaited_segment();
        let is_next = |segment: &Segment| segment.id == id && (awaited > 0 || segment.waiting_pages() == 0);
        let is_awaited = self.segments.get(awaited).is_some_and(is_next);
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.id == id) {
            segment.fail();
        }
        is_awaited
    }

    /// Checks that a later segment lists the first key that the first segment has discarded. A server that does not
    /// order keys by their bytes could otherwise make the walk lose keys here.
    fn check_boundary(&self) -> BoundaryCheck {
        let front = self.segments.front().filter(|front| front.is_complete() && front.waiting_pages() == 1);
        let Some(discarded) = front.and_then(Segment::first_discarded) else { return BoundaryCheck::Listed };
        for (index, segment) in self.segments.iter().enumerate().skip(1) {
            if segment.end.as_ref().is_some_and(|end| end.key.as_str() < discarded) {
                continue;
            }
            return match segment.lists(discarded) {
                Some(true) => BoundaryCheck::Listed,
                Some(false) => BoundaryCheck::Missing,
                None => BoundaryCheck::NotListedYet(index),
            };
        }
        BoundaryCheck::Missing
    }

    /// The index of the segment whose next page the caller waits for.
    fn awaited_segment(&self) -> usize {
        match self.check_boundary() {
            BoundaryCheck::NotListedYet(index) => index,
            BoundaryCheck::Listed | BoundaryCheck::Missing => 0,
        }
    }

    /// The page that comes next in key order, if it has been listed.
    pub(super) fn take(&mut self) -> Option<WalkPage> {
        loop {
            match self.check_boundary() {
                BoundaryCheck::Listed => {}
                BoundaryCheck::NotListedYet(_) => return None,
                // The key may just have been deleted. In any case, the first segment's own listing goes on after it.
                BoundaryCheck::Missing => self.drop_all_but_first(),
            }
            let front = self.segments.front_mut()?;
            let Some(WalkPage { mut objects, skipped, memory }) = front.take() else {
                if !front.is_complete() {
                    return None;
                }
                self.segments.pop_front();
                continue;
            };
            self.is_past_boundary |= front.is_complete() && front.waiting_pages() == 0;
            if let Some(limit) = &mut self.limit {
                objects.truncate(usize::try_from(*limit).unwrap_or(usize::MAX));
                *limit -= objects.len() as u64;
                if *limit == 0 {
                    self.segments.clear();
                }
            }
            if !objects.is_empty() || skipped > 0 {
                return Some(WalkPage { objects, skipped, memory });
            }
        }
    }
}
