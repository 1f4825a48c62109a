//! How fast a caller fills a part.

use std::time::Duration;

use tokio::time::Instant;

/// How long a caller is waited for before its speed is judged: shorter waits say little.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);
/// A caller is slow if the rest of its part would take longer than this.
const SLOW: Duration = Duration::from_secs(2);
/// Measures a caller. Only time counts in which the server waits for it: not time in which the server waits for S3 or for memory,
/// or does not read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Since when the caller is waited for.
    since: Option<Instant>,
    /// How long it was waited for, and how many bytes came: in this interval, and for this part.
    interval: Measure,
    part: Measure,
    /// How many bytes came in the last whole interval.
    last: u64,
}

/// Bytes that came, and how long they were waited for.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Measure {
    pub(super) waited: Duration,
    pub(super) bytes: u64,
}

impl Measure {
    /// How long `bytes` take at this speed.
    fn time_for(self, bytes: u64) -> Duration {
        let nanos = self.waited.as_nanos().saturating_mul(bytes.into()) / u128::from(self.bytes.max(1));
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Whether a caller is so slow that others may have the memory for its `size` bytes, where calls wait for memory for `wait` at
    /// most: they would take a third of that, or, as can be said earlier, twice as long.
    pub(super) fn is_too_slow(self, size: u64, wait: Duration) -> bool {
        let rules = [(wait / 15, wait / 3), (wait / 60, wait.saturating_mul(2))];
        rules.iter().any(|(after, most)| self.waited >= *after && self.time_for(size) > *most)
    }
}

impl Pace {
    /// The server waits for the caller from now on.
    pub(super) fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Bytes came; the server does not wait any more.
    pub(super) fn came(&mut self, bytes: u64, now: Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.duration_since(since));
        for measure in [&mut self.interval, &mut self.part] {
            measure.waited += waited;
            measure.bytes += bytes;
        }
    }

    /// For how long the caller has sent nothing.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// Whether the caller is slow, with `rest` bytes still to come: `None` before an interval has passed.
    pub(super) fn is_slow(&mut self, rest: u64, now: Instant) -> Option<bool> {
        let interval = Measure { waited: self.interval.waited + self.silence(now), ..self.interval };
        if interval.waited < INTERVAL {
            return None;
        }
        // What has passed is not counted again, except as silence.
        self.last = interval.bytes;
        self.interval = Measure::default();
        Some(interval.time_for(rest) > SLOW)
    }

    /// How many bytes the caller may send before it is asked again: twice what came in the last interval.
    pub(super) fn slack(&self) -> u64 {
        const LEAST: u64 = 64 * 1024;
        self.last.max(self.interval.bytes).saturating_mul(2).max(LEAST)
    }

    /// What has come of the part that fills.
    pub(super) fn part(&self, now: Instant) -> Measure {
        Measure { waited: self.part.waited + self.silence(now), ..self.part }
    }

    /// A part of `size` bytes is full, and the next begins: whether it filled quickly.
    pub(super) fn next_part(&mut self, size: u64) -> bool {
        let part = std::mem::take(&mut self.part);
        // A small part says little: it counts as quick if it came within an interval.
        part.waited <= INTERVAL || part.time_for(size.max(FULL)) <= SLOW
    }
}

/// The part that speed is measured by.
const FULL: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn only_time_in_which_the_caller_is_waited_for_counts() {
        let mut pace = Pace::default();
        let later = || tokio::time::advance(Duration::from_mins(1));
        pace.came(MIB, Instant::now());
        later().await;
        assert_eq!(pace.silence(Instant::now()), Duration::ZERO);
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), None, "the server did not read");
        assert!(!pace.part(Instant::now()).is_too_slow(8 * MIB, Duration::from_secs(30)));
        pace.waits(Instant::now());
        later().await;
        pace.waits(Instant::now());
        assert_eq!(pace.silence(Instant::now()), Duration::from_mins(1));
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(true));
        assert!(pace.part(Instant::now()).is_too_slow(8 * MIB, Duration::from_secs(30)));
        pace.came(7 * MIB, Instant::now());
        assert!(!pace.next_part(8 * MIB), "it took a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_slow_by_what_its_part_still_needs() {
        let mut pace = Pace::default();
        pace.waits(Instant::now());
        tokio::time::advance(INTERVAL).await;
        pace.came(MIB, Instant::now());
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(false), "4 MiB/s, and 1.75 s to go");
        assert_eq!(pace.slack(), 2 * MIB);
        pace.waits(Instant::now());
        tokio::time::advance(INTERVAL).await;
        pace.came(10 * 1024, Instant::now());
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(true));
        assert_eq!(pace.slack(), 64 * 1024);
    }
}
