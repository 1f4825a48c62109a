//! The client for a bucket. It signs each attempt, retries failed attempts, and remembers S3's corrections of the
//! region and the clock.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, HOST},
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    BucketSettings, ChecksumAlgorithm, Error, ErrorKind, encryption,
    endpoint::{self, Endpoint},
    failed_attempt::{self, Correction, FailedAttempt, Subject},
    hedge,
    page::{Page, Room},
    price_class,
    request::Request,
    sign::{EMPTY_PAYLOAD, SigningKeys, Target, UNSIGNED_PAYLOAD},
    slow_down::SlowDown,
    xml,
};
use crate::{
    credentials::{CredentialProvider, Credentials, CredentialsError, Origin},
    telemetry::{CallerUsage, Metrics, S3Requests},
    transport::{
        Attempts, Circuit, ConnectionCounts, HttpClient, ResponseBody, Retry, RetryPolicy, RetryQuota,
    },
};

/// The number of read timeouts to wait for a server that assembles parts or copies an object before it responds. S3
/// documents that this can take several minutes
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>), and other servers send
/// nothing in the meantime. A retry that comes too soon would find the work done or half done.
const LONG_WORK: u32 = 20;

/// The part of the time before a call's deadline that is reserved for telling the caller that there are no credentials.
const RESERVED_DIVISOR: u32 = 5;

/// The longest time that is reserved.
const MOST_RESERVED: Duration = Duration::from_millis(500);

/// Maximum size in bytes of a document that is not a listing page: results for 1,000 keys of 1,024 bytes,
/// percent-encoded, with room to spare.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// The header with the id that S3 gave to a request.
const REQUEST_ID: &str = "x-amz-request-id";

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

/// What an attempt is signed for and with.
#[derive(Debug)]
struct Signer {
    place: Place,
    /// `None`: the request is unsigned.
    credentials: Option<Arc<Credentials>>,
}

/// The bucket's location, as far as it is known.
#[derive(Debug, Clone)]
struct Place {
    region: String,
    endpoint: Endpoint,
}

/// A response whose headers have arrived.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ResponseBody,
}

/// A response that has been read completely.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Reads a successful response. If reading fails, the attempt has failed.
trait ReadAnswer: Send {
    type Read: Send;

    fn read(
        &mut self,
        answer: Answer,
        subject: Subject,
    ) -> impl Future<Output = Result<Self::Read, FailedAttempt>> + Send;
}

/// Leaves the body to the caller.
struct Unbuffered;

impl ReadAnswer for Unbuffered {
    type Read = Answer;

    async fn read(&mut self, answer: Answer, _: Subject) -> Result<Answer, FailedAttempt> {
        Ok(answer)
    }
}

/// Reads the whole body.
struct Buffered;

impl ReadAnswer for Buffered {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, FailedAttempt> {
        let Answer { status, headers, body } = answer;
        let body = body.collect(MAX_DOCUMENT).await.map_err(failed_attempt::of_transport)?;
        document(status, headers, body.into(), subject)
    }
}

impl<R: Room> ReadAnswer for Page<'_, R> {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, FailedAttempt> {
        let Answer { status, headers, body } = answer;
        let text = self.collect(body).await?;
        document(status, headers, text, subject)
    }
}

