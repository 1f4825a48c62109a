//! `PutObject`, and the headers of every write of an object.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>

use http::{
    HeaderMap, HeaderValue, Method,
    header::{IF_MATCH, IF_NONE_MATCH},
};

use super::{
    Checksum, ChecksummedPayload, Client, Error, Field, Properties, Tags,
    attributes::WRITE_ID_HEADER,
    encryption::DataAccess,
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
    pub(super) fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        headers.extend(self.headers.clone());
        headers::add_tags(headers, &self.tags)?;
        Self::add_write_id(headers, self.write_id.as_deref())
    }

    pub(super) fn add_write_id(headers: &mut HeaderMap, id: Option<&str>) -> Result<(), Error> {
        if let Some(id) = id {
            headers.insert(WRITE_ID_HEADER, echoed(id)?);
        }
        Ok(())
    }
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
        let mut request = Request::object("PutObject", Method::PUT, key).accessing(DataAccess::Create);
        object.add(&mut request.headers)?;
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
