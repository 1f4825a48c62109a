//! Detects that a read waits for S3 rather than for the caller.

use std::time::Duration;

/// S3 is slow if it has kept the read waiting for this long at a rate below this many bytes a second. Amazon S3 sends
/// at most about two thirds of the highest of these rates over one connection, so a long read from it counts as slow. A
/// short wait may be only a pause, so it counts only at a lower rate. At these rates, reading ahead needlessly costs
/// less than waiting to be sure.
const SLOW: [(Duration, u64); 3] = [
    (Duration::from_millis(12), 64 * 1024 * 1024),
    (Duration::from_millis(25), 112 * 1024 * 1024),
    (Duration::from_millis(100), 160 * 1024 * 1024),
];

/// Number of bytes after which older measurements count half. A fast server then stays fast after a short pause, and a
/// server that becomes slow later is noticed.
const REMEMBERED: u64 = 32 * 1024 * 1024;

/// Detects that a read waits for S3 rather than for the caller.
#[derive(Debug, Default)]
pub(in crate::store) struct BackendSpeed {
    waited: Duration,
    bytes: u64,
}

impl BackendSpeed {
    /// Records that `bytes` arrived after a wait of `waited`. Returns whether S3 is slow.
    pub(in crate::store) fn record_wait(&mut self, waited: Duration, bytes: usize) -> bool {
        self.waited += waited;
        self.bytes += bytes as u64;
        if self.bytes > REMEMBERED {
            (self.waited, self.bytes) = (self.waited / 2, self.bytes / 2);
        }
        let few = |rate: u64| self.waited.as_micros() * u128::from(rate) > u128::from(self.bytes) * 1_000_000;
        SLOW.iter().any(|(wait, rate)| self.waited >= *wait && few(*rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_waits_for_few_bytes_are_slow() {
        const KIB: usize = 1024;
        let (moment, short, long) = (Duration::from_micros(10), SLOW[0].0, SLOW[2].0);
        assert!(BackendSpeed::default().record_wait(short, 64 * KIB));
        assert!(!BackendSpeed::default().record_wait(short, 2 * KIB * KIB), "a short wait for many bytes");
        assert!(BackendSpeed::default().record_wait(long, 10 * KIB * KIB), "a long wait at S3's best rate");
        assert!(!BackendSpeed::default().record_wait(long, 20 * KIB * KIB), "a long wait at a higher rate");
        let mut pace = BackendSpeed::default();
        assert!((0..9000).all(|_| !pace.record_wait(moment, 64 * KIB)), "a fast server, over a long read");
        assert!(!pace.record_wait(long, 64 * KIB), "a pause");
        assert!((0..9).any(|_| pace.record_wait(long, 64 * KIB)), "a server that has become slow");
        let mut pace = BackendSpeed::default();
        assert!(!pace.record_wait(short / 2, 10));
        assert!(pace.record_wait(short / 2, 10));
    }
}
