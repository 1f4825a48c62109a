//! `BucketService`: shows the buckets of a tenant's stores, and reads and changes their CORS rules.

use std::collections::{BTreeMap, BTreeSet};

use futures::{
    FutureExt as _,
    stream::{self, StreamExt as _},
};
use tonic::{Request, Response, Status};

use super::{
    convert,
    failure::Failure,
    gate::{Call, Gate},
    page_token::ListingDigest,
    status,
};
use crate::{
    auth::{Access, Scope},
    pb::{self, bucket_service_server::BucketService},
    store::StoreSettings,
};

/// The most buckets on a page: each takes three or four requests to S3.
const PAGE: usize = 100;

/// How many buckets of a page are asked about at the same time.
const IN_FLIGHT: usize = 10;

/// The service.
#[derive(Debug)]
pub(crate) struct Buckets {
    gate: Gate,
}

impl Buckets {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl BucketService for Buckets {
    async fn get_bucket(&self, request: Request<pb::GetBucketRequest>) -> Answer<pb::GetBucketResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(get(&call, &message.store).await)
    }

    async fn list_buckets(
        &self,
        request: Request<pb::ListBucketsRequest>,
    ) -> Answer<pb::ListBucketsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(list(&call, &message).await)
    }

    async fn get_bucket_cors(
        &self,
        request: Request<pb::GetBucketCorsRequest>,
    ) -> Answer<pb::GetBucketCorsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(get_cors(&call, &message.store).await)
    }

    async fn put_bucket_cors(
        &self,
        request: Request<pb::PutBucketCorsRequest>,
    ) -> Answer<pb::PutBucketCorsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(put_cors(&call, message).await)
    }

    async fn delete_bucket_cors(
        &self,
        request: Request<pb::DeleteBucketCorsRequest>,
    ) -> Answer<pb::DeleteBucketCorsResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(delete_cors(&call, &message.store).await)
    }
}

/// If this future is dropped, the S3 requests are cancelled.
async fn get(call: &Call, store: &str) -> Result<pb::GetBucketResponse, Failure> {
    let store = call.open_bucket(store)?;
    let bucket = Box::pin(store.bucket()).await?;
    Ok(pb::GetBucketResponse { bucket: Some(convert::bucket(bucket)) })
}

/// If this future is dropped, the S3 requests are cancelled.
async fn list(call: &Call, request: &pb::ListBucketsRequest) -> Result<pb::ListBucketsResponse, Failure> {
    let listing = ListingDigest::new(&[call.tenant().name(), "buckets"]);
    let after = listing.continuation(&request.page_token)?;
    let page_size = match convert::page_size(request.page_size)? {
        _ if request.page_size == 0 => PAGE,
        size => usize::from(size).min(PAGE),
    };
    let mut wanted = buckets(call).into_iter();
    let mut later =
        wanted.by_ref().skip_while(|stores| after.as_deref().is_some_and(|after| stores[0] <= after));
    let page: Vec<_> = later.by_ref().take(page_size).collect();
    let last = page.last().map(|stores| stores[0]).filter(|_| later.next().is_some());
    let next_page_token = listing.token(last);
    // Boxed one by one: the compiler does not infer that a closure over borrowed names is general enough.
    let found: Vec<_> = page.into_iter().map(|stores| listed(call, stores).boxed()).collect();
    let buckets = stream::iter(found).buffered(IN_FLIGHT).collect().await;
    Ok(pb::ListBucketsResponse { buckets, next_page_token })
}

/// The stores that the caller may administer, by their buckets, in the order of their names.
fn buckets(call: &Call) -> Vec<Vec<&str>> {
    let actor = call.actor();
    let mut by_bucket = BTreeMap::<_, Vec<&str>>::new();
    let stores = call.tenant().stores();
    for (name, settings) in
        stores.filter(|(name, _)| actor.authorize(Access::BucketAdmin, name, Scope::Prefix("")).is_ok())
    {
        let StoreSettings { bucket, .. } = settings;
        by_bucket.entry((bucket.endpoint.as_deref(), bucket.bucket.as_str())).or_default().push(name);
    }
    // Each list is in order, because the stores are.
    by_bucket.into_values().collect::<BTreeSet<_>>().into_iter().collect()
}

async fn listed(call: &Call, stores: Vec<&str>) -> pb::ListedBucket {
    let outcome = async {
        let store = call.store(stores[0])?;
        store.admit()?;
        store
            .bucket()
            .await
            .inspect_err(|error| call.log_partial_failure("", error, 1))
            .map_err(Failure::from)
    };
    let outcome = Box::pin(outcome).await;
    let (bucket, failure) = match outcome {
        Ok(bucket) => (convert::bucket(bucket), None),
        Err(failure) => {
            let name = call.tenant().store_settings(stores[0]).map(|settings| settings.bucket.bucket.clone());
            let (_, reason, _) = failure.classify();
            let failure = pb::BucketFailure {
                reason: status::reason_name(reason).to_owned(),
                s3_code: failure.s3_code().to_owned(),
                message: failure.message(),
            };
            (pb::Bucket { name: name.unwrap_or_default(), ..pb::Bucket::default() }, Some(failure))
        }
    };
    pb::ListedBucket {
        stores: stores.into_iter().map(str::to_owned).collect(),
        bucket: Some(bucket),
        failure,
    }
}

/// If this future is dropped, the S3 request is cancelled.
async fn get_cors(call: &Call, store: &str) -> Result<pb::GetBucketCorsResponse, Failure> {
    let store = call.open_bucket(store)?;
    let rules = store.cors_rules().await?;
    Ok(pb::GetBucketCorsResponse { rules: rules.into_iter().map(convert::cors_rule_message).collect() })
}

/// If this future is dropped, the S3 request is cancelled, and the rules may or may not have been replaced.
async fn put_cors(
    call: &Call,
    request: pb::PutBucketCorsRequest,
) -> Result<pb::PutBucketCorsResponse, Failure> {
    let rules = convert::cors_rules(request.rules)?;
    let store = call.open_bucket(&request.store)?;
    store.put_cors_rules(&rules).await?;
    Ok(pb::PutBucketCorsResponse {})
}

/// If this future is dropped, the S3 request is cancelled, and the rules may or may not have been removed.
async fn delete_cors(call: &Call, store: &str) -> Result<pb::DeleteBucketCorsResponse, Failure> {
    let store = call.open_bucket(store)?;
    store.delete_cors_rules().await?;
    Ok(pb::DeleteBucketCorsResponse {})
}
