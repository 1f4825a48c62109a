//! The client for a bucket. It signs each attempt, retries failed attempts, and remembers S3's corrections of the
//! region and the clock.

mod answer;
mod attempt;
mod place;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use tokio::time::Instant;

pub(super) use self::answer::{Answer, Document};
use self::{
    answer::{Buffered, ReadAnswer, Unbuffered},
    place::{Place, Signer},
};
use super::{
    BucketSettings, ChecksumAlgorithm, Error, ErrorKind,
    endpoint::{self, Endpoint},
    page::{Page, Room},
    request::Request,
    sign::SigningKeys,
    slow_down::SlowDown,
};
use crate::{
    credentials::{CredentialProvider, Credentials, CredentialsError, Origin},
    telemetry::{CallerUsage, Metrics, S3Requests},
    transport::{Attempts, Circuit, ConnectionCounts, HttpClient, Retry, RetryPolicy, RetryQuota},
};

/// Error codes that say that a setting or the tags of an object do not exist. These are answers, not failures.
const NOTHING_SET: [&str; 3] = ["NoSuchCORSConfiguration", "NoSuchTagSet", "NoSuchTagSetError"];

/// A client for one bucket. Its requests may have a deadline. Cheap to clone; clones share what they learn about the
/// bucket.
#[derive(Debug, Clone)]
pub struct Client {
    bucket: Arc<Bucket>,
    deadline: Option<Instant>,
    retries: bool,
    /// Where the client records that S3 throttles its requests.
    slow_down: Option<SlowDown>,
    /// Where the requests are counted. `None`: nowhere.
    usage: Option<CallerUsage>,
    /// Where the ids of the responses are recorded, for the audit log.
    responses: Option<S3Requests>,
}

/// What all clients of a bucket share.
#[derive(Debug)]
struct Bucket {
    settings: BucketSettings,
    http: HttpClient,
    credentials: CredentialProvider,
    retry: RetryPolicy,
    quota: RetryQuota,
    circuit: Circuit,
    /// How long to wait for the response to a read to begin before a second request is sent. `None` sends no second
    /// request.
    hedge_after: Option<Duration>,
    place: Mutex<Place>,
    /// How far S3's clock is ahead of ours, in seconds.
    clock_offset: AtomicI64,
    /// Whether the server has shown that the bucket exists.
    seen: AtomicBool,
    keys: SigningKeys,
    metrics: Metrics,
    last_error: ArcSwapOption<LastError>,
}

/// The last failure of a bucket's requests that no caller caused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When it happened.
    pub at: SystemTime,
    /// What failed and why, for operators.
    pub message: String,
}

impl Client {
    /// Creates a client without a deadline, and without connecting. If the response to a read has not begun after
    /// `hedge_after`, the client sends a second request.
    pub fn new(
        settings: BucketSettings,
        http: HttpClient,
        credentials: CredentialProvider,
        retry: RetryPolicy,
        hedge_after: Option<Duration>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::of(&settings, &settings.region)?;
        Endpoint::public(&settings, &settings.region)?;
        let bucket = Bucket {
            place: Mutex::new(Place { region: settings.region.clone(), endpoint }),
            settings,
            http,
            credentials,
            circuit: Circuit::new(retry.circuit_breaker.clone()),
            retry,
            quota: RetryQuota::default(),
            hedge_after,
            clock_offset: AtomicI64::new(0),
            seen: AtomicBool::new(false),
            keys: SigningKeys::default(),
            metrics,
            last_error: ArcSwapOption::empty(),
        };
        Ok(Self {
            bucket: Arc::new(bucket),
            deadline: None,
            retries: true,
            slow_down: None,
            usage: None,
            responses: None,
        })
    }

    /// The same client, whose requests start no attempt but the first after `deadline`.
    #[must_use]
    pub(crate) fn until(&self, deadline: Option<Instant>) -> Self {
        Self { deadline, ..self.clone() }
    }

    /// The same client, which does not retry requests, except after corrections of the region, the clock and the
    /// credentials.
    #[must_use]
    pub(crate) fn without_retries(&self) -> Self {
        Self { retries: false, ..self.clone() }
    }

    /// The same client, which also records in `slow_down` if S3 throttles a request, whether or not a retry succeeds.
    #[must_use]
    pub(crate) fn recording(&self, slow_down: SlowDown) -> Self {
        Self { slow_down: Some(slow_down), ..self.clone() }
    }

    /// The same client, whose requests count as used by this caller.
    #[must_use]
    pub(crate) fn counted_by(self, usage: CallerUsage) -> Self {
        Self { usage: Some(usage), ..self }
    }

    /// The same client, which records the ids of S3's responses.
    #[must_use]
    pub(crate) fn recorded_by(self, responses: Option<S3Requests>) -> Self {
        Self { responses, ..self }
    }

