//! The S3 protocol: addresses, signs and sends requests and reads the responses. One file per operation, or per group of
//! operations that share their types.

mod attributes;
mod availability;
mod bucket_cors;
mod bucket_versioning;
mod checksum;
mod checksummed_payload;
mod client;
mod copy_object;
#[cfg(test)]
mod credentials_tests;
mod delete_object;
mod delete_objects;
mod encode;
mod encryption;
mod endpoint;
mod error;
mod error_messages;
mod failed_attempt;
mod field;
mod forms;
mod head_bucket;
mod headers;
mod hedge;
mod list_buckets;
mod list_multipart_uploads;
mod list_object_versions;
mod list_objects;
mod list_page;
mod list_parts;
#[cfg(feature = "microbench")]
#[doc(hidden)]
pub mod microbench;
mod multipart;
mod object;
mod object_tagging;
mod page;
mod post_form;
mod presign;
mod price_class;
mod read_object;
mod request;
mod restore_object;
mod settings;
mod sign;
mod slow_down;
mod stream_crc32c;
mod upload_part_copy;
mod write_object;
mod xml;

pub use bucket_cors::CorsRule;
pub use bucket_versioning::Versioning;
pub use client::{Client, LastError};
pub use delete_object::Deleted;
pub use delete_objects::ObjectId;
pub use error::{Error, ErrorKind, FailedCondition, ServiceDetails, UploadOffsets};
pub use field::Field;
pub use list_object_versions::ObjectVersion;
pub use object::{
    Attributes, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, Conditions, ObjectMeta, Properties,
    Tags,
};
pub use object_tagging::ObjectTags;
pub use post_form::{PostForm, PostSuccess, PostTarget};
pub use presign::{PresignedUrl, ResponseHeaders};
pub use restore_object::{RestoreOptions, RestoreStatus, RestoreTier, Restoring};
pub use settings::{BucketSettings, EncryptionAlgorithm};

pub(crate) use attributes::{REDIRECT, is_writable_class};
pub(crate) use checksum::ChecksumHasher;
pub(crate) use checksummed_payload::ChecksummedPayload;
pub(crate) use copy_object::{CopyCondition, CopySource, Replacement};
pub(crate) use delete_objects::can_be_listed;
pub(crate) use forms::{
    BucketName, EndpointUrl, RegionName, check_bucket, check_bucket_in_host, is_plain_http,
};
pub(crate) use headers::STORAGE_CLASS;
pub(crate) use list_multipart_uploads::{UploadMarker, UploadPage};
pub(crate) use list_object_versions::{VersionMarker, VersionsListed, VersionsQuery};
pub(crate) use list_objects::{Continuation, ListQuery};
pub(crate) use list_parts::ListedParts;
pub(crate) use multipart::{MultipartUpload, Part, expected_etag};
pub(crate) use page::Room;
pub(crate) use post_form::PostRules;
pub(crate) use presign::{ExactBytes, Presigner};
pub(crate) use read_object::{GetAnswer, HeadAnswer, Selection};
pub(crate) use settings::BucketLayer;
pub(crate) use slow_down::SlowDown;
pub(crate) use stream_crc32c::{StreamCrc32c, sum_of};
pub(crate) use write_object::{NewObject, WriteCondition};
