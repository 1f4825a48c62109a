//! One attempt at a request: signed, sent, and possibly hedged.

use std::{pin::pin, sync::Arc, time::Duration};

use http::{
    HeaderValue,
    header::{ACCEPT_ENCODING, HOST},
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::{
    Client,
    answer::{Answer, MAX_DOCUMENT},
    place::Signer,
};
use crate::{
    credentials::{Credentials, CredentialsError},
    s3::{
        ChecksumAlgorithm, Error, ErrorKind, encryption,
        endpoint::Endpoint,
        failed_attempt::{self, FailedAttempt},
        hedge, price_class,
        request::Request,
        sign::{EMPTY_PAYLOAD, Target, UNSIGNED_PAYLOAD},
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

/// The header with the id that S3 gave to a request.
const REQUEST_ID: &str = "x-amz-request-id";

impl Client {
    /// Makes an attempt. If the response to a read has not begun in time, makes a second attempt concurrently, which does
    /// not count as a retry.
    pub(super) async fn hedged(
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
            }
            if is_retry {
                self.bucket.metrics.s3_retry(request.operation);
                if let Some(usage) = &self.usage {
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
    pub(super) async fn credentials(&self) -> Result<Option<Arc<Credentials>>, CredentialsError> {
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
        let service = request.is_for_service.then(|| Endpoint::service(&self.bucket.settings, &place.region));
        let service = service.transpose()?;
        let endpoint = service.as_ref().unwrap_or(&place.endpoint);
        let path = endpoint.path(request.key.as_deref());
        let query = request.canonical_query();
        let mut headers = request.headers.clone();
        let host = HeaderValue::from_str(endpoint.host()).map_err(|_| {
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
        head.uri = endpoint.uri(&path, &query)?;
        head.headers = headers;
        Ok(head)
    }

    /// The value of `x-amz-content-sha256`. Unless `unsigned_payload` is set, the hash is omitted if TLS and a checksum
    /// already protect the payload, because it costs more CPU time than the rest of the request.
    pub(super) async fn payload_hash(&self, request: &Request) -> String {
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
}
