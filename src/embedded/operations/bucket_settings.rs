//! The CORS rules and the request payment of buckets.

use std::sync::Arc;

use http::HeaderMap;
use prost::Message;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput, GetBucketCorsOutput,
        GetBucketRequestPaymentInput, GetBucketRequestPaymentOutput, Payer, PutBucketCorsInput,
        PutBucketCorsOutput, PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput,
    },
    s3_error,
};

use super::call::{expect_owner, received};
use crate::embedded::storage::{self, BucketRow, CorsRow, Failed, Storage};

/// The most rules of one bucket (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>).
const MAX_RULES: usize = 100;

/// The longest id of a rule (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CORSRule.html>).
const MAX_ID: usize = 255;

const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

/// The rules of a bucket. Empty if the bucket does not exist.
pub(super) async fn cors_rules(storage: &Arc<Storage>, bucket: &str) -> S3Result<Vec<CORSRule>> {
    Ok(settings(storage, bucket).await?.cors.into_iter().map(rule).collect())
}

/// Whether callers pay for their requests. False if the bucket does not exist.
pub(super) async fn requester_pays(storage: &Arc<Storage>, bucket: &str) -> S3Result<bool> {
    Ok(settings(storage, bucket).await?.requester_pays)
}

async fn settings(storage: &Arc<Storage>, bucket: &str) -> S3Result<BucketRow> {
    let bucket = bucket.to_owned();
    storage.read(move |tables| Ok(storage::bucket(&tables.buckets, &bucket)?.unwrap_or_default())).await
}

pub(super) async fn bucket_cors(
    storage: &Arc<Storage>,
    mut request: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    let headers = received(&mut request).headers;
    let row = bucket(storage, request.input.bucket, headers).await?;
    if row.cors.is_empty() {
        return Err(s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist"));
    }
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules: Some(row.cors.into_iter().map(rule).collect()) }))
}

pub(super) async fn put_bucket_cors(
    storage: &Arc<Storage>,
    mut request: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let headers = received(&mut request).headers;
    let rules = request.input.cors_configuration.cors_rules;
    if rules.is_empty() || rules.len() > MAX_RULES {
        return Err(s3_error!(MalformedXML));
    }
    let rows = rules.into_iter().map(row).collect::<S3Result<Vec<_>>>()?;
    change(storage, request.input.bucket, headers, |bucket| bucket.cors = rows).await?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(super) async fn delete_bucket_cors(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    let headers = received(&mut request).headers;
    change(storage, request.input.bucket, headers, |bucket| bucket.cors.clear()).await?;
    Ok(S3Response::new(DeleteBucketCorsOutput::default()))
}

pub(super) async fn bucket_request_payment(
    storage: &Arc<Storage>,
    mut request: S3Request<GetBucketRequestPaymentInput>,
) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
    let headers = received(&mut request).headers;
    let row = bucket(storage, request.input.bucket, headers).await?;
    let payer = if row.requester_pays { Payer::REQUESTER } else { Payer::BUCKET_OWNER };
    Ok(S3Response::new(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(payer)) }))
}

pub(super) async fn put_bucket_request_payment(
    storage: &Arc<Storage>,
    mut request: S3Request<PutBucketRequestPaymentInput>,
) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
    let headers = received(&mut request).headers;
    let requester_pays = match request.input.request_payment_configuration.payer.as_str() {
        Payer::REQUESTER => true,
        Payer::BUCKET_OWNER => false,
        _ => {
            return Err(s3_error!(MalformedXML));
        }
    };
    change(storage, request.input.bucket, headers, move |bucket| bucket.requester_pays = requester_pays)
        .await?;
    Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
}

/// Checks that the bucket exists and has the expected owner. It does not check who pays: only the owner has access to
/// settings, and pays for these requests.
fn admit(row: Option<BucketRow>, headers: &HeaderMap) -> Result<BucketRow, Failed> {
    expect_owner(headers, "x-amz-expected-bucket-owner")?;
    row.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist").into())
}

async fn bucket(storage: &Arc<Storage>, bucket: String, headers: HeaderMap) -> S3Result<BucketRow> {
    storage.read(move |tables| admit(storage::bucket(&tables.buckets, &bucket)?, &headers)).await
}

async fn change(
    storage: &Arc<Storage>,
    bucket: String,
    headers: HeaderMap,
    change: impl FnOnce(&mut BucketRow) + Send + 'static,
) -> S3Result<()> {
    storage
        .write(move |tables| {
            let mut row = admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            change(&mut row);
            tables.buckets.insert(bucket.as_str(), &*row.encode_to_vec())?;
            Ok(())
        })
        .await
}

fn row(rule: CORSRule) -> S3Result<CorsRow> {
    if rule.allowed_methods.is_empty() || rule.allowed_origins.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    if rule.id.as_ref().is_some_and(|id| id.chars().count() > MAX_ID) {
        return Err(s3_error!(InvalidRequest, "ID length should not exceed allowed limit of {MAX_ID}"));
    }
    if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
        return Err(s3_error!(
            InvalidRequest,
            "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
        ));
    }
    for (kind, texts) in
        [("AllowedOrigin", Some(&rule.allowed_origins)), ("AllowedHeader", rule.allowed_headers.as_ref())]
    {
        if let Some(text) = texts.into_iter().flatten().find(|text| text.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "{kind} \"{text}\" can not have more than one wildcard."));
        }
    }
    if let Some(text) = rule.expose_headers.iter().flatten().find(|text| text.contains('*')) {
        return Err(s3_error!(
            InvalidRequest,
            "ExposeHeader \"{text}\" contains wildcard. We currently do not support wildcard for ExposeHeader."
        ));
    }
    Ok(CorsRow {
        id: rule.id,
        methods: rule.allowed_methods,
        origins: rule.allowed_origins,
        headers: rule.allowed_headers.unwrap_or_default(),
        exposed: rule.expose_headers.unwrap_or_default(),
        max_age: rule.max_age_seconds,
    })
}

fn rule(row: CorsRow) -> CORSRule {
    let some = |texts: Vec<String>| (!texts.is_empty()).then_some(texts);
    CORSRule {
        allowed_headers: some(row.headers),
        allowed_methods: row.methods,
        allowed_origins: row.origins,
        expose_headers: some(row.exposed),
        id: row.id,
        max_age_seconds: row.max_age,
    }
}
