//! `DeleteObjects`: up to 1,000 keys by one request.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use std::{collections::HashMap, fmt::Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use md5::{Digest, Md5};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Client, Deleted, Error, ServiceDetails, failure, request::Request, sentences, xml};

/// A key, and one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// The key.
    pub key: String,
    /// A version id; `None` deletes the current one (in a bucket with versions: hides it behind a marker).
    pub version: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DeleteResult {
    #[serde(rename = "Deleted")]
    deleted: Vec<DeletedEntry>,
    #[serde(rename = "Error")]
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct DeletedEntry {
    key: String,
    version_id: Option<String>,
    delete_marker: bool,
    delete_marker_version_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ErrorEntry {
    key: String,
    version_id: Option<String>,
    code: String,
    message: String,
}

/// What came of each key of a request. One that the answer does not name has none.
pub(crate) type Outcomes = HashMap<ObjectId, Result<Deleted, Error>>;

impl Client {
    /// `DeleteObjects`. Outcomes go by key, not by position: servers order and even drop them as they like.
    pub(crate) async fn delete_objects(
        &self,
        objects: &[ObjectId],
        deadline: Option<Instant>,
    ) -> Result<Outcomes, Error> {
        let body = document(objects);
        // S3 demands a digest of this body; this one is understood by every server.
        let md5 = STANDARD.encode(Md5::digest(&body));
        let request = Request::bucket("DeleteObjects", Method::POST)
            .query("delete", String::new())
            .header("content-type", "application/xml")
            .text_header("content-md5", &md5, "objects")?
            .payload(Bytes::from(body).into());
        let answer = self.document(&request, deadline).await?;
        let result: DeleteResult = xml::read(&answer.body, "the answer to DeleteObjects")?;
        Ok(outcomes(result))
    }
}

/// Whether `DeleteObjects` can name a key at all.
pub(crate) fn can_be_listed(key: &str) -> bool {
    xml::carries(key)
}

fn document(objects: &[ObjectId]) -> String {
    let mut text = String::from("<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for object in objects {
        let _ = write!(text, "<Object><Key>{}</Key>", xml::text(&object.key));
        if let Some(version) = &object.version {
            let _ = write!(text, "<VersionId>{}</VersionId>", xml::text(version));
        }
        text.push_str("</Object>");
    }
    text.push_str("</Delete>");
    text
}

fn outcomes(result: DeleteResult) -> Outcomes {
    let known = |version: Option<String>| version.filter(|version| !version.is_empty());
    let mut outcomes = Outcomes::new();
    for entry in result.deleted {
        let version = entry.delete_marker_version_id.or_else(|| entry.version_id.clone()).unwrap_or_default();
        let deleted = Deleted {
            version: if version == "null" { String::new() } else { version },
            delete_marker: entry.delete_marker,
        };
        outcomes.insert(ObjectId { key: entry.key, version: known(entry.version_id) }, Ok(deleted));
    }
    for entry in result.errors {
        // A code that means nothing here leaves the key without an outcome: a request of its own tells more.
        let Some(kind) = failure::by_code(&entry.code) else { continue };
        let service = ServiceDetails { code: entry.code, ..ServiceDetails::default() };
        let error = sentences::error(kind, service, &entry.message);
        outcomes.insert(ObjectId { key: entry.key, version: known(entry.version_id) }, Err(error));
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::ErrorKind;

    fn id(key: &str, version: Option<&str>) -> ObjectId {
        ObjectId { key: key.to_owned(), version: version.map(str::to_owned) }
    }

    #[test]
    fn keys_are_escaped() {
        let text = document(&[id("a<&>b", None), id("v", Some("1"))]);
        assert!(text.contains("<Object><Key>a&lt;&amp;&gt;b</Key></Object>"));
        assert!(text.contains("<Object><Key>v</Key><VersionId>1</VersionId></Object>"));
    }

    #[test]
    fn outcomes_go_by_key_in_whatever_order() {
        let result: DeleteResult = xml::read(
            "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
             <Deleted><Key>a</Key></Deleted><Error><Key>c</Key><Code>InternalError</Code></Error>\
             <Deleted><Key> d </Key><DeleteMarker>true</DeleteMarker>\
             <DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted></DeleteResult>",
            "test",
        )
        .unwrap();
        let outcomes = outcomes(result);
        assert!(outcomes[&id("a", None)].is_ok());
        assert_eq!(outcomes[&id("b", None)].as_ref().unwrap_err().kind(), ErrorKind::AccessDenied);
        assert_eq!(outcomes[&id("c", None)].as_ref().unwrap_err().kind(), ErrorKind::BackendUnavailable);
        let marker = outcomes[&id(" d ", None)].as_ref().unwrap();
        assert_eq!((marker.version.as_str(), marker.delete_marker), ("m", true));
    }
}
