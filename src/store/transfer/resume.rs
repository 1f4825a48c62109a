//! Limits on resuming an interrupted read: it must make progress.

/// The progress of a read between interruptions.
#[derive(Debug)]
pub(in crate::store) struct Progress {
    /// The offset at which the current connection began.
    at: u64,
    /// Number of connections in a row that gained little.
    without_gain: u32,
}

/// A connection that breaks before it has delivered this many bytes has gained little.
const GAIN: u64 = 64 * 1024;

/// Maximum number of bytes to discard when a read resumes. A server that does not support ranges sends the object again
/// from the start.
pub(in crate::store) const MOST_SKIPPED: u64 = 64 * 1024 * 1024;

impl Progress {
    /// The progress of a read that begins at `position`.
    pub(in crate::store) fn from(position: u64) -> Self {
        Self { at: position, without_gain: 0 }
    }

    /// Records that the connection broke at `position`. Returns whether the read may resume: not if `attempts`
    /// connections in a row have gained little.
    pub(in crate::store) fn may_resume(&mut self, position: u64, attempts: u32) -> bool {
        self.without_gain = if position - self.at >= GAIN { 0 } else { self.without_gain + 1 };
        self.at = position;
        self.without_gain < attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_fails_after_too_many_connections_that_gain_little() {
        let mut progress = Progress::from(0);
        assert!((1..3).all(|byte| progress.may_resume(byte, 3)));
        assert!(!progress.may_resume(3, 3));
        let mut progress = Progress::from(7);
        assert!((1..1_000).all(|times| progress.may_resume(7 + times * GAIN, 1)));
        assert!(!progress.may_resume(7 + 1_000 * GAIN - 1, 1));
    }
}
