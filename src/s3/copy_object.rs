//! `CopyObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{
    Client, Error, Field, Properties, Tags,
    attributes::REDIRECT,
    encode,
    encryption::{self, DataAccess},
    headers::{self, STORAGE_CLASS, echoed, visible},
    multipart::written,
    request::Request,
    write_object::{NewObject, WriteCondition},
    xml::Element,
};

/// The source of a copy, pinned to the version and ETag that Longshore has seen.
#[derive(Debug, Clone)]
pub(crate) struct CopySource {
    /// The client of the store that holds the object.
    client: Client,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    /// A strong ETag. `None` if the server returns none.
    pub(crate) etag: Option<String>,
}

/// The setting with the header for conditional copies.
const COPY_HEADER: Field = Field::Setting("copy_if_not_exists");

impl Client {
    /// The source of a copy: an object of this client's bucket.
    pub(crate) fn copy_source(
        &self,
        key: String,
        version: Option<String>,
        etag: Option<String>,
    ) -> CopySource {
        CopySource { client: self.clone(), key, version, etag }
    }
}

impl CopySource {
    /// Adds the headers that describe the source.
    pub(super) fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        let settings = self.client.settings();
        let mut source = format!("/{}/{}", encode::path(&settings.bucket), encode::path(&self.key));
        if let Some(version) = &self.version {
            source.push_str("?versionId=");
            source.push_str(&encode::query(version));
        }
        headers.insert("x-amz-copy-source", echoed(&source)?);
        if let Some(etag) = &self.etag {
            headers.insert("x-amz-copy-source-if-match", echoed(etag)?);
        }
        encryption::add_headers(headers, DataAccess::CopyFrom, settings)
    }
}

/// Properties that a copy does not take from its source. S3 never copies the storage class and the redirect, so they
/// are sent even if `object` is `None`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replacement {
    /// All headers that describe the object, and the write id. `None` keeps the headers of the source.
    pub(crate) object: Option<(HeaderMap, Option<String>)>,
    pub(crate) storage_class: Option<String>,
    pub(crate) redirect: Option<HeaderValue>,
    pub(crate) tags: Option<Tags>,
}

/// The condition of a copy, in S3's standard headers or in a server-specific header.
#[derive(Debug, Clone)]
pub(crate) enum CopyCondition {
    Standard(WriteCondition),
    Header { name: String, value: String },
}

impl Client {
    /// `CopyObject` with the destination `key`. Returns the properties of the copy.
    pub(crate) async fn copy_object(
        &self,
        source: &CopySource,
        key: &str,
        replacement: &Replacement,
        condition: &CopyCondition,
    ) -> Result<Properties, Error> {
        let mut request =
            Request::object("CopyObject", Method::PUT, key).accessing(DataAccess::Create).slow_on_server();
        let headers = &mut request.headers;
        source.add(headers)?;
        replacement.add(headers)?;
        match condition {
            CopyCondition::Standard(condition) => condition.add(headers)?,
            CopyCondition::Header { name, value } => {
                let name = HeaderName::try_from(name.as_str())
                    .map_err(|_| Error::invalid_field(COPY_HEADER, "names an invalid header"))?;
                headers.insert(name, visible(value, COPY_HEADER)?);
            }
        }
        let answer = self.document(&request).await?;
        let copied =
            Element::read_result(&answer.body, "CopyObjectResult", "ETag", "the response to CopyObject")?;
        Ok(written(&copied, &answer.headers))
    }
}

impl Replacement {
    fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        if let Some((described, write_id)) = &self.object {
            headers.insert("x-amz-metadata-directive", HeaderValue::from_static("REPLACE"));
            headers.extend(described.clone());
            NewObject::add_write_id(headers, write_id.as_deref())?;
        }
        if let Some(redirect) = &self.redirect {
            headers.insert(REDIRECT, redirect.clone());
        }
        if let Some(storage_class) = &self.storage_class {
            headers.insert(STORAGE_CLASS, visible(storage_class, Field::StorageClass)?);
        }
        if let Some(tags) = &self.tags {
            headers.insert("x-amz-tagging-directive", HeaderValue::from_static("REPLACE"));
            headers::add_tags(headers, tags)?;
        }
        Ok(())
    }
}