    /// The deadline of the requests.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn settings(&self) -> &BucketSettings {
        &self.bucket.settings
    }

    /// The checksum algorithm of a write: the requested one, else the store's, else crc64nvme on Amazon S3. Other
    /// servers get no checksum by default, because some reject algorithms that they do not know.
    pub fn checksum_for(&self, asked: Option<ChecksumAlgorithm>) -> Option<ChecksumAlgorithm> {
        let default = || endpoint::is_amazon(&self.bucket.settings).then_some(ChecksumAlgorithm::Crc64Nvme);
        asked.or(self.bucket.settings.checksum_algorithm).or_else(default)
    }

    /// Whether the endpoint is Amazon S3.
    pub(crate) fn is_amazon(&self) -> bool {
        endpoint::is_amazon(&self.bucket.settings)
    }

    pub(super) fn keys(&self) -> &SigningKeys {
        &self.bucket.keys
    }

    /// The credentials to sign with. `None`: requests are unsigned.
    pub(super) async fn signing_credentials(&self) -> Result<Option<Arc<Credentials>>, Error> {
        self.credentials().await.map_err(unavailable)
    }

    pub(super) fn circuit(&self) -> &Circuit {
        &self.bucket.circuit
    }

    /// The connections of the bucket's clients.
    pub(crate) fn connections(&self) -> ConnectionCounts {
        self.bucket.http.connections()
    }

    /// Whether this is the only client of the bucket.
    pub(crate) fn is_only_clone(&self) -> bool {
        Arc::strong_count(&self.bucket) == 1
    }

    /// Closes the connections that carry no request.
    pub(crate) fn close_idle_connections(&self) {
        self.bucket.http.close_idle();
    }

    /// The last failure of the bucket's requests that no caller caused.
    pub(crate) fn last_error(&self) -> Option<Arc<LastError>> {
        self.bucket.last_error.load_full()
    }

    /// Where the credentials in use come from.
    pub(crate) fn credentials_origin(&self) -> Origin {
        self.bucket.credentials.origin()
    }

    /// The metrics that count this client's requests.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.bucket.metrics
    }

    /// Checks that credentials are available, and returns where they come from. The error says where Longshore looked
    /// for them.
    pub async fn find_credentials(&self) -> Result<Origin, Error> {
        self.credentials().await.map_err(unavailable)?;
        Ok(self.bucket.credentials.origin())
    }

    /// Sends a request and returns the response with its body still to be streamed.
    pub(super) async fn stream(&self, request: &Request) -> Result<Answer, Error> {
        self.send(request, Unbuffered).await
    }

    /// Sends a request whose response is a document or empty.
    pub(super) async fn document(&self, request: &Request) -> Result<Document, Error> {
        self.send(request, Buffered).await
    }

    /// Sends a request whose response is a listing page. Reserves memory for the page from `room`.
    pub(super) async fn page(&self, request: &Request, room: &mut impl Room) -> Result<Document, Error> {
        self.send(request, Page::new(room)).await
    }

    /// Whether a failed HEAD request has several possible causes. The response to HEAD has no body that would name
    /// the cause.
    pub(super) fn is_ambiguous(&self, error: &Error) -> bool {
        let Some(service) = error.service().filter(|service| service.code.is_empty()) else { return false };
        match service.http_status {
            400 | 401 | 403 | 405 => true,
            404 => !self.bucket.seen.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Like [`Client::document`], for a request whose failure says nothing about the store. It is not reported as the
    /// store's last failure.
    pub(super) async fn optional_document(&self, request: &Request) -> Result<Document, Error> {
        self.try_send(request, Buffered).await
    }

    async fn send<R: ReadAnswer>(&self, request: &Request, reader: R) -> Result<R::Read, Error> {
        self.try_send(request, reader).await.inspect_err(|error| {
            let is_answer = error.code().is_some_and(|code| NOTHING_SET.contains(&code));
            if !is_answer && !error.kind().is_callers() {
                let last = LastError { at: SystemTime::now(), message: error.to_string() };
                self.bucket.last_error.store(Some(Arc::new(last)));
            }
        })
    }

    async fn try_send<R: ReadAnswer>(&self, request: &Request, mut reader: R) -> Result<R::Read, Error> {
        let payload_hash = self.payload_hash(request).await;
        let mut attempts = Attempts::new(&self.bucket.retry, &self.bucket.quota, self.deadline);
        let mut corrected = Vec::new();
        let mut unclear = false;
        let mut last = None;
        loop {
            let credentials = match (self.credentials().await, last.take()) {
                (Ok(credentials), None) => credentials,
                (Ok(credentials), Some(_)) if self.is_in_time() => credentials,
                (Err(error), None) => return Err(unavailable(error)),
                // The attempt before says more than that this one cannot be made.
                (Ok(_) | Err(_), Some(failed)) => return Err(failed),
            };
            let signer = Signer { place: self.place(), credentials };
            let mut awaited = self.awaiting(request);
            let outcome = match self.hedged(request, &payload_hash, &signer, attempts.made() > 1).await {
                Ok(answer) => {
                    awaited.has_begun();
                    reader.read(answer, request.subject()).await
                }
                Err(failure) => Err(failure),
            };
            self.record(awaited, outcome.as_ref().err());
            let failure = match outcome {
                Ok(answer) => {
                    attempts.succeeded();
                    if let Some(credentials) = &signer.credentials {
                        self.bucket.credentials.report_accepted(credentials);
                    }
                    self.bucket.seen.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if failure.error.code() == Some("NoSuchKey") {
                self.bucket.seen.store(true, Ordering::Relaxed);
            }
            if let Some(slow_down) = &self.slow_down {
                slow_down.record(&failure.error);
            }
            unclear |= failure.error.unclear();
            let again = match self.correct(&failure, &signer, &mut corrected) {
                Retry::Later { .. } if !self.retries => Retry::No,
                again => again,
            };
            let error =
                failure.error.after_attempts(attempts.made(), attempts.elapsed()).with_unclear(unclear);
            if !attempts.again(again).await {
                return Err(if attempts.quota_exhausted() { error.with_quota_exhausted() } else { error });
            }
            last = Some(error);
        }
    }

    fn is_in_time(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }
}

fn unavailable(error: CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "the store has no credentials").caused_by(error)
}
