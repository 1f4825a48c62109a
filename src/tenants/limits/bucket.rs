//! A token bucket.

use std::time::Duration;

use tokio::time::Instant;

/// The length of a second in the unit of [`Instant`]'s arithmetic.
const NANOS: i128 = 1_000_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// Tokens per second, for all processes together.
    pub(super) per_second: u64,
    /// The number of processes that share these tokens.
    pub(super) shared_by: u32,
    /// The most tokens in the bucket; at least 1.
    pub(super) burst: u64,
}

impl Pace {
    /// A rate whose unused tokens accumulate for `burst`, but at least to `least` tokens.
    pub(super) fn new(per_second: u64, shared_by: u32, burst: Duration, least: u64) -> Self {
        let shared_by = shared_by.max(1);
        let tokens =
            u128::from(per_second).saturating_mul(burst.as_nanos()) / 1_000_000_000 / u128::from(shared_by);
        // Beyond 2^50 tokens the arithmetic of the bucket could overflow.
        let burst = u64::try_from(tokens).unwrap_or(u64::MAX).max(least).clamp(1, 1 << 50);
        Self { per_second: per_second.max(1), shared_by, burst }
    }

    /// A number of tokens in the bucket's unit. It is so small that a nanosecond adds a whole number of units, and
    /// nothing is ever rounded.
    fn units(self, tokens: u64) -> i128 {
        i128::from(tokens) * NANOS * i128::from(self.shared_by)
    }
}

/// A token bucket: in any period, it hands out at most the tokens that the rate allows for it, and one burst.
///
/// Tokens for a request larger than the burst are handed out when the bucket is full, and the bucket then owes the rest.
#[derive(Debug)]
pub(super) struct Bucket {
    pace: Pace,
    /// The tokens in the bucket, in the unit of [`Pace::units`]; negative if tokens are owed.
    level: i128,
    /// When `level` was computed.
    at: Instant,
    recent: Recent,
}

/// How many tokens were handed out in this second and in the one before.
#[derive(Debug, Clone, Copy)]
struct Recent {
    second: Instant,
    current: u64,
    last: u64,
}

impl Recent {
    fn at(&mut self, now: Instant) -> &mut Self {
        let passed = now.saturating_duration_since(self.second).as_secs();
        if passed > 0 {
            self.last = if passed == 1 { self.current } else { 0 };
            self.current = 0;
            self.second += Duration::from_secs(passed);
        }
        self
    }
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(pace: Pace, now: Instant) -> Self {
        Self {
            pace,
            level: pace.units(pace.burst),
            at: now,
            recent: Recent { second: now, current: 0, last: 0 },
        }
    }

    /// Takes `tokens`, or returns how long it takes until they are there.
    pub(super) fn take(&mut self, tokens: u64, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        let needed = self.pace.units(tokens.min(self.pace.burst));
        if self.level < needed {
            return Err(self.time_for(needed));
        }
        self.level -= self.pace.units(tokens);
        self.recent.at(now).current += tokens;
        Ok(())
    }

    /// How long it takes until `tokens` have been handed out to calls that already wait, and then `more` to another one.
    pub(super) fn wait(&mut self, waiting: u64, more: u64, now: Instant) -> Duration {
        self.refill(now);
        let needed = self.pace.units(waiting).saturating_add(self.pace.units(more.min(self.pace.burst)));
        self.time_for(needed)
    }

    /// Puts tokens back that were not used.
    pub(super) fn give_back(&mut self, tokens: u64, now: Instant) {
        self.refill(now);
        self.level = (self.level + self.pace.units(tokens)).min(self.pace.units(self.pace.burst));
        let recent = self.recent.at(now);
        recent.current = recent.current.saturating_sub(tokens);
    }

    /// The rate, in tokens per second of this process, and how many were handed out in the last whole second.
    pub(super) fn usage(&mut self, now: Instant) -> (u64, u64) {
        (self.pace.per_second / u64::from(self.pace.shared_by), self.recent.at(now).last)
    }

    /// Changes the rate. Tokens in the bucket, and tokens that are owed, keep their number.
    pub(super) fn configure(&mut self, pace: Pace, now: Instant) {
        self.refill(now);
        let level = self.level / i128::from(self.pace.shared_by) * i128::from(pace.shared_by);
        self.level = level.min(pace.units(pace.burst));
        self.pace = pace;
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_nanos();
        let gained = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(self.pace.per_second.into());
        self.level = self.level.saturating_add(gained).min(self.pace.units(self.pace.burst));
        self.at = self.at.max(now);
    }

