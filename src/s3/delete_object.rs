//! `DeleteObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use http::{HeaderMap, HeaderName, Method, header::IF_MATCH};

use super::{
    Client, Error,
    headers::{self, echoed},
    request::Request,
    xml,
};

/// The outcome of a delete.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// The version that was deleted, or the version of the delete marker that was created. `None` without versioning.
    pub version: Option<String>,
    /// Whether a delete marker was created or deleted, if the server reports it.
    pub delete_marker: bool,
}

impl Client {
    /// `DeleteObject`. With an ETag, the server deletes the object only if the ETag still matches. Some servers
    /// ignore this condition.
    pub(crate) async fn delete_object(
        &self,
        key: &str,
        version: Option<&str>,
        etag: Option<&str>,
    ) -> Result<Deleted, Error> {
        let mut request = Request::object("DeleteObject", Method::DELETE, key).version(version);
        if let Some(etag) = etag {
            request.headers.insert(IF_MATCH, echoed(etag)?);
        }
        let answer = self.document(&request).await?;
        Ok(deleted(&answer.headers))
    }
}

fn deleted(headers: &HeaderMap) -> Deleted {
    Deleted {
        version: headers::properties(headers).version,
        delete_marker: headers::text(headers, &HeaderName::from_static("x-amz-delete-marker"))
            .and_then(|marker| xml::flag(&marker))
            .unwrap_or_default(),
    }
}
