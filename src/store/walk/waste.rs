//! How many requests a walk may waste.

/// What a walk of any length may waste, in pages.
const ALWAYS: f64 = 1.0;
/// How much more it may waste for each useful page, in pages.
const SHARE: f64 = 0.05;

/// The pages that a walk has listed, and those that were of no use because their keys were discarded or they had none.
/// A page is wasted in part if a part of its keys was discarded.
#[derive(Debug, Default)]
pub(super) struct Waste {
    useful: f64,
    wasted: f64,
    /// The number of segments that were listed to their end.
    closed: f64,
    /// What their last pages wasted.
    at_ends: f64,
}

impl Waste {
    /// Records a page, and what fraction of it was wasted.
    pub(super) fn page(&mut self, wasted: f64) {
        self.wasted += wasted;
        self.useful += 1.0 - wasted;
    }

    /// Records that pages that seemed useful were discarded.
    pub(super) fn discard(&mut self, pages: f64) {
        self.wasted += pages;
        self.useful -= pages.min(self.useful);
    }

    /// The number of pages that were of use.
    pub(super) fn useful(&self) -> f64 {
        self.useful
    }

    /// Records that a segment was listed to its end, and what its last page wasted.
    pub(super) fn closed(&mut self, wasted: f64) {
        self.closed += 1.0;
        self.at_ends += wasted;
    }

    /// How much the end of a segment will waste: `expected`, or the average of the ends so far if that is more.
    pub(super) fn at_end(&self, expected: f64) -> f64 {
        expected.max(self.at_ends / self.closed.max(1.0))
    }

    /// Whether the walk may waste `pages` more.
    pub(super) fn affords(&self, pages: f64) -> bool {
        self.wasted + pages <= ALWAYS + SHARE * self.useful
    }
}
