//! Reads a page of a listing, and reserves memory for it as it arrives.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    Error,
    error::invalid_response,
    failed_attempt::{self, FailedAttempt},
};
use crate::transport::ResponseBody;

/// Maximum size of a page in bytes: 1,000 keys of 1,024 bytes, percent-encoded, and 1 KiB for the rest of each entry,
/// with room to spare.
const MAX_PAGE: usize = 5 * 1024 * 1024;
/// Maximum number of XML tags on a page. Parsed elements without text take far more memory than their source. S3
/// writes about 20 tags for each of 1,000 entries.
const MAX_TAGS: usize = 100_000;
/// The number of bytes to reserve first if the response does not state its length. Covers the text and the parsed
/// page.
const FIRST: u64 = 256 * 1024;
/// The number of bytes to reserve at a time after that.
const STEP: u64 = 64 * 1024;
/// Maximum time for a whole page to arrive. Without a limit, a server could trickle bytes for ever.
const TIME: Duration = Duration::from_mins(1);

/// A source of memory for a page.
pub(crate) trait Room: Send {
    /// Reserves `bytes` more and waits until they are available.
    fn grow(&mut self, bytes: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Reads a page into memory reserved from a [`Room`].
#[derive(Debug)]
pub(super) struct Page<'a, R> {
    room: &'a mut R,
    granted: u64,
}

impl<'a, R: Room> Page<'a, R> {
    pub(super) fn new(room: &'a mut R) -> Self {
        Self { room, granted: 0 }
    }

    /// Reads the whole page and returns its text.
    pub(super) async fn collect(&mut self, mut body: ResponseBody) -> Result<Vec<u8>, FailedAttempt> {
        let (mut text, mut tags, mut left) = (Vec::new(), 0, TIME);
        loop {
            let began = Instant::now();
            let Ok(more) = timeout(left, body.next()).await else {
                return Err(failed_attempt::too_slow("a page of a listing was not complete in time"));
            };
            left = left.saturating_sub(began.elapsed());
            let Some(more) = more else { break };
            let more = more.map_err(failed_attempt::of_transport)?;
            tags += more.iter().map(|byte| usize::from(*byte == b'<')).sum::<usize>();
            if text.len() + more.len() > MAX_PAGE || tags > MAX_TAGS {
                return Err(failed_attempt::fatal(invalid_response("a page of a listing is too large")));
            }
            let needed = 2 * (text.len() + more.len()) as u64;
            if needed > self.granted {
                let first =
                    if self.granted > 0 { STEP } else { body.length().map_or(FIRST, |length| 2 * length) };
                let step = (needed - self.granted).max(first.min(2 * MAX_PAGE as u64));
                self.room.grow(step).await.map_err(failed_attempt::fatal)?;
                self.granted += step;
            }
            text.extend_from_slice(&more);
        }
        Ok(text)
    }
}
