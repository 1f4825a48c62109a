//! Sending requests: each attempt signed anew, failures judged, S3's corrections remembered.

use std::{
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, HOST},
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    BucketSettings, ChecksumAlgorithm, Error, ErrorKind,
    endpoint::{self, Endpoint},
    failure::{self, Correction, Failure, Subject},
    hedge,
    page::{Page, Room},
    request::Request,
    sign::{EMPTY_PAYLOAD, SigningKeys, Target, UNSIGNED_PAYLOAD},
    xml,
};
use crate::{
    credentials::CredentialProvider,
    telemetry::Metrics,
    transport::{Again, Attempts, HttpClient, ResponseBody, RetryPolicy, RetryQuota},
};

/// How many read timeouts a server gets that has to put parts together or to copy an object before it answers. S3 says
/// that it may take several minutes (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>),
/// and other servers say nothing meanwhile. Asked again too soon they would find their own work done or half done.
const LONG_WORK: u32 = 20;

/// The largest document that is no page of a listing: results for 1,000 keys of 1,024 bytes, percent-encoded, with room to spare.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024;

/// A client of one bucket.
#[derive(Debug)]
pub struct Client {
    pub(super) settings: BucketSettings,
    http: HttpClient,
    credentials: CredentialProvider,
    retry: RetryPolicy,
    quota: RetryQuota,
    /// How long the answer to a read may take to begin before it is asked for once more; `None`: for ever.
    hedge_after: Option<Duration>,
    place: Mutex<Place>,
    /// How far S3's clock is ahead of ours, in seconds.
    clock_offset: AtomicI64,
    /// Whether the server has shown that the bucket exists.
    bucket_seen: AtomicBool,
    keys: SigningKeys,
    metrics: Metrics,
}

/// Where the bucket is, as far as is known.
#[derive(Debug, Clone)]
struct Place {
    region: String,
    endpoint: Endpoint,
}

/// An answer whose head has come.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: ResponseBody,
}

/// An answer that is there as a whole.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// How a successful answer is read; if that fails, so has the attempt.
trait ReadAnswer: Send {
    type Read: Send;

    fn read(
        &mut self,
        answer: Answer,
        subject: Subject,
    ) -> impl Future<Output = Result<Self::Read, Failure>> + Send;
}

/// Leaves the body to the caller.
struct Head;

impl ReadAnswer for Head {
    type Read = Answer;

    async fn read(&mut self, answer: Answer, _: Subject) -> Result<Answer, Failure> {
        Ok(answer)
    }
}

/// Reads the whole body.
struct Whole;

impl ReadAnswer for Whole {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, Failure> {
        let Answer { status, headers, body } = answer;
        let body = body.collect(MAX_DOCUMENT).await.map_err(|error| failure::of_transport(&error))?;
        document(status, headers, body.into(), subject)
    }
}

impl<R: Room> ReadAnswer for Page<'_, R> {
    type Read = Document;

    async fn read(&mut self, answer: Answer, subject: Subject) -> Result<Document, Failure> {
        let Answer { status, headers, body } = answer;
        let text = self.collect(body).await?;
        document(status, headers, text, subject)
    }
}

/// S3 may begin a long operation with status 200 and end it with an error
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>): that is a failure like
/// any other here.
fn document(
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    subject: Subject,
) -> Result<Document, Failure> {
    let body = xml::into_text(body);
    if xml::root(&body).as_deref() == Some("Error") {
        return Err(failure::of_answer(status, &headers, &body, subject));
    }
    Ok(Document { headers, body })
}

impl Client {
    /// A client; nothing is connected yet. A read whose answer has not begun after `hedge_after` is asked for once more.
    pub fn new(
        settings: BucketSettings,
        http: HttpClient,
        credentials: CredentialProvider,
        retry: RetryPolicy,
        hedge_after: Option<Duration>,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let endpoint = Endpoint::of(&settings, &settings.region)?;
        Ok(Self {
            place: Mutex::new(Place { region: settings.region.clone(), endpoint }),
            settings,
            http,
            credentials,
            retry,
            quota: RetryQuota::default(),
            hedge_after,
            clock_offset: AtomicI64::new(0),
            bucket_seen: AtomicBool::new(false),
            keys: SigningKeys::default(),
            metrics,
        })
    }

