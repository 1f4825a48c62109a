//! `DeleteObject`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>

use http::{HeaderMap, HeaderName, Method, header::IF_MATCH};
use tokio::time::Instant;

use super::{
    Client, Error,
    headers::{self, visible},
    request::Request,
    xml,
};

/// What a delete did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deleted {
    /// The version deleted, or of the delete marker made; `None` without versions.
    pub version: Option<String>,
    /// Whether a delete marker was made or deleted, as far as the server says.
    pub delete_marker: bool,
}

impl Client {
    /// `DeleteObject`, if the object still has the ETag, where one is given and the server looks at it.
    pub(crate) async fn delete_object(
        &self,
        key: &str,
        version: Option<&str>,
        etag: Option<&str>,
        deadline: Option<Instant>,
    ) -> Result<Deleted, Error> {
        let mut request = Request::object("DeleteObject", Method::DELETE, key).version(version);
        if let Some(etag) = etag {
            request.headers.insert(IF_MATCH, visible(etag, "source.key")?);
        }
        let answer = self.document(&request, deadline).await?;
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
