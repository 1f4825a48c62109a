//! Detects a caller that floods the server with frames without content.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Frame, kind};

/// Control frames that a connection may send in a burst, beyond those that its traffic accounts for.
const CONTROL_BURST: f64 = 2_000.0;

/// Control frames per second that need no traffic to account for them.
const CONTROL_RATE: f64 = 500.0;

/// Control frames that one call accounts for: window updates of the stream and of the connection, and a PING or two.
const CONTROL_PER_CALL: f64 = 4.0;

/// Bytes sent to the caller that account for one control frame. Clients send a window update for each frame that they
/// read, and some send a PING to measure the round-trip time.
const BYTES_PER_CONTROL: f64 = 256.0;

/// Streams per second that a caller may reset. Callers that hedge requests cancel many calls.
const RESET_RATE: f64 = 1_000.0;

/// Tells a flood from the frames of a real client, with two allowances that refill over time.
#[derive(Debug)]
pub(super) struct Flood {
    control: Allowance,
    resets: Allowance,
}

impl Flood {
    /// Allows a caller at least to cancel all its streams at once, and then all the streams that replace them.
    pub(super) fn new(max_streams: u32, now: Instant) -> Self {
        Self {
            control: Allowance::new(CONTROL_BURST, CONTROL_RATE, now),
            resets: Allowance::new((2.0 * f64::from(max_streams)).max(CONTROL_BURST), RESET_RATE, now),
        }
    }

    /// Counts a frame that arrived, and returns whether it is one too many.
    pub(super) fn is_exceeded_by(&mut self, frame: Frame, now: Instant) -> bool {
        match frame.kind {
            kind::HEADERS => self.control.add(CONTROL_PER_CALL),
            kind::DATA if frame.len > 0 => {}
            kind::RST_STREAM => return !self.resets.take(now),
            _ => return !self.control.take(now),
        }
        false
    }

    /// Counts bytes that were sent to the caller.
    pub(super) fn sent(&mut self, bytes: usize) {
        #[allow(clippy::cast_precision_loss, reason = "a write is far shorter than 2^52 bytes")]
        self.control.add(bytes as f64 / BYTES_PER_CONTROL);
    }
}

/// A token bucket.
#[derive(Debug)]
struct Allowance {
    left: f64,
    most: f64,
    per_second: f64,
    refilled: Instant,
}

impl Allowance {
    fn new(most: f64, per_second: f64, now: Instant) -> Self {
        Self { left: most, most, per_second, refilled: now }
    }

    fn add(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.most);
    }

    fn take(&mut self, now: Instant) -> bool {
        if self.left < 1.0 {
            let elapsed: Duration = now.saturating_duration_since(self.refilled);
            self.refilled = now;
            self.add(elapsed.as_secs_f64() * self.per_second);
        }
        let some = self.left >= 1.0;
        if some {
            self.left -= 1.0;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::connection::frames::FrameHeaders;

    const PING: u8 = 0x6;
    const WINDOW_UPDATE: u8 = 0x8;

    fn frame(kind: u8, len: u8) -> Frame {
        let (mut headers, mut found) = (FrameHeaders::default(), None);
        headers.read(&[0; 24], |_| {});
        headers.read(&[0, 0, len, kind, 0, 0, 0, 0, 1], |frame| found = Some(frame));
        found.unwrap()
    }

    /// How many of these frames are accepted before one is too many, up to 100,000.
    fn taken(flood: &mut Flood, now: Instant, kind: u8, len: u8) -> usize {
        (0..100_000).take_while(|_| !flood.is_exceeded_by(frame(kind, len), now)).count()
    }

    #[tokio::test]
    async fn control_frames_without_traffic_are_a_flood() {
        let now = Instant::now();
        for (kind, len) in
            [(PING, 8), (kind::SETTINGS, 0), (WINDOW_UPDATE, 4), (0x2, 5), (0x42, 0), (kind::DATA, 0)]
        {
            let mut flood = Flood::new(1_000, now);
            assert_eq!(taken(&mut flood, now, kind, len), 2_000, "{kind}");
            assert_eq!(taken(&mut flood, now + Duration::from_secs(1), kind, len), 500, "{kind}");
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_may_send_a_window_update_for_every_frame() {
        let (mut flood, now) = (Flood::new(1_000, Instant::now()), Instant::now());
        for _ in 0..100_000 {
            flood.sent(2 * 256);
            assert!(!flood.is_exceeded_by(frame(WINDOW_UPDATE, 4), now));
            assert!(!flood.is_exceeded_by(frame(WINDOW_UPDATE, 4), now));
        }
    }

    #[tokio::test]
    async fn calls_data_and_bursts_of_resets_are_not_a_flood() {
        let now = Instant::now();
        let mut flood = Flood::new(1_000, now);
        assert_eq!(taken(&mut flood, now, kind::HEADERS, 9), 100_000);
        assert_eq!(taken(&mut flood, now, kind::DATA, 1), 100_000);
        assert_eq!(taken(&mut flood, now, kind::RST_STREAM, 4), 2_000);
        assert_eq!(taken(&mut Flood::new(5_000, now), now, kind::RST_STREAM, 4), 10_000);
    }
}