/// S3 can respond to a long operation with status 200 and then send an error
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>). Such a response is a failure
/// like any other.
fn document(
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    subject: Subject,
) -> Result<Document, FailedAttempt> {
    let body = xml::into_text(body);
    if xml::root(&body).as_deref() == Some("Error") {
        return Err(failed_attempt::of_answer(status, &headers, &body, subject));
    }
    Ok(Document { headers, body })
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

    pub(super) fn circuit(&self) -> &Circuit {
        &self.bucket.circuit
    }

    /// The connections of the bucket's clients.
    pub(crate) fn connections(&self) -> ConnectionCounts {
        self.bucket.http.connections()
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

    async fn send<R: ReadAnswer>(&self, request: &Request, reader: R) -> Result<R::Read, Error> {
        self.try_send(request, reader).await.inspect_err(|error| {
            if !error.kind().is_callers() {
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
            self.bucket.metrics.s3_retry(request.operation);
        }
    }

    fn is_in_time(&self) -> bool {
        self.deadline.is_none_or(|deadline| Instant::now() < deadline)
    }

    /// Makes an attempt. If the response to a read has not begun in time, makes a second attempt concurrently, which does
    /// not count as a retry.
    async fn hedged(
        &self,
        request: &Request,
        payload_hash: &str,
        signer: &Signer,
        is_retry: bool,
    ) -> Result<Answer, FailedAttempt> {
        let mut first = pin!(self.attempt(request, payload_hash, signer, is_retry));
        let Some(wait) = self.bucket.hedge_after.filter(|_| request.reads_object()) else {
            return first.await;
        };
        if let Ok(outcome) = tokio::time::timeout(wait, first.as_mut()).await {
            return outcome;
        }
        if !self.is_in_time() || !self.bucket.quota.take_spare(hedge::COST) {
            return first.await;
        }
        self.bucket.metrics.s3_hedge(request.operation);
        let second = self.attempt(request, payload_hash, signer, false);
        // Boxed: hedges are rare, and unboxed they would enlarge the future of every request.
        let race = Box::pin(hedge::race(first, second)).await;
        if race.won_by_second {
            self.bucket.quota.put_back(hedge::COST);
        }
        if race.overtaken {
            self.bucket.metrics.s3_attempt(request.operation, "overtaken");
        }
        race.outcome
    }

    async fn attempt(
        &self,
        request: &Request,
        payload_hash: &str,
        signer: &Signer,
        is_retry: bool,
    ) -> Result<Answer, FailedAttempt> {
        let head = self.head(request, payload_hash, signer).map_err(failed_attempt::fatal)?;
        let timeout_factor = if request.slow_on_server { LONG_WORK } else { 1 };
        let count = || {
            if let Some(usage) = &self.usage {
                usage.s3_request(price_class::of(request.operation));
                if is_retry {
                    usage.s3_retry();
                }
            }
        };
        let answer = match self.bucket.http.send_counted(head, &request.payload, timeout_factor, count).await
        {
            Ok(answer) => answer,
            Err(error) => {
                self.bucket.metrics.s3_attempt(request.operation, "error");
                return Err(failed_attempt::of_transport(error));
            }
        };
        let (head, body) = answer.into_parts();
        if let Some(responses) = &self.responses {
            responses.record(head.headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()));
        }
        self.bucket.metrics.s3_attempt(request.operation, head.status.as_str());
        if head.status.is_success() {
            return Ok(Answer { status: head.status, headers: head.headers, body });
        }
        // If the body cannot be read, the status alone classifies the error.
        let body = body.collect(MAX_DOCUMENT).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        Err(failed_attempt::of_answer(head.status, &head.headers, &body, request.subject()))
    }

    /// The credentials of the next attempt; `None` if it is unsigned. Stops waiting for the provider shortly before the
    /// deadline, so that the caller learns what the call waited for.
    async fn credentials(&self) -> Result<Option<Arc<Credentials>>, CredentialsError> {
        if self.bucket.settings.skip_signature {
            return Ok(None);
        }
        let within = self.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            left.saturating_sub((left / RESERVED_DIVISOR).min(MOST_RESERVED))
        });
        self.bucket.credentials.credentials(within).await
    }

    /// The request line and headers of one attempt, signed with the current time.
    fn head(
        &self,
        request: &Request,
        payload_hash: &str,
        Signer { place, credentials }: &Signer,
    ) -> Result<http::request::Parts, Error> {
        let path = place.endpoint.path(request.key.as_deref());
        let query = request.canonical_query();
        let mut headers = request.headers.clone();
        let host = HeaderValue::from_str(place.endpoint.host()).map_err(|_| {
            Error::new(ErrorKind::StoreMisconfigured, "the endpoint's host is not a valid header value")
        })?;
        headers.insert(HOST, host);
        if self.bucket.settings.request_payer {
            headers.insert("x-amz-request-payer", HeaderValue::from_static("requester"));
        }
        if let Some(access) = request.access {
            encryption::add_headers(&mut headers, access, &self.bucket.settings)?;
        }
        if let Some(credentials) = credentials {
            let target = Target { method: &request.method, path: &path, query: &query, payload_hash };
            self.bucket.keys.sign(&target, &mut headers, credentials, &place.region, self.server_time())?;
        }
        // Not signed, because proxies rewrite it.
        if request.reads_object() {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = request.method.clone();
        head.uri = place.endpoint.uri(&path, &query)?;
        head.headers = headers;
        Ok(head)
    }

    /// The value of `x-amz-content-sha256`. Unless `unsigned_payload` is set, the hash is omitted if TLS and a checksum
    /// already protect the payload, because it costs more CPU time than the rest of the request.
    async fn payload_hash(&self, request: &Request) -> String {
        if request.payload.is_empty() {
            return EMPTY_PAYLOAD.to_owned();
        }
        let has_checksum = || {
            ChecksumAlgorithm::ALL.iter().any(|algorithm| request.headers.contains_key(algorithm.header()))
        };
        let unsigned = self.bucket.settings.unsigned_payload;
        if unsigned.unwrap_or_else(|| self.place().endpoint.is_tls() && has_checksum()) {
            return UNSIGNED_PAYLOAD.to_owned();
        }
        let mut hasher = Sha256::new();
        request.payload.each_piece(|piece| hasher.update(piece)).await;
        hex::encode(hasher.finalize())
    }

    /// Applies the correction in a failure, each kind at most once per request. A region that the attempt already
    /// used is not a correction.
    fn correct(
        &self,
        failure: &FailedAttempt,
        used: &Signer,
        corrected: &mut Vec<std::mem::Discriminant<Correction>>,
    ) -> Retry {
        let Some(correction) = &failure.correction else { return failure.again };
        let kind = std::mem::discriminant(correction);
        if corrected.contains(&kind) {
            return failure.again;
        }
        let applied = match correction {
            Correction::Region(region) => self.move_to(region, &used.place.region),
            Correction::Credentials => used
                .credentials
                .as_ref()
                .is_some_and(|credentials| self.bucket.credentials.report_rejected(credentials)),
            Correction::Clock(theirs) => {
                self.bucket
                    .clock_offset
                    .store(seconds_between(SystemTime::now(), *theirs), Ordering::Relaxed);
                true
            }
            Correction::Replay => true,
        };
        corrected.push(kind);
        if applied { Retry::Now } else { failure.again }
    }

    /// Switches to `region` and returns true if it is valid and differs from `used`, the region that the attempt was
    /// signed for. A concurrent call may already have switched.
    fn move_to(&self, region: &str, used: &str) -> bool {
        let plausible = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plausible || region == used {
            return false;
        }
        let Ok(endpoint) = Endpoint::of(&self.bucket.settings, region) else { return false };
        let mut place = self.bucket.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.region != region {
            let bucket = &self.bucket.settings.bucket;
            tracing::info!(bucket, from = place.region, to = region, "the bucket is in another region");
            *place = Place { region: region.to_owned(), endpoint };
        }
        true
    }

    fn place(&self) -> Place {
        self.bucket.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The time of S3's clock.
    fn server_time(&self) -> SystemTime {
        let offset = self.bucket.clock_offset.load(Ordering::Relaxed);
        let amount = Duration::from_secs(offset.unsigned_abs());
        let ours = SystemTime::now();
        if offset < 0 { ours - amount } else { ours + amount }
    }
}

fn seconds_between(ours: SystemTime, theirs: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match theirs.duration_since(ours) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

fn unavailable(error: CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "the store has no credentials").caused_by(error)
}
