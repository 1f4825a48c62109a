//! `PutObject`, and the headers of every write of an object.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use http::{
    HeaderMap, HeaderValue, Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use crate::settings::Keywords;

use super::{
    BucketSettings, Checksum, ChecksummedPayload, Client, Error, Field, Properties, Tags,
    attributes::WRITE_ID_HEADER,
    error::invalid_response,
    headers::{self, echoed, visible},
    request::Request,
    xml,
};

/// The condition under which a write takes effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WriteCondition {
    /// No condition.
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
                headers.insert(IF_MATCH, visible(etag, Field::ReplacedEtag)?);
            }
        }
        Ok(())
    }
}

/// The properties of a new object, except its bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewObject {
    /// The headers that describe the object, and its storage class.
    pub(crate) headers: HeaderMap,
    pub(crate) tags: Tags,
    /// Identifies the conditional write that created the object.
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
            headers.insert(WRITE_ID_HEADER, echoed(id)?);
        }
        Ok(())
    }
}

/// Adds `x-amz-server-side-encryption` and the headers of its key.
pub(super) fn add_encryption(headers: &mut HeaderMap, settings: &BucketSettings) -> Result<(), Error> {
    const PREFIX: &str = "x-amz-server-side-encryption";
    let Some(algorithm) = settings.server_side_encryption else { return Ok(()) };
    headers.insert(PREFIX, HeaderValue::from_static(algorithm.keyword()));
    if let Some(key) = &settings.sse_kms_key_id {
        headers.insert(
            "x-amz-server-side-encryption-aws-kms-key-id",
            visible(key, Field::Setting("sse_kms_key_id"))?,
        );
    }
    if let Some(enabled) = settings.sse_bucket_key_enabled {
        let value = HeaderValue::from_static(if enabled { "true" } else { "false" });
        headers.insert("x-amz-server-side-encryption-bucket-key-enabled", value);
    }
    Ok(())
}

/// Adds the checksum of a request's payload.
pub(super) fn add_checksum(headers: &mut HeaderMap, checksum: &Checksum) -> Result<(), Error> {
    headers.insert(checksum.algorithm.header(), echoed(&checksum.encoded())?);
    Ok(())
}

impl Client {
    /// `PutObject`. Returns the object's properties from the response.
    pub(crate) async fn put_object(
        &self,
        key: &str,
        payload: ChecksummedPayload,
        object: &NewObject,
        condition: &WriteCondition,
    ) -> Result<Properties, Error> {
        let ChecksummedPayload { bytes, checksum } = payload;
        let mut request = Request::object("PutObject", Method::PUT, key);
        object.add(&mut request.headers, self.settings())?;
        condition.add(&mut request.headers)?;
        if let Some(checksum) = &checksum {
            add_checksum(&mut request.headers, checksum)?;
        }
        let answer = self.document(&request.payload(bytes)).await?;
        let properties = headers::properties(&answer.headers);
        // A proxy's page, such as a login page, can also have status 200. S3 responds with an ETag and no body.
        if properties.etag.is_none() && xml::root(&answer.body).is_some() {
            return Err(invalid_response("the response to PutObject is a document"));
        }
        Ok(properties)
    }
}
