//! One request to S3, before it is addressed and signed.

use http::{HeaderMap, HeaderValue, Method, header::HeaderName};

use super::{Error, failure::Subject, headers::visible};
use crate::transport::Payload;

/// One operation of S3's API with everything that it sends.
#[derive(Debug)]
pub(super) struct Request {
    /// Its name in the S3 API, for metrics.
    pub(super) operation: &'static str,
    pub(super) method: Method,
    /// The whole key; `None` is the bucket itself.
    pub(super) key: Option<String>,
    query: Vec<(&'static str, String)>,
    pub(super) headers: HeaderMap,
    pub(super) payload: Payload,
    pub(super) retries_conflict: bool,
    /// The server has work of its own to do before it answers: it puts parts together or copies an object, which takes
    /// minutes for a large one.
    pub(super) works_long: bool,
    /// It reads an object: it may be asked for a second time before it has been answered, and its answer's body must not be encoded on
    /// the way, since a proxy that compresses leaves out the length.
    pub(super) reads_object: bool,
}

impl Request {
    /// A request about an object.
    pub(super) fn object(operation: &'static str, method: Method, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::bucket(operation, method) }
    }

    /// A request about the bucket.
    pub(super) fn bucket(operation: &'static str, method: Method) -> Self {
        Self {
            operation,
            method,
            key: None,
            query: Vec::new(),
            headers: HeaderMap::new(),
            payload: Payload::default(),
            retries_conflict: true,
            works_long: false,
            reads_object: false,
        }
    }

    /// With one more pair in the query.
    pub(super) fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// With `versionId`, where there is one.
    pub(super) fn version(self, version: Option<&str>) -> Self {
        match version {
            Some(version) => self.query("versionId", version),
            None => self,
        }
    }

    /// With a header whose value is known to be one.
    pub(super) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        self
    }

    /// With a header from text; `field` is what the caller calls it.
    pub(super) fn text_header(
        mut self,
        name: &'static str,
        value: &str,
        field: &'static str,
    ) -> Result<Self, Error> {
        self.headers.insert(HeaderName::from_static(name), visible(value, field)?);
        Ok(self)
    }

    /// As one that the server works on for long.
    pub(super) fn works_long(mut self) -> Self {
        self.works_long = true;
        self
    }

    /// As one that reads an object.
    pub(super) fn reads_object(mut self) -> Self {
        self.reads_object = true;
        self
    }

    /// With a payload.
    pub(super) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }

    /// Its query, encoded and in canonical order.
    pub(super) fn canonical_query(&self) -> String {
        let pairs: Vec<_> = self.query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        super::encode::canonical_query(&pairs)
    }

    /// What a failure of it is about.
    pub(super) fn subject(&self) -> Subject {
        Subject { object: self.key.is_some(), retries_conflict: self.retries_conflict }
    }
}
