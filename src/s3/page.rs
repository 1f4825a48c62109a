//! Reading a page of a listing, in memory that is asked for as the page comes.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    Error,
    failure::{self, Failure},
    headers::not_s3,
};
use crate::transport::ResponseBody;

/// The largest page: 1,000 keys of 1,024 bytes, percent-encoded, and 1 KiB for the rest of each entry, with room to spare.
const MAX_PAGE: usize = 5 * 1024 * 1024;
/// The most tags on a page: elements without text take far more memory once they are read than as text. S3 writes some 20 for
/// each of 1,000 entries.
const MAX_TAGS: usize = 100_000;
/// How much memory is asked for at first where the answer does not say its length, for the text and for what is read out of it; and
/// how much at a time from then on.
const FIRST: u64 = 256 * 1024;
const STEP: u64 = 64 * 1024;
/// How long a page may take to come in all: without a bound a server could send a byte now and then for ever.
const TIME: Duration = Duration::from_mins(1);

/// Memory for a page.
pub(crate) trait Room: Send {
    /// Asks for `bytes` more, and waits until they are there.
    fn grow(&mut self, bytes: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// Reads a page into memory from a [`Room`].
#[derive(Debug)]
pub(super) struct Page<'a, R> {
    room: &'a mut R,
    granted: u64,
}

impl<'a, R: Room> Page<'a, R> {
    pub(super) fn new(room: &'a mut R) -> Self {
        Self { room, granted: 0 }
    }

    /// The page's text.
    pub(super) async fn collect(&mut self, mut body: ResponseBody) -> Result<Vec<u8>, Failure> {
        let (mut text, mut tags, mut left) = (Vec::new(), 0, TIME);
        loop {
            let began = Instant::now();
            let Ok(more) = timeout(left, body.next()).await else {
                return Err(failure::too_slow("a page of a listing did not come to its end in time"));
            };
            left = left.saturating_sub(began.elapsed());
            let Some(more) = more else { break };
            let more = more.map_err(|error| failure::of_transport(&error))?;
            tags += more.iter().map(|byte| usize::from(*byte == b'<')).sum::<usize>();
            if text.len() + more.len() > MAX_PAGE || tags > MAX_TAGS {
                return Err(failure::fatal(not_s3("a page of a listing is larger than any of S3's")));
            }
            let needed = 2 * (text.len() + more.len()) as u64;
            if needed > self.granted {
                let first =
                    if self.granted > 0 { STEP } else { body.length().map_or(FIRST, |length| 2 * length) };
                let step = (needed - self.granted).max(first.min(2 * MAX_PAGE as u64));
                self.room.grow(step).await.map_err(failure::fatal)?;
                self.granted += step;
            }
            text.extend_from_slice(&more);
        }
        Ok(text)
    }
}
