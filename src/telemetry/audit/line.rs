//! The lines of the audit log: one JSON object each. docs/OPERATING.md describes the fields.

use std::net::SocketAddr;

use serde::Serialize;

use super::subject::{AuditedObject, CallIdentity, Source};
use crate::telemetry::logs::now;

/// A line. Absent fields are left out.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    time: String,
    event: &'static str,
    call: &'a str,
    request_id: &'a str,
    method: &'a str,
    tenant: &'a str,
    caller: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(flatten)]
    object: Option<&'a AuditedObject>,
    #[serde(flatten)]
    source: Option<&'a Source>,
    #[serde(flatten)]
    detail: Option<Detail<'a>>,
}

/// What only some lines have.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Detail<'a> {
    /// Keys that are about to be deleted, or to get presigned URLs.
    Keys { keys: Vec<Key<'a>> },
    /// How the call ended.
    End(End<'a>),
}

#[derive(Debug, Serialize)]
pub(super) struct Key<'a> {
    pub(super) key: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) version: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct End<'a> {
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keys_sent: Option<u64>,
    pub(super) s3_responses: u64,
    pub(super) s3_request_ids: &'a [Box<str>],
    pub(super) elapsed_ms: f64,
}

/// The parts of a call that all of its lines have.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) call: &'a str,
    pub(super) identity: &'a CallIdentity,
    pub(super) object: Option<&'a AuditedObject>,
    pub(super) source: Option<&'a Source>,
}

impl About<'_> {
    /// The line as bytes, with its line feed.
    pub(super) fn line(&self, event: &'static str, detail: Option<Detail<'_>>) -> Vec<u8> {
        let CallIdentity { method, request_id, tenant, caller, peer } = self.identity;
        let line = Line {
            time: now(),
            event,
            call: self.call,
            request_id,
            method,
            tenant,
            caller,
            peer: *peer,
            object: self.object,
            source: self.source,
            detail,
        };
        let mut bytes = Vec::with_capacity(512);
        // Cannot fail: a buffer accepts every write, and all fields have a JSON form.
        let _ = serde_json::to_writer(&mut bytes, &line);
        bytes.push(b'\n');
        bytes
    }
}