    /// The checksum that a write carries: the one asked for, else the store's, else crc64nvme on Amazon S3.
    /// Other servers get none unasked: some refuse what they do not know.
    pub fn checksum_for(&self, asked: Option<ChecksumAlgorithm>) -> Option<ChecksumAlgorithm> {
        let default = || endpoint::is_amazon(&self.settings).then_some(ChecksumAlgorithm::Crc64Nvme);
        asked.or(self.settings.checksum_algorithm).or_else(default)
    }

    /// Whether the endpoint is Amazon's.
    pub(crate) fn is_amazon(&self) -> bool {
        endpoint::is_amazon(&self.settings)
    }

    /// Where its requests are counted.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether credentials can be had; the error says where they were looked for.
    pub async fn find_credentials(&self) -> Result<(), Error> {
        self.credentials.credentials().await.map(drop).map_err(|error| unavailable(&error))
    }

    /// Sends a request whose answer is read as it comes.
    pub(super) async fn stream(&self, request: &Request, deadline: Option<Instant>) -> Result<Answer, Error> {
        self.send(request, deadline, Head).await
    }

    /// Sends a request whose answer is a document or nothing.
    pub(super) async fn document(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Document, Error> {
        self.send(request, deadline, Whole).await
    }

    /// Sends a request whose answer is a page of a listing, with memory for it from `room`.
    pub(super) async fn page(
        &self,
        request: &Request,
        deadline: Option<Instant>,
        room: &mut impl Room,
    ) -> Result<Document, Error> {
        self.send(request, deadline, Page::new(room)).await
    }

    /// Whether the answer to a HEAD request, which has no body, left open why it failed: a body would name one of several
    /// reasons.
    pub(super) fn says_too_little(&self, error: &Error) -> bool {
        let Some(service) = error.service().filter(|service| service.code.is_empty()) else { return false };
        match service.http_status {
            400 | 401 | 403 | 405 => true,
            404 => !self.bucket_seen.load(Ordering::Relaxed),
            _ => false,
        }
    }

    async fn send<R: ReadAnswer>(
        &self,
        request: &Request,
        deadline: Option<Instant>,
        mut reader: R,
    ) -> Result<R::Read, Error> {
        let payload_hash = self.payload_hash(request).await;
        let mut attempts = Attempts::new(&self.retry, &self.quota, deadline);
        let mut corrected = Vec::new();
        let mut unclear = false;
        loop {
            let place = self.place();
            let outcome = match self.hedged(request, &payload_hash, &place, deadline).await {
                Ok(answer) => reader.read(answer, request.subject()).await,
                Err(failure) => Err(failure),
            };
            let failure = match outcome {
                Ok(answer) => {
                    attempts.succeeded();
                    self.bucket_seen.store(true, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if failure.error.code() == Some("NoSuchKey") {
                self.bucket_seen.store(true, Ordering::Relaxed);
            }
            unclear |= failure.error.unclear();
            if !attempts.again(self.correct(&failure, &place, &mut corrected)).await {
                let error =
                    failure.error.after_attempts(attempts.made(), attempts.elapsed()).with_unclear(unclear);
                return Err(if attempts.quota_exhausted() { error.with_quota_exhausted() } else { error });
            }
            self.metrics.s3_retry(request.operation);
        }
    }

    /// An attempt, and where the answer to a read has not begun in time, another beside it.
    async fn hedged(
        &self,
        request: &Request,
        payload_hash: &str,
        place: &Place,
        deadline: Option<Instant>,
    ) -> Result<Answer, Failure> {
        let mut first = pin!(self.attempt(request, payload_hash, place));
        let Some(wait) = self.hedge_after.filter(|_| request.reads_object) else { return first.await };
        if let Ok(outcome) = tokio::time::timeout(wait, first.as_mut()).await {
            return outcome;
        }
        let in_time = deadline.is_none_or(|deadline| Instant::now() < deadline);
        if !in_time || !self.quota.take_spare(hedge::COST) {
            return first.await;
        }
        self.metrics.s3_hedge(request.operation);
        let second = self.attempt(request, payload_hash, place);
        // In a box: it is rare, and every request would otherwise need room for it.
        let race = Box::pin(hedge::race(first, second)).await;
        if race.won_by_second {
            self.quota.put_back(hedge::COST);
        }
        if race.overtaken {
            self.metrics.s3_attempt(request.operation, "overtaken");
        }
        race.outcome
    }

    async fn attempt(&self, request: &Request, payload_hash: &str, place: &Place) -> Result<Answer, Failure> {
        let head = self.head(request, payload_hash, place).await.map_err(failure::fatal)?;
        let patience = if request.works_long { LONG_WORK } else { 1 };
        let answer = match self.http.send(head, &request.payload, patience).await {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.s3_attempt(request.operation, "error");
                return Err(failure::of_transport(&error));
            }
        };
        let (head, body) = answer.into_parts();
        self.metrics.s3_attempt(request.operation, head.status.as_str());
        if head.status.is_success() {
            return Ok(Answer { status: head.status, headers: head.headers, body });
        }
        // What cannot be read of an error's body is not missed: the status says enough.
        let body = body.collect(MAX_DOCUMENT).await.unwrap_or_default();
        let body = String::from_utf8_lossy(&body);
        Err(failure::of_answer(head.status, &head.headers, &body, request.subject()))
    }

    /// Line and headers of one attempt, signed with the credentials and the clock of this moment.
    async fn head(
        &self,
        request: &Request,
        payload_hash: &str,
        place: &Place,
    ) -> Result<http::request::Parts, Error> {
        let path = place.endpoint.path(request.key.as_deref());
        let query = request.canonical_query();
        let mut headers = request.headers.clone();
        let host = HeaderValue::from_str(place.endpoint.host()).map_err(|_| {
            Error::new(ErrorKind::StoreMisconfigured, "the endpoint's host is not a header value")
        })?;
        headers.insert(HOST, host);
        if self.settings.request_payer {
            headers.insert("x-amz-request-payer", HeaderValue::from_static("requester"));
        }
        let credentials = if self.settings.skip_signature {
            None
        } else {
            self.credentials.credentials().await.map_err(|error| unavailable(&error))?
        };
        if let Some(credentials) = credentials {
            let target = Target { method: &request.method, path: &path, query: &query, payload_hash };
            self.keys.sign(&target, &mut headers, &credentials, &place.region, self.now())?;
        }
        // Not signed: proxies rewrite it.
        if request.reads_object {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = request.method.clone();
        head.uri = place.endpoint.uri(&path, &query)?;
        head.headers = headers;
        Ok(head)
    }

    /// `x-amz-content-sha256`. The hash costs more than everything else together, so it is left out where TLS and a
    /// checksum protect the payload already.
    async fn payload_hash(&self, request: &Request) -> String {
        if request.payload.is_empty() {
            return EMPTY_PAYLOAD.to_owned();
        }
        let has_checksum = || {
            ChecksumAlgorithm::ALL.iter().any(|algorithm| request.headers.contains_key(algorithm.header()))
        };
        let unsigned = self.settings.unsigned_payload;
        if unsigned.unwrap_or_else(|| self.place().endpoint.is_tls() && has_checksum()) {
            return UNSIGNED_PAYLOAD.to_owned();
        }
        let mut hasher = Sha256::new();
        request.payload.each_piece(|piece| hasher.update(piece)).await;
        hex::encode(hasher.finalize())
    }

    /// Applies what a failure sets right, each kind once for a request; a region once more than known is none.
    fn correct(
        &self,
        failure: &Failure,
        used: &Place,
        corrected: &mut Vec<std::mem::Discriminant<Correction>>,
    ) -> Again {
        let Some(correction) = &failure.correction else { return failure.again };
        let kind = std::mem::discriminant(correction);
        if corrected.contains(&kind) {
            return failure.again;
        }
        let applied = match correction {
            Correction::Region(region) => self.move_to(region, &used.region),
            Correction::Clock(theirs) => {
                self.clock_offset.store(seconds_between(SystemTime::now(), *theirs), Ordering::Relaxed);
                true
            }
            Correction::Replay => true,
        };
        corrected.push(kind);
        if applied { Again::Now } else { failure.again }
    }

    /// Whether `region` is another than the one that an attempt was signed for. A call beside this one may have
    /// found it already.
    fn move_to(&self, region: &str, used: &str) -> bool {
        let plausible = region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plausible || region == used {
            return false;
        }
        let Ok(endpoint) = Endpoint::of(&self.settings, region) else { return false };
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if place.region != region {
            let bucket = &self.settings.bucket;
            tracing::info!(bucket, from = place.region, to = region, "the bucket is in another region");
            *place = Place { region: region.to_owned(), endpoint };
        }
        true
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn now(&self) -> SystemTime {
        let offset = self.clock_offset.load(Ordering::Relaxed);
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

fn unavailable(error: &crate::credentials::CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "the store has no credentials").because(&error.to_string())
}
