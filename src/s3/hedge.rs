//! Two attempts of one read beside each other: whichever is answered first is what the read gets.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html>

use std::pin::pin;

use futures::future::{Either, select};

use super::failure::Failure;
use crate::transport::Again;

/// What the second attempt takes of what the store's retry quota can spare. It comes back if that attempt is the one
/// that was needed. So where all answers are slow, and not a few, only every fifth success is soon worth a second attempt.
pub(super) const COST: u32 = 5;

/// How two attempts ended.
#[derive(Debug)]
pub(super) struct Race<T> {
    pub(super) outcome: Result<T, Failure>,
    pub(super) won_by_second: bool,
    /// The other was still under way.
    pub(super) overtaken: bool,
}

/// Awaits the first outcome that settles the matter. A failure that may pass waits for the other attempt; where both
/// have failed, the first attempt's counts, as if there had been no other.
pub(super) async fn race<T>(
    first: impl Future<Output = Result<T, Failure>> + Unpin,
    second: impl Future<Output = Result<T, Failure>>,
) -> Race<T> {
    let (outcome, won_by_second, overtaken) = match select(first, pin!(second)).await {
        Either::Left((outcome, _)) if settles(&outcome) => (outcome, false, true),
        Either::Right((outcome, _)) if settles(&outcome) => (outcome, true, true),
        Either::Right((_, first)) => (first.await, false, false),
        Either::Left((outcome, second)) => match second.await {
            later if settles(&later) => (later, true, false),
            _ => (outcome, false, false),
        },
    };
    Race { outcome, won_by_second, overtaken }
}

/// Whether this is S3's word on the matter: a success, or an error that asking the same once more would not change, such
/// as "no such object", "not modified" or "another region". An attempt without an answer says nothing of the other.
fn settles<T>(outcome: &Result<T, Failure>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(failure) => failure.again == Again::No && failure.error.service().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, StatusCode};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::s3::{
        Error, ErrorKind,
        failure::{Subject, fatal, of_answer},
    };

    type Outcome = Result<u16, Failure>;

    fn answer(status: u16) -> Outcome {
        let code = StatusCode::from_u16(status).unwrap();
        if code.is_success() {
            return Ok(status);
        }
        let subject = Subject { object: true, retries_conflict: true };
        Err(of_answer(code, &HeaderMap::new(), "", subject))
    }

    fn none() -> Outcome {
        Err(fatal(Error::new(ErrorKind::CredentialsUnavailable, "none")))
    }

    async fn after(seconds: u64, outcome: Outcome) -> Outcome {
        sleep(Duration::from_secs(seconds)).await;
        outcome
    }

    #[tokio::test(start_paused = true)]
    async fn what_settles_the_matter_first_wins() {
        // After how many seconds each ends and how; then which wins, whether it is the second, after how many seconds,
        // and whether the other was under way.
        let cases = [
            ((2, answer(200)), (1, answer(206)), (206, true, 1, true)),
            ((1, answer(200)), (2, answer(206)), (200, false, 1, true)),
            ((2, answer(200)), (1, answer(503)), (200, false, 2, false)),
            ((2, answer(200)), (1, none()), (200, false, 2, false)),
            ((1, answer(503)), (2, answer(206)), (206, true, 2, false)),
            ((1, none()), (2, answer(206)), (206, true, 2, false)),
            ((1, answer(503)), (2, answer(500)), (503, false, 2, false)),
            ((2, answer(503)), (1, answer(500)), (503, false, 2, false)),
            ((1, answer(503)), (2, none()), (503, false, 2, false)),
            ((9, answer(200)), (1, answer(404)), (404, true, 1, true)),
            ((1, answer(304)), (9, answer(200)), (304, false, 1, true)),
            ((1, answer(503)), (2, answer(301)), (301, true, 2, false)),
        ];
        for (number, (first, second, expected)) in cases.into_iter().enumerate() {
            let began = Instant::now();
            let (first, second) = (pin!(after(first.0, first.1)), after(second.0, second.1));
            let Race { outcome, won_by_second, overtaken } = race(first, second).await;
            let status = outcome
                .unwrap_or_else(|failure| failure.error.service().map_or(0, |service| service.http_status));
            let found = (status, won_by_second, began.elapsed().as_secs(), overtaken);
            assert_eq!(found, expected, "case {number}");
        }
    }
}
