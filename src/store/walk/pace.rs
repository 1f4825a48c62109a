//! Estimates which key comes some pages after a known one, from the keys at which the latest pages ended.

/// How many fractions of a page [`Pace::ahead`] distinguishes.
const FRACTIONS: u128 = 64;

/// Maps keys to positions, in key order. Keys that are close together may share a position.
pub(super) trait Scale {
    /// The position of a key; `None` if the scale does not cover it.
    fn position(&self, key: &str) -> Option<u128>;

    /// A key at a position; `None` if the scale ends before it. The key resembles `like` where the scale leaves a
    /// choice.
    fn key(&self, position: u128, like: &str) -> Option<String>;
}

/// How far a page reaches on a scale.
#[derive(Debug)]
pub(super) struct Pace<S> {
    scale: S,
    /// The distance that the measured pages cover together.
    distance: u128,
    pages: u128,
    /// The standard deviation of the pages' distances, as a fraction of their mean.
    deviation: f64,
}

impl<S: Scale> Pace<S> {
    /// Measures pages, each given as the key that it started after and its last key. `None` if the scale does not cover
    /// them, or if they cover no distance on it.
    pub(super) fn measure(scale: S, pages: &[(&str, &str)]) -> Option<Self> {
        let distance = |(after, last): &(&str, &str)| {
            let (after, last) = (scale.position(after)?, scale.position(last)?);
            last.checked_sub(after)
        };
        let distances: Vec<u128> = pages.iter().map(distance).collect::<Option<_>>()?;
        let total: u128 = distances.iter().sum();
        if total == 0 {
            return None;
        }
        let mean = float(total) / float(pages.len() as u128);
        let squares = distances.iter().map(|distance| (float(*distance) - mean).powi(2)).sum::<f64>();
        let deviation = (squares / float(pages.len() as u128)).sqrt() / mean;
        Some(Self { scale, distance: total, pages: pages.len() as u128, deviation })
    }

    /// By how many pages an estimate `pages` pages ahead is off in most cases. At most half a page: wherever the key
    /// lies, the end of some page is no further away.
    pub(super) fn error(&self, pages: f64) -> f64 {
        (1.5 * self.deviation * (pages + pages * pages / float(self.pages)).sqrt()).min(0.5)
    }

    /// The scale on which it was measured.
    pub(super) fn scale(&self) -> &S {
        &self.scale
    }

    /// Whether estimates ten pages ahead are usually off by less than half a page.
    pub(super) fn is_regular(&self) -> bool {
        self.error(10.0) < 0.5
    }

    /// A key that is about this many pages after `from`, and greater than it.
    pub(super) fn ahead(&self, from: &str, pages: f64) -> Option<String> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small positive number"
        )]
        let fractions = (pages * float(FRACTIONS)) as u128;
        let distance = self.distance.checked_mul(fractions)? / (self.pages * FRACTIONS);
        // The key is at least one step away. If that is much more than was asked for, return no key.
        if distance == 0 && float(self.pages) > 1.6 * pages * float(self.distance) {
            return None;
        }
        let position = self.scale.position(from)?.checked_add(distance.max(1))?;
        self.scale.key(position, from).filter(|key| key.as_str() > from)
    }

    /// About how many pages there are from one key to another; `None` if the scale does not cover both, or `to` comes
    /// first.
    pub(super) fn pages_between(&self, from: &str, to: &str) -> Option<f64> {
        let distance = self.scale.position(to)?.checked_sub(self.scale.position(from)?)?;
        Some(float(distance) * float(self.pages) / float(self.distance))
    }
}

/// A number to estimate with.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
pub(super) fn float(number: u128) -> f64 {
    number as f64
}
