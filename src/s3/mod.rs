//! S3's wire: one request, addressed, signed, sent, and its answer read.

mod error;
mod object;
mod settings;

pub use error::{Error, ErrorKind, ServiceDetails};
pub use object::{
    Attributes, ByteRange, Checksum, ChecksumAlgorithm, ChecksumType, Conditions, ObjectMeta, Tags,
};
pub use settings::{BucketSettings, ServerSideEncryption};
