//! How many batches of one call may be in flight.

/// The limit on the batches in flight. It is halved when S3 throttles a batch, and grows by one with each batch that S3
/// does not throttle (additive increase, multiplicative decrease).
///
/// Batches that were in flight together are often throttled together, so the limit is halved once for all of them: a
/// batch changes the limit only if it was sent in the current round, and halving begins a new round.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    max: usize,
    round: u64,
}

impl Window {
    /// A window of `max` batches.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { size: max, max, round: 0 }
    }

    /// The number of batches that may be in flight.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The current round. Batches remember the one that they are sent in.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// Called if S3 throttled a batch of `round` while `in_flight` batches were in flight.
    pub(super) fn throttled(&mut self, round: u64, in_flight: usize) {
        if round == self.round {
            self.size = (self.size.min(in_flight) / 2).max(1);
            self.round += 1;
        }
    }

    /// Called if S3 did not throttle a batch of `round`.
    pub(super) fn clean(&mut self, round: u64) {
        if round == self.round {
            self.size = (self.size + 1).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_halves_the_window_once_for_all_batches_in_flight() {
        let mut window = Window::new(10);
        (0..10).for_each(|_| window.throttled(0, 10));
        assert_eq!(window.size(), 5);
        window.throttled(window.round(), 3);
        assert_eq!(window.size(), 1);
        window.throttled(window.round(), 1);
        assert_eq!(window.size(), 1);
    }

    #[test]
    fn the_window_grows_by_one_with_each_clean_batch_sent_since() {
        let mut window = Window::new(3);
        window.throttled(0, 3);
        window.clean(0);
        assert_eq!(window.size(), 1);
        for size in [2, 3, 3] {
            window.clean(window.round());
            assert_eq!(window.size(), size);
        }
    }
}
