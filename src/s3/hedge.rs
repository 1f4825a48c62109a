//! Hedged reads: two concurrent attempts of one read. The read takes the first response.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance-design-patterns.html>

use std::pin::pin;

use futures::future::{Either, select};

use super::failed_attempt::FailedAttempt;
use crate::transport::Retry;

/// The number of tokens that a second attempt takes from the spare half of the store's retry quota. The tokens are
/// returned if the second attempt wins. If all responses are slow, the quota soon allows a second attempt only once per
/// five successes.
pub(super) const COST: u32 = 5;

/// The outcome of two concurrent attempts.
#[derive(Debug)]
pub(super) struct Race<T> {
    pub(super) outcome: Result<T, FailedAttempt>,
    pub(super) won_by_second: bool,
    /// Whether the losing attempt was still in flight.
    pub(super) overtaken: bool,
}

/// Waits for the first conclusive outcome. After an inconclusive failure, waits for the other attempt. If both fail
/// that way, returns the first attempt's outcome, as if there had been no second attempt.
pub(super) async fn race<T>(
    first: impl Future<Output = Result<T, FailedAttempt>> + Unpin,
    second: impl Future<Output = Result<T, FailedAttempt>>,
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

/// Whether an outcome is conclusive: a success, or an error from S3 that a repeated request would not change, such as
/// "no such object", "not modified" or "another region". An attempt without a response says nothing about the other.
fn settles<T>(outcome: &Result<T, FailedAttempt>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(failure) => failure.again == Retry::No && failure.error.service().is_some(),
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
        failed_attempt::{Subject, fatal, of_answer},
    };

    type Outcome = Result<u16, FailedAttempt>;

    fn answer(status: u16) -> Outcome {
        let code = StatusCode::from_u16(status).unwrap();
        if code.is_success() {
            return Ok(status);
        }
        let subject = Subject { object: true, upload: false, retries_conflict: true };
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
    async fn the_first_conclusive_outcome_wins() {
        // For each attempt, its duration in seconds and its outcome. Then the expected status, whether the second
        // attempt wins, the total duration in seconds, and whether the losing attempt was still in flight.
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
