//! `PutObject`, and what every write of an object says.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use http::{
    HeaderMap, HeaderValue, Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};
use tokio::time::Instant;

use super::{
    BucketSettings, Checksum, Client, Error, Properties, SummedPayload, Tags,
    attributes::WRITE_ID_HEADER,
    headers::{self, not_s3, visible},
    request::Request,
    xml,
};

/// What has to be true of the key for a write to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    /// Nothing.
    None,
    /// The key does not exist.
    Absent,
    /// The object has this ETag.
    Unchanged(String),
}

impl WriteCondition {
    pub(super) fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        match self {
            Self::None => {}
            Self::Absent => {
                headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
            }
            Self::Unchanged(etag) => {
                headers.insert(IF_MATCH, visible(etag, "mode.update.etag")?);
            }
        }
        Ok(())
    }
}

/// What a new object is to have besides its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewObject {
    /// The headers that describe it, and its storage class.
    pub(crate) headers: HeaderMap,
    pub(crate) tags: Tags,
    /// Tells whose effect a conditional write is.
    pub(crate) write_id: Option<String>,
}

impl NewObject {
    pub(super) fn add(&self, headers: &mut HeaderMap, settings: &BucketSettings) -> Result<(), Error> {
        headers.extend(self.headers.clone());
        headers::add_tags(headers, &self.tags)?;
        Self::add_write_id(headers, self.write_id.as_deref())?;
        add_encryption(headers, settings)
    }

    pub(super) fn add_write_id(headers: &mut HeaderMap, id: Option<&str>) -> Result<(), Error> {
        if let Some(id) = id {
            headers.insert(WRITE_ID_HEADER, visible(id, "write_id")?);
        }
        Ok(())
    }
}

/// `x-amz-server-side-encryption` and its key.
pub(super) fn add_encryption(headers: &mut HeaderMap, settings: &BucketSettings) -> Result<(), Error> {
    const PREFIX: &str = "x-amz-server-side-encryption";
    let Some(encryption) = &settings.encryption else { return Ok(()) };
    headers.insert(PREFIX, visible(&encryption.algorithm, "server_side_encryption")?);
    if let Some(key) = &encryption.kms_key_id {
        headers.insert("x-amz-server-side-encryption-aws-kms-key-id", visible(key, "sse_kms_key_id")?);
    }
    if let Some(enabled) = encryption.bucket_key_enabled {
        let value = HeaderValue::from_static(if enabled { "true" } else { "false" });
        headers.insert("x-amz-server-side-encryption-bucket-key-enabled", value);
    }
    Ok(())
}

/// Adds the checksum of a request's payload.
pub(super) fn add_checksum(headers: &mut HeaderMap, checksum: &Checksum) -> Result<(), Error> {
    headers.insert(checksum.algorithm.header(), visible(&checksum.encoded(), "checksum_algorithm")?);
    Ok(())
}

impl Client {
    /// `PutObject`; gives what S3 says of the object.
    pub(crate) async fn put_object(
        &self,
        key: &str,
        payload: SummedPayload,
        object: &NewObject,
        condition: &WriteCondition,
        deadline: Option<Instant>,
    ) -> Result<Properties, Error> {
        let SummedPayload { bytes, checksum } = payload;
        let mut request = Request::object("PutObject", Method::PUT, key);
        object.add(&mut request.headers, &self.settings)?;
        condition.add(&mut request.headers)?;
        if let Some(checksum) = &checksum {
            add_checksum(&mut request.headers, checksum)?;
        }
        let answer = self.document(&request.payload(bytes), deadline).await?;
        let properties = headers::properties(&answer.headers);
        // A page of a proxy's, such as one to log in to, comes with status 200, too. S3 answers with an ETag and no body.
        if properties.etag.is_none() && xml::root(&answer.body).is_some() {
            return Err(not_s3("the answer to PutObject is a document"));
        }
        Ok(properties)
    }
}
