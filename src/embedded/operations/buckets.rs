//! Creates, looks up, lists and deletes buckets.

use std::sync::Arc;

use prost::Message;
use redb::ReadableTable;
use s3s::{
    S3Request, S3Response, S3Result,
    dto::{
        Bucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput,
        GetBucketLocationInput, GetBucketLocationOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
        ListBucketsOutput,
    },
    s3_error,
};

use super::{
    call::{admit, received, refuse_unkept, text, timestamp},
    list::owner,
};
use crate::embedded::storage::{self, BucketRow, Failed, Storage, Writing, now};

/// The region that the server reports.
pub(super) const REGION: &str = "us-east-1";

/// Creates a bucket. A bucket that exists is left unchanged, as in S3 in this region.
pub(super) async fn create_bucket(
    storage: &Arc<Storage>,
    mut request: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let headers = received(&mut request).headers;
    let CreateBucketInput { bucket, create_bucket_configuration, .. } = request.input;
    if is_reserved(&bucket) {
        return Err(s3_error!(InvalidBucketName));
    }
    refuse_unkept(&headers)?;
    if text(&headers, "x-amz-bucket-object-lock-enabled")
        .is_some_and(|asked| asked.eq_ignore_ascii_case("true"))
    {
        return Err(s3_error!(NotImplemented, "Object lock is not implemented"));
    }
    if let Some(ownership) =
        text(&headers, "x-amz-object-ownership").filter(|ownership| *ownership != "BucketOwnerEnforced")
    {
        return Err(s3_error!(NotImplemented, "Buckets have no ACLs, so {ownership} is not implemented"));
    }
    let location = create_bucket_configuration.and_then(|configuration| configuration.location_constraint);
    if let Some(location) =
        location.filter(|location| !location.as_str().is_empty() && location.as_str() != REGION)
    {
        return Err(s3_error!(
            IllegalLocationConstraintException,
            "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
            location.as_str()
        ));
    }
    let output = CreateBucketOutput { location: Some(format!("/{bucket}")) };
    make_bucket(storage, &bucket).await?;
    Ok(S3Response::new(output))
}

/// Whether S3 reserves the name. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
fn is_reserved(bucket: &str) -> bool {
    const BEGINNINGS: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const ENDS: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    BEGINNINGS.iter().any(|beginning| bucket.starts_with(beginning))
        || ENDS.iter().any(|end| bucket.ends_with(end))
}

/// Creates a bucket if it does not exist. Writes nothing if it does.
pub(in crate::embedded) async fn make_bucket(storage: &Storage, bucket: &str) -> S3Result<()> {
    let name = bucket.to_owned();
    if storage.read(move |tables| Ok(storage::bucket(&tables.buckets, &name)?)).await?.is_some() {
        return Ok(());
    }
    let name = bucket.to_owned();
    storage
        .write(move |tables| {
            if storage::bucket(&tables.buckets, &name)?.is_none() {
                let row = BucketRow { created: now(), ..BucketRow::default() };
                tables.buckets.insert(name.as_str(), &*row.encode_to_vec())?;
            }
            Ok(())
        })
        .await
}

/// Deletes a bucket that has no objects and no versions, and its multipart uploads with it.
pub(super) async fn delete_bucket(
    storage: &Arc<Storage>,
    mut request: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let headers = received(&mut request).headers;
    let bucket = request.input.bucket;
    storage
        .delete(move |tables| {
            admit(storage::bucket(&tables.buckets, &bucket)?, &headers)?;
            let bucket = bucket.as_str();
            let object = tables.objects.range::<(&str, &str)>((bucket, "")..)?.next().transpose()?;
            let version =
                tables.versions.range::<(&str, &str, u64)>((bucket, "", 0)..)?.next().transpose()?;
            if object.is_some_and(|(key, _)| key.value().0 == bucket)
                || version.is_some_and(|(key, _)| key.value().0 == bucket)
            {
                return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty").into());
            }
            // As in S3, the bucket's uploads are deleted with it.
            while let Some((key, id)) = first_upload(tables, bucket)? {
                tables.uploads.remove((bucket, key.as_str(), id))?;
                tables.remove_parts(id)?;
            }
            tables.buckets.remove(bucket)?;
            Ok(())
        })
        .await?;
    Ok(S3Response::new(DeleteBucketOutput::default()))
}

fn first_upload(tables: &Writing<'_>, bucket: &str) -> Result<Option<(String, u64)>, Failed> {
    let first = tables.uploads.range::<(&str, &str, u64)>((bucket, "", 0)..)?.next().transpose()?;
    Ok(first.and_then(|(key, _)| {
        let (of, key, id) = key.value();
        (of == bucket).then(|| (key.to_owned(), id))
    }))
}

pub(super) async fn head_bucket(
    storage: &Arc<Storage>,
    mut request: S3Request<HeadBucketInput>,
) -> S3Result<S3Response<HeadBucketOutput>> {
    let headers = received(&mut request).headers;
    let bucket = request.input.bucket;
    storage.read(move |tables| admit(storage::bucket(&tables.buckets, &bucket)?, &headers)).await?;
    let mut headers = http::HeaderMap::new();
    headers.insert("x-amz-bucket-region", http::HeaderValue::from_static(REGION));
    Ok(S3Response::with_headers(HeadBucketOutput::default(), headers))
}

/// Returns an empty location, which means `us-east-1`.
pub(super) async fn bucket_location(
    storage: &Arc<Storage>,
    mut request: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    let headers = received(&mut request).headers;
    let bucket = request.input.bucket;
    storage.read(move |tables| admit(storage::bucket(&tables.buckets, &bucket)?, &headers)).await?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

/// Lists the buckets by name.
pub(super) async fn list_buckets(
    storage: &Arc<Storage>,
    request: S3Request<ListBucketsInput>,
) -> S3Result<S3Response<ListBucketsOutput>> {
    let ListBucketsInput { prefix, max_buckets, continuation_token, bucket_region } = request.input;
    let max = match max_buckets.map(usize::try_from) {
        None => usize::MAX,
        Some(Ok(max @ 1..=10_000)) => max,
        Some(_) => {
            return Err(s3_error!(
                InvalidArgument,
                "Argument max-buckets must be an integer between 1 and 10000"
            ));
        }
    };
    let here = bucket_region.is_none_or(|region| region == REGION);
    let (wanted, after) = (prefix.clone().unwrap_or_default(), continuation_token.unwrap_or_default());
    let mut buckets = if here { named(storage, wanted, after, max).await? } else { Vec::new() };
    let more = buckets.len() > max;
    buckets.truncate(max);
    let continuation_token = buckets.last().filter(|_| more).and_then(|bucket| bucket.name.clone());
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets),
        continuation_token,
        owner: Some(owner()),
        prefix,
    }))
}

/// The buckets whose names begin with `prefix` and sort after `after`: up to `max`, and one more if there is one.
async fn named(storage: &Arc<Storage>, prefix: String, after: String, max: usize) -> S3Result<Vec<Bucket>> {
    storage
        .read(move |tables| {
            let mut buckets = Vec::new();
            for entry in ReadableTable::range::<&str>(&tables.buckets, after.as_str()..)? {
                let (name, row) = entry?;
                if name.value() > after.as_str() && name.value().starts_with(&prefix) {
                    let row: BucketRow = storage::decode(row.value())?;
                    buckets.push(Bucket {
                        bucket_region: Some(REGION.to_owned()),
                        creation_date: Some(timestamp(row.created)),
                        name: Some(name.value().to_owned()),
                    });
                }
                if buckets.len() > max {
                    break;
                }
            }
            Ok(buckets)
        })
        .await
}