    /// How long it takes until the bucket has `needed` units, rounded up.
    fn time_for(&self, needed: i128) -> Duration {
        let missing = needed.saturating_sub(self.level).max(0);
        let rate = i128::from(self.pace.per_second);
        let nanos = missing.saturating_add(rate - 1) / rate;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace() -> impl Strategy<Value = Pace> {
        let rate = prop_oneof![1..10_u64, 1..1_000_000_u64, Just(1_u64 << 40)];
        (rate, 1..12_u32, 0..3_000_u64, 1..1_000_u64).prop_map(|(rate, shared_by, millis, least)| {
            Pace::new(rate, shared_by, Duration::from_millis(millis), least)
        })
    }

    /// What happens to a bucket: a request after a pause, and perhaps the return of a part of what it got.
    fn arrivals() -> impl Strategy<Value = Vec<(u64, u64, u64)>> {
        let pause = prop_oneof![Just(0_u64), 0..1_000_000_u64, 0..3_000_000_000_u64];
        proptest::collection::vec((pause, 1..2_000_u64, 0..2_000_u64), 1..60)
    }

    proptest! {
        /// Checked with rational numbers of its own, against every window between two requests.
        #[test]
        fn in_no_window_are_more_tokens_handed_out_than_the_rate_and_a_burst_allow(
            pace in pace(),
            arrivals in arrivals(),
        ) {
            let start = Instant::now();
            let (mut bucket, mut now, mut taken) = (Bucket::new(pace, start), start, Vec::new());
            for (pause, tokens, unused) in arrivals {
                let tokens = tokens.min(pace.burst);
                now += Duration::from_nanos(pause);
                if bucket.take(tokens, now).is_ok() {
                    let unused = unused.min(tokens);
                    bucket.give_back(unused, now);
                    taken.push(((now - start).as_nanos(), u128::from(tokens - unused)));
                }
            }
            for (first, (from, _)) in taken.iter().enumerate() {
                let mut sum = 0;
                for (until, tokens) in &taken[first..] {
                    sum += tokens;
                    // sum ≤ burst + time × rate / shared_by, multiplied by its denominators.
                    let denominator = 1_000_000_000 * u128::from(pace.shared_by);
                    let allowed = u128::from(pace.burst) * denominator + (until - from) * u128::from(pace.per_second);
                    prop_assert!(sum * denominator <= allowed);
                }
            }
        }

        #[test]
        fn after_the_wait_that_it_announces_the_bucket_has_the_tokens_and_not_earlier(
            pace in pace(),
            tokens in 1..5_000_u64,
        ) {
            let now = Instant::now();
            let mut bucket = Bucket::new(pace, now);
            bucket.take(pace.burst, now).unwrap();
            let wait = bucket.take(tokens, now).unwrap_err();
            prop_assert_eq!(bucket.wait(0, tokens, now), wait);
            if wait > Duration::from_nanos(1) {
                prop_assert!(bucket.take(tokens, now + wait - Duration::from_nanos(1)).is_err());
            }
            prop_assert!(bucket.take(tokens, now + wait).is_ok());
        }
    }

    #[test]
    fn a_request_larger_than_the_burst_is_owed() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Pace::new(10, 1, Duration::from_secs(1), 1), now);
        assert_eq!(bucket.take(35, now), Ok(()));
        assert_eq!(bucket.take(1, now), Err(Duration::from_millis(2_600)));
    }

    #[test]
    fn a_rate_of_the_fleet_is_divided_and_a_burst_is_never_less_than_one_message() {
        let pace = Pace::new(5, 10, Duration::from_secs(1), 1);
        assert_eq!(pace.burst, 1);
        let now = Instant::now();
        let mut bucket = Bucket::new(pace, now);
        assert_eq!(bucket.take(1, now), Ok(()));
        assert_eq!(bucket.take(1, now), Err(Duration::from_secs(2)));
        assert_eq!(Pace::new(1 << 20, 1, Duration::from_secs(1), 4 << 20).burst, 4 << 20);
    }

    #[test]
    fn a_changed_rate_applies_to_the_tokens_that_are_missing() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Pace::new(1, 1, Duration::from_secs(10), 1), now);
        bucket.take(10, now).unwrap();
        assert_eq!(bucket.take(2, now), Err(Duration::from_secs(2)));
        bucket.configure(Pace::new(4, 2, Duration::from_secs(10), 1), now);
        assert_eq!(bucket.take(2, now), Err(Duration::from_secs(1)));
        bucket.configure(Pace::new(1, 1, Duration::from_secs(1), 1), now + Duration::from_hours(1));
        assert_eq!(bucket.take(1, now + Duration::from_hours(1)), Ok(()));
        assert!(bucket.take(1, now + Duration::from_hours(1)).is_err(), "the bucket has become smaller");
    }
}
