//! `DeleteObjects`: up to 1,000 keys in one request.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use md5::{Digest, Md5};

use super::{
    Client, Deleted, Error, ServiceDetails, error_messages, failed_attempt,
    request::Request,
    xml::{self, Element},
};

/// An object's key and, optionally, a version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId {
    /// The key.
    pub key: String,
    /// The version id. `None` deletes the current version; in a bucket with versioning, S3 hides it behind a delete
    /// marker.
    pub version: Option<String>,
}

/// The outcome for each object of a request. An object that the response does not name has none.
pub(crate) type Outcomes = HashMap<ObjectId, Result<Deleted, Error>>;

impl Client {
    /// `DeleteObjects`. Outcomes are matched by key, not by position, because servers reorder and even omit them.
    pub(crate) async fn delete_objects(&self, objects: &[ObjectId]) -> Result<Outcomes, Error> {
        let body = document(objects);
        // S3 requires a digest of this body. Every server understands Content-MD5.
        let md5 = STANDARD.encode(Md5::digest(&body));
        let request = Request::bucket("DeleteObjects", Method::POST)
            .query("delete", String::new())
            .header("content-type", "application/xml")
            .text_header("content-md5", &md5)?
            .payload(Bytes::from(body).into());
        let answer = self.document(&request).await?;
        let result = Element::read(&answer.body, "DeleteResult", "the response to DeleteObjects")?;
        Ok(outcomes(objects, &result))
    }
}

/// Whether a `DeleteObjects` request can contain this key.
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

/// The outcome for each object that the response names. Some servers name a version although the request did not.
fn outcomes(objects: &[ObjectId], result: &Element) -> Outcomes {
    let objects: HashSet<_> = objects.iter().collect();
    let mut outcomes = Outcomes::new();
    let mut note = |entry: &Element, outcome: Result<Deleted, Error>| {
        let (Some(key), version) = (entry.text("Key"), entry.text("VersionId")) else { return };
        let asked =
            |version: Option<&str>| ObjectId { key: key.to_owned(), version: version.map(str::to_owned) };
        let found = [asked(version), asked(None)].into_iter().find(|id| objects.contains(id));
        if let Some(id) = found {
            outcomes.insert(id, outcome);
        }
    };
    for entry in result.all("Deleted") {
        let version = entry.text("DeleteMarkerVersionId").or_else(|| entry.text("VersionId"));
        let delete_marker = entry.flag("DeleteMarker").unwrap_or_default();
        note(entry, Ok(Deleted { version: version.map(str::to_owned), delete_marker }));
    }
    for entry in result.all("Error") {
        // An unknown code leaves the key without an outcome. A separate request for the key returns more detail.
        let code = entry.text("Code").unwrap_or_default().trim();
        let Some(kind) = failed_attempt::by_code(code) else { continue };
        let service = ServiceDetails { code: code.to_owned(), ..ServiceDetails::default() };
        note(entry, Err(error_messages::error(kind, service, entry.text("Message").unwrap_or_default())));
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
    fn outcomes_are_matched_by_key_in_any_order() {
        let result = Element::read(
            "<DeleteResult><Error><Key>b</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
             <Deleted><Key>a</Key></Deleted><Error><Key>c</Key><Code>InternalError</Code></Error>\
             <Deleted><Key> d </Key><DeleteMarker>True</DeleteMarker><VersionId>m</VersionId>\
             <DeleteMarkerVersionId>m</DeleteMarkerVersionId></Deleted><Deleted><Key>e&#0;</Key></Deleted>\
             <Deleted><Key>v</Key><VersionId>null</VersionId></Deleted></DeleteResult>",
            "DeleteResult",
            "test",
        )
        .unwrap();
        let asked = [id("a", None), id("b", None), id("c", None), id(" d ", None), id("v", Some("null"))];
        let outcomes = outcomes(&asked, &result);
        assert_eq!(outcomes.len(), asked.len());
        assert_eq!(outcomes[&id("v", Some("null"))].as_ref().unwrap().version.as_deref(), Some("null"));
        assert!(outcomes[&id("a", None)].is_ok());
        assert_eq!(outcomes[&id("b", None)].as_ref().unwrap_err().kind(), ErrorKind::AccessDenied);
        assert_eq!(outcomes[&id("c", None)].as_ref().unwrap_err().kind(), ErrorKind::BackendUnavailable);
        let marker = outcomes[&id(" d ", None)].as_ref().unwrap();
        assert_eq!((marker.version.as_deref(), marker.delete_marker), (Some("m"), true));
    }
}
