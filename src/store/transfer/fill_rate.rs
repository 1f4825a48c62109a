//! Measures how fast a caller fills a part.

use std::time::Duration;

use tokio::time::Instant;

/// How long the server waits for a caller before it judges the caller's speed. Shorter waits say little.
pub(in crate::store) const INTERVAL: Duration = Duration::from_millis(250);
/// A caller is slow if the rest of its part would take longer than this.
const SLOW: Duration = Duration::from_secs(2);

/// Measures a caller's speed. Only time that the server spends waiting for the caller counts. Time that it waits for
/// S3 or for memory, or does not read, does not count.
#[derive(Debug, Default)]
pub(in crate::store) struct FillRate {
    /// When the server started to wait for the caller.
    since: Option<Instant>,
    /// The measurement of the current interval.
    interval: Measure,
    /// The measurement of the current part.
    part: Measure,
    /// Number of bytes received in the last whole interval.
    last: u64,
}

/// The number of bytes received, and how long the server waited for them.
#[derive(Debug, Default, Clone, Copy)]
pub(in crate::store) struct Measure {
    pub(in crate::store) waited: Duration,
    pub(in crate::store) bytes: u64,
}

impl Measure {
    /// How long `bytes` would take at this speed.
    fn time_for(self, bytes: u64) -> Duration {
        let nanos = self.waited.as_nanos().saturating_mul(bytes.into()) / u128::from(self.bytes.max(1));
        u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
    }

    /// Whether a caller fills `size` bytes so slowly that other calls may take its memory. Calls wait for memory for at
    /// most `wait`. The caller is too slow if the bytes would take more than a third of that, or, judged after a
    /// shorter time, more than twice that.
    pub(in crate::store) fn is_too_slow(self, size: u64, wait: Duration) -> bool {
        let rules = [(wait / 15, wait / 3), (wait / 60, wait.saturating_mul(2))];
        rules.iter().any(|(after, most)| self.waited >= *after && self.time_for(size) > *most)
    }
}

impl FillRate {
    /// Records that the server waits for the caller from now on.
    pub(in crate::store) fn begin_wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// Records that bytes arrived and the server no longer waits.
    pub(in crate::store) fn received(&mut self, bytes: u64, now: Instant) {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.duration_since(since));
        for measure in [&mut self.interval, &mut self.part] {
            measure.waited += waited;
            measure.bytes += bytes;
        }
    }

    /// How long the server has been waiting since the last bytes.
    pub(in crate::store) fn silence(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.duration_since(since))
    }

    /// Whether the caller is slow if `rest` bytes are still to come; `None` until an interval has passed.
    pub(in crate::store) fn is_slow(&mut self, rest: u64, now: Instant) -> Option<bool> {
        let interval = Measure { waited: self.interval.waited + self.silence(now), ..self.interval };
        if interval.waited < INTERVAL {
            return None;
        }
        // Start a new interval. A wait that has not ended counts in that one, too.
        self.last = interval.bytes;
        self.interval = Measure::default();
        Some(interval.time_for(rest) > SLOW)
    }

    /// How many bytes the caller may send before it needs more memory: twice the number received in the last
    /// interval, but at least 64 KiB.
    pub(in crate::store) fn slack(&self) -> u64 {
        const LEAST: u64 = 64 * 1024;
        self.last.max(self.interval.bytes).saturating_mul(2).max(LEAST)
    }

    /// The measurement of the current part.
    pub(in crate::store) fn part(&self, now: Instant) -> Measure {
        Measure { waited: self.part.waited + self.silence(now), ..self.part }
    }

    /// Starts the next part, after one of `size` bytes is full. Returns whether the full one filled quickly.
    pub(in crate::store) fn next_part(&mut self, size: u64) -> bool {
        let part = std::mem::take(&mut self.part);
        // The rate of a small part says little: it counts as quick if it arrived within an interval.
        part.waited <= INTERVAL || part.time_for(size.max(FULL)) <= SLOW
    }
}

/// Parts smaller than this are judged by the time that this many bytes would take.
const FULL: u64 = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test(start_paused = true)]
    async fn only_time_spent_waiting_for_the_caller_counts() {
        let mut pace = FillRate::default();
        let later = || tokio::time::advance(Duration::from_mins(1));
        pace.received(MIB, Instant::now());
        later().await;
        assert_eq!(pace.silence(Instant::now()), Duration::ZERO);
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), None, "the server did not read");
        assert!(!pace.part(Instant::now()).is_too_slow(8 * MIB, Duration::from_secs(30)));
        pace.begin_wait(Instant::now());
        later().await;
        pace.begin_wait(Instant::now());
        assert_eq!(pace.silence(Instant::now()), Duration::from_mins(1));
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(true));
        assert!(pace.part(Instant::now()).is_too_slow(8 * MIB, Duration::from_secs(30)));
        pace.received(7 * MIB, Instant::now());
        assert!(!pace.next_part(8 * MIB), "it took a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_is_judged_by_the_time_that_its_part_still_needs() {
        let mut pace = FillRate::default();
        pace.begin_wait(Instant::now());
        tokio::time::advance(INTERVAL).await;
        pace.received(MIB, Instant::now());
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(false), "4 MiB/s, and 1.75 s to go");
        assert_eq!(pace.slack(), 2 * MIB);
        pace.begin_wait(Instant::now());
        tokio::time::advance(INTERVAL).await;
        pace.received(10 * 1024, Instant::now());
        assert_eq!(pace.is_slow(7 * MIB, Instant::now()), Some(true));
        assert_eq!(pace.slack(), 64 * 1024);
    }
}
