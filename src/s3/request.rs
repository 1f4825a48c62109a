//! One request to S3, before it is addressed and signed.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header::HeaderName};

use md5::{Digest, Md5};

use super::{Error, encryption::DataAccess, failed_attempt::Subject, headers::echoed};
use crate::transport::Payload;

/// A request for one operation of the S3 API.
#[derive(Debug)]
pub(super) struct Request {
    /// The operation's name in the S3 API, for metrics.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// The full key. `None` for a request to the bucket or the server.
    pub(super) key: Option<String>,
    /// Whether the request is to the server as a whole, not to the bucket.
    pub(super) is_for_service: bool,
    query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) retries_conflict: bool,
    /// Whether the server works for a long time before it responds, because it assembles parts or copies an object.
    /// This takes minutes for a large object.
    pub(super) slow_on_server: bool,
    /// What the request does with the data of an object. `None` if nothing.
    pub(super) access: Option<DataAccess>,
}

impl Request {
    /// Creates a request for an object.
    pub(super) fn object(operation: &'static str, method: Method, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::bucket(operation, method) }
    }

    /// Creates a request for the bucket.
    pub(super) fn bucket(operation: &'static str, method: Method) -> Self {
        Self {
            operation,
            method,
            key: None,
            is_for_service: false,
            query: Vec::new(),
            headers: HeaderMap::new(),
            payload: Payload::default(),
            retries_conflict: true,
            slow_on_server: false,
            access: None,
        }
    }

    /// Creates a request for the server as a whole.
    pub(super) fn service(operation: &'static str, method: Method) -> Self {
        Self { is_for_service: true, ..Self::bucket(operation, method) }
    }

    /// Adds a pair to the query.
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds `versionId`, if there is a version.
    pub(super) fn version(self, version: Option<&str>) -> Self {
        match version {
            Some(version) => self.query("versionId", version),
            None => self,
        }
    }

    /// Adds a header whose value is known to be valid.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// Adds a header from text that this client made.
    pub(super) fn text_header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        self.headers.insert(HeaderName::from_static(name), echoed(value)?);
        Ok(self)
    }

    /// Marks the request as one that the server works on for a long time.
    pub(super) fn slow_on_server(mut self) -> Self {
        self.slow_on_server = true;
        self
    }

    /// Sets what the request does with the data of an object.
    pub(super) fn accessing(mut self, access: DataAccess) -> Self {
        self.access = Some(access);
        self
    }

    /// Whether the request reads an object. Such a request may be hedged. It also asks for an uncompressed
    /// response, because proxies that compress omit the length.
    pub(super) fn reads_object(&self) -> bool {
        self.access == Some(DataAccess::Read)
    }

    /// Sets the payload.
    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Sets an XML document as the payload. S3 requires a digest of such documents, and every server understands
    /// Content-MD5.
    pub(super) fn document(self, document: String) -> Result<Self, Error> {
        let md5 = STANDARD.encode(Md5::digest(&document));
        let request = self.header("content-type", "application/xml").text_header("content-md5", &md5)?;
        Ok(request.payload(Bytes::from(document).into()))
    }

    /// The query, encoded and in canonical order.
    pub(super) fn canonical_query(&self) -> String {
        let pairs: Vec<_> = self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        super::encode::canonical_query(&pairs)
    }

    /// The subject of the request, used to classify its failures.
    pub(super) fn subject(&self) -> Subject {
        let upload = self.query.iter().any(|(name, _)| *name == "uploadId");
        Subject { object: self.key.is_some(), upload, retries_conflict: self.retries_conflict }
    }
}
