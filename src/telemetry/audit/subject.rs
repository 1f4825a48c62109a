//! Who makes a call, and what it is about.

use std::{net::SocketAddr, sync::Arc};

use serde::Serialize;

use crate::telemetry::truncate;

/// The longest key in a line, in bytes: S3's longest key. Longer ones are rejected before they reach S3.
const MAX_KEY: usize = 1024;

/// Who makes a call, and which.
#[derive(Debug)]
pub struct CallIdentity {
    /// `package.Service/Method`.
    pub method: Arc<str>,
    /// The `x-request-id`.
    pub request_id: Arc<str>,
    /// The tenant that the call is for.
    pub tenant: Box<str>,
    /// The caller's name.
    pub caller: Box<str>,
    /// The address that the call came from.
    pub peer: Option<SocketAddr>,
}

/// What a call is about. For a copy, the destination.
#[derive(Debug, Default, Serialize)]
pub struct AuditedObject {
    store: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_method: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_seconds: Option<u64>,
}

impl AuditedObject {
    /// A whole store.
    pub fn store(name: &str) -> Self {
        Self { store: shortened(name), ..Self::default() }
    }

    /// An object.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: Some(shortened(key)), ..self }
    }

    /// A version, if the call names one.
    #[must_use]
    pub fn with_version(self, version: Option<&str>) -> Self {
        Self { version: version.map(shortened), ..self }
    }

    /// The same objects, for which requests with an HTTP method are signed. They are valid for at most this many seconds.
    #[must_use]
    pub fn with_signature(self, method: &'static str, seconds: u64) -> Self {
        Self { signed_method: Some(method), signed_seconds: Some(seconds), ..self }
    }

    /// The objects below a prefix.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        Self { prefix: Some(shortened(prefix)), ..self }
    }
}

/// The source of a copy or a rename.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    #[serde(rename = "source_store")]
    store: Box<str>,
    #[serde(rename = "source_key")]
    key: Box<str>,
    #[serde(rename = "source_version", skip_serializing_if = "Option::is_none")]
    version: Option<Box<str>>,
}

impl Source {
    pub(super) fn new(store: &str, key: &str, version: Option<&str>) -> Self {
        Self { store: shortened(store), key: shortened(key), version: version.map(shortened) }
    }
}

fn shortened(text: &str) -> Box<str> {
    truncate(text, MAX_KEY).into()
}
