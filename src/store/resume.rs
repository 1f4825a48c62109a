//! Limits on resuming an interrupted read: it must make progress.

/// The progress of a read between interruptions.
#[derive(Debug, Default)]
pub(super) struct Resumed {
    /// The offset at which it last resumed.
    at: Option<u64>,
    /// Number of resumptions in a row that gained little.
    without_progress: u32,
}

/// A connection that is lost before it has delivered this many bytes has gained little.
const GAIN: u64 = 64 * 1024;

/// Maximum number of bytes to discard when a read resumes. A server that does not support ranges sends the object again
/// from the start.
pub(super) const MOST_SKIPPED: u64 = 64 * 1024 * 1024;

impl Resumed {
    /// Records that the read resumes at `position`. Returns whether it should fail instead, because more than `most`
    /// resumptions in a row gained little.
    pub(super) fn record_resumption(&mut self, position: u64, most: u32) -> bool {
        let gained = self.at.is_none_or(|at| position - at >= GAIN);
        self.without_progress = if gained { 0 } else { self.without_progress + 1 };
        self.at = Some(position);
        self.without_progress > most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_fails_after_too_many_resumptions_that_gain_little() {
        let mut resumed = Resumed::default();
        assert!((0..4).all(|byte| !resumed.record_resumption(byte, 3)));
        assert!(resumed.record_resumption(4, 3));
        let mut resumed = Resumed::default();
        assert!((0..1_000).all(|times| !resumed.record_resumption(times * GAIN, 3)));
    }
}
