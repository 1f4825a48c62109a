//! S3's operations, with one file for each operation or group of related operations.

mod archive;
mod attributes;
mod bucket_settings;
mod bucket_versioning;
mod buckets;
mod call;
mod complete;
mod conditions;
mod content;
mod copy;
mod delete;
mod encryption;
mod get;
mod list;
mod list_parts;
mod list_uploads;
mod list_versions;
mod object_attributes;
mod object_tags;
mod page;
mod put;
mod receive;
mod restore;
mod tags;
mod upload_part;
mod uploads;

use std::sync::Arc;

use async_trait::async_trait;
use s3s::{S3, S3Request, S3Response, S3Result, dto, s3_error};

pub(super) use bucket_versioning::set_versioning;
pub(super) use buckets::make_bucket;

use super::{checksums, s3s_adapter::BucketSettings, storage::Storage};

/// The operations, which s3s calls for requests whose signatures it has verified.
#[derive(Debug, Clone)]
pub(super) struct Operations(pub(super) Arc<Storage>);

#[async_trait]
impl BucketSettings for Operations {
    async fn cors_rules(&self, bucket: &str) -> Vec<dto::CORSRule> {
        // If the rules cannot be read, no other origin is allowed.
        bucket_settings::cors_rules(&self.0, bucket).await.unwrap_or_default()
    }

    async fn requester_pays(&self, bucket: &str) -> bool {
        bucket_settings::requester_pays(&self.0, bucket).await.unwrap_or_default()
    }
}

macro_rules! operations {
    ($($method:ident($input:ident) -> $output:ident = $operation:path,)*) => {
        #[async_trait]
        impl S3 for Operations {
            $(async fn $method(&self, request: S3Request<dto::$input>) -> S3Result<S3Response<dto::$output>> {
                $operation(&self.0, request).await
            })*

            /// s3s would convert it to a PutObject, with the whole body in memory.
            async fn post_object(
                &self,
                _request: S3Request<dto::PostObjectInput>,
            ) -> S3Result<S3Response<dto::PostObjectOutput>> {
                Err(s3_error!(NotImplemented, "Uploads by HTML forms are not implemented"))
            }
        }
    };
}

// For every other operation, s3s returns NotImplemented.
operations! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = uploads::abort_multipart_upload,
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete::complete_multipart_upload,
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::copy_object,
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create_bucket,
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = uploads::create_multipart_upload,
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete_bucket,
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = bucket_settings::delete_bucket_cors,
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::delete_object,
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = object_tags::delete_object_tagging,
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::delete_objects,
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = bucket_settings::bucket_cors,
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::bucket_location,
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = bucket_settings::bucket_request_payment,
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = bucket_versioning::bucket_versioning,
    get_object(GetObjectInput) -> GetObjectOutput = get::get_object,
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = object_attributes::object_attributes,
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = object_tags::get_object_tagging,
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head_bucket,
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head_object,
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list_buckets,
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = list_uploads::list_multipart_uploads,
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = list_versions::list_object_versions,
    list_objects(ListObjectsInput) -> ListObjectsOutput = list::list_objects,
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = list::list_objects_v2,
    list_parts(ListPartsInput) -> ListPartsOutput = list_parts::list_parts,
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = bucket_settings::put_bucket_cors,
    put_bucket_request_payment(PutBucketRequestPaymentInput) -> PutBucketRequestPaymentOutput = bucket_settings::put_bucket_request_payment,
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = bucket_versioning::put_bucket_versioning,
    put_object(PutObjectInput) -> PutObjectOutput = put::put_object,
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = object_tags::put_object_tagging,
    restore_object(RestoreObjectInput) -> RestoreObjectOutput = restore::restore_object,
    upload_part(UploadPartInput) -> UploadPartOutput = upload_part::upload_part,
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = upload_part::upload_part_copy,
}
