//! `CopyObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;
use tokio::time::Instant;

use super::{
    Attributes, Client, Error, ObjectMeta, Tags, encode,
    headers::{self, visible},
    request::Request,
    write_object::{NewObject, WriteCondition, add_encryption},
    xml,
};

/// An object to copy from, pinned to what was seen of it.
#[derive(Debug, Clone)]
pub(crate) struct CopySource {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) version: Option<String>,
    /// Empty where the server gives none.
    pub(crate) etag: String,
}

impl CopySource {
    pub(super) fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        let mut source = format!("/{}/{}", encode::path(&self.bucket), encode::path(&self.key));
        if let Some(version) = &self.version {
            source.push_str("?versionId=");
            source.push_str(&encode::query(version));
        }
        headers.insert("x-amz-copy-source", visible(&source, "source")?);
        if !self.etag.is_empty() {
            headers.insert("x-amz-copy-source-if-match", visible(&self.etag, "source")?);
        }
        Ok(())
    }
}

/// What a copy gets instead of what its source has. S3 always drops the storage class, so that is said in any case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replacement {
    /// All attributes and the write id; `None` keeps the source's.
    pub(crate) object: Option<(Attributes, Option<String>)>,
    pub(crate) storage_class: String,
    pub(crate) tags: Option<Tags>,
}

/// The condition of a copy, in S3's own headers or in a server's.
#[derive(Debug, Clone)]
pub(crate) enum CopyCondition {
    Standard(WriteCondition),
    Header { name: String, value: String },
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Copied {
    #[serde(rename = "ETag")]
    etag: String,
}

impl Client {
    /// `CopyObject` onto `key`. The answer's metadata has neither key nor size.
    pub(crate) async fn copy_object(
        &self,
        source: &CopySource,
        key: &str,
        replacement: &Replacement,
        condition: &CopyCondition,
        deadline: Option<Instant>,
    ) -> Result<ObjectMeta, Error> {
        let mut request = Request::object("CopyObject", Method::PUT, key).works_long();
        let headers = &mut request.headers;
        source.add(headers)?;
        replacement.add(headers)?;
        add_encryption(headers, &self.settings)?;
        match condition {
            CopyCondition::Standard(condition) => condition.add(headers)?,
            CopyCondition::Header { name, value } => {
                let name = HeaderName::try_from(name.as_str())
                    .map_err(|_| Error::invalid_field("mode.create", "copy_if_not_exists names no header"))?;
                headers.insert(name, visible(value, "copy_if_not_exists")?);
            }
        }
        let answer = self.document(&request, deadline).await?;
        let copied: Copied = xml::read(&answer.body, "the answer to CopyObject")?;
        Ok(ObjectMeta {
            etag: copied.etag,
            version: headers::version(&answer.headers),
            storage_class: replacement.storage_class.clone(),
            ..ObjectMeta::default()
        })
    }
}

impl Replacement {
    fn add(&self, headers: &mut HeaderMap) -> Result<(), Error> {
        if let Some((attributes, write_id)) = &self.object {
            headers.insert("x-amz-metadata-directive", HeaderValue::from_static("REPLACE"));
            headers::add_attributes(headers, attributes)?;
            NewObject::add_write_id(headers, write_id.as_deref())?;
        }
        if !self.storage_class.is_empty() {
            headers.insert("x-amz-storage-class", visible(&self.storage_class, "attributes.storage_class")?);
        }
        if let Some(tags) = &self.tags {
            headers.insert("x-amz-tagging-directive", HeaderValue::from_static("REPLACE"));
            headers::add_tags(headers, tags)?;
        }
        Ok(())
    }
}
