//! Builds a status with its details, within the size that clients accept.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use prost_types::Any;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::pb as rpc;

use super::size;
use crate::{
    api::convert::{
        field::{self, Layout},
        object,
    },
    pb::ErrorReason,
    store::{Error, ErrorKind, FailedCondition, UploadOffsets},
    telemetry::{cut, truncate},
};

/// The domain of all reasons.
const DOMAIN: &str = "longshore";

/// The retry delay if S3 did not give one.
const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The maximum random addition to a delay. It keeps callers from retrying all at once.
const MAX_JITTER: Duration = Duration::from_secs(1);

/// The trailer with the delay for gRPC's built-in retries, which ignore RetryInfo (gRFC A6, "Pushback").
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The maximum length of a description in a detail, in bytes.
const MAX_DESCRIPTION: usize = 400;

/// The maximum length of a metadata value in `ErrorInfo`, in bytes.
const MAX_LABEL: usize = 256;

/// The maximum length of the name of a resource or a subject, in bytes: S3's longest key.
const MAX_NAME: usize = 1024;

/// The context of a failed call. Empty fields are left out of the status.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) store: &'a str,
    /// The key of the object. For a copy, the destination's key.
    pub(crate) key: &'a str,
    /// The source key of a copy or a rename.
    pub(crate) source_key: &'a str,
    /// The fields of the conditions that the request sets.
    pub(crate) conditions: &'a [&'static str],
}

/// Builds a status with `google.rpc.ErrorInfo` and the other details that fit. The details are encoded here, because
/// `tonic_types::ErrorDetails` supports only the standard ones and not `ObjectMeta`.
#[derive(Debug)]
pub(crate) struct StatusBuilder {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: Vec<Any>,
    pushback: Option<Pushback>,
}

/// The value of the trailer that gRPC's built-in retries follow.
#[derive(Debug, Clone, Copy)]
enum Pushback {
    RetryAfter(Duration),
    /// No retry can succeed.
    DoNotRetry,
}

impl StatusBuilder {
    /// A status with a code, a reason and a human-readable message. The message is cut to the length limit.
    pub(crate) fn new(code: Code, reason: ErrorReason, message: impl AsRef<str>) -> Self {
        Self {
            code,
            reason,
            message: size::message(message.as_ref()),
            metadata: HashMap::new(),
            details: Vec::new(),
            pushback: None,
        }
    }

    /// The reason.
    pub(crate) fn reason(&self) -> ErrorReason {
        self.reason
    }

    /// Adds an entry to the metadata, unless the value is empty or the name already exists.
    pub(crate) fn label(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let value = cut(value.as_ref(), MAX_LABEL);
        if !value.is_empty() {
            self.metadata.entry(name.to_owned()).or_insert_with(|| value.into_owned());
        }
        self
    }

    /// Adds the request id, the tenant and the store.
    pub(crate) fn context(self, context: &ErrorContext<'_>) -> Self {
        self.label("request_id", context.request_id)
            .label("tenant", context.tenant)
            .label("store", context.store)
    }

    /// Adds the invalid field.
    pub(crate) fn violation(self, field: &str, description: &str) -> Self {
        let violation = rpc::bad_request::FieldViolation {
            field: cut(field, MAX_LABEL).into_owned(),
            description: cut(description, MAX_DESCRIPTION).into_owned(),
            ..Default::default()
        };
        self.label("field", field)
            .attach("google.rpc.BadRequest", &rpc::BadRequest { field_violations: vec![violation] })
    }

    /// Adds a retry delay: `delay` plus up to a second of jitter. Clients with built-in retries get it as a trailer.
    pub(crate) fn retry_after(mut self, delay: Duration) -> Self {
        let delay = delay + delay.min(MAX_JITTER).mul_f64(fastrand::f64());
        self.pushback = Some(Pushback::RetryAfter(delay));
        let retry_delay = Some(object::duration(delay));
        self.attach("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay })
    }

    /// Adds the limit that the call is beyond, and when to try again; never, if `retry_after` is `None`.
    pub(crate) fn quota(self, subject: &str, description: &str, retry_after: Option<Duration>) -> Self {
        let violation = rpc::quota_failure::Violation {
            subject: truncate(subject, MAX_NAME).into_owned(),
            description: cut(description, MAX_DESCRIPTION).into_owned(),
            ..Default::default()
        };
        let quota = rpc::QuotaFailure { violations: vec![violation] };
        let builder = self.attach("google.rpc.QuotaFailure", &quota);
        match retry_after {
            Some(delay) => builder.retry_after(delay),
            None => Self { pushback: Some(Pushback::DoNotRetry), ..builder },
        }
    }

    /// Adds the resource that does not exist, or that already exists.
    pub(crate) fn resource(self, kind: &str, name: &str) -> Self {
        let info = rpc::ResourceInfo {
            resource_type: kind.to_owned(),
            resource_name: truncate(name, MAX_NAME).into_owned(),
            owner: String::new(),
            description: cut(&self.message, MAX_DESCRIPTION).into_owned(),
        };
        self.attach("google.rpc.ResourceInfo", &info)
    }

    /// Adds the details of a store's error, for a request whose fields have this layout.
    pub(crate) fn error(self, error: &Error, layout: Layout, context: &ErrorContext<'_>) -> Self {
        let mut builder = self.s3_details(error);
        if let Some(field) = error.field() {
            builder = builder.violation(&field::path(field, layout), error.message());
        }
        builder = match error.kind() {
            ErrorKind::ObjectNotFound | ErrorKind::VersionNotFound | ErrorKind::UploadNotFound => {
                let key = if context.source_key.is_empty() { context.key } else { context.source_key };
                builder.resource("longshore.v1.Object", key)
            }
            ErrorKind::AlreadyExists => builder.resource("longshore.v1.Object", context.key),
            _ => builder,
        };
        if let Some(unmet) = error.unmet() {
            builder = builder.unmet(context, unmet);
        }
        let temporary = matches!(error.kind(), ErrorKind::Throttled | ErrorKind::MemoryExhausted);
        if let Some(delay) = error.retry_after().or(temporary.then_some(DEFAULT_RETRY_DELAY)) {
            builder = builder.retry_after(delay);
        }
        if let Some(meta) = error.left_behind() {
            builder = builder.attach("longshore.v1.ObjectMeta", &object::object_meta(meta.clone()));
        }
        if let Some(UploadOffsets { persisted_size, before, after }) = error.upload_offsets() {
            builder = builder.label("persisted_size", persisted_size.to_string());
            builder = builder.label("boundary_before", before.to_string());
            if let Some(after) = after {
                builder = builder.label("boundary_after", after.to_string());
            }
        }
        builder
    }

    /// The finished status. It stays within [`size::LIMIT`]: details that do not fit are left out, the largest first,
    /// and then texts are cut.
    ///
    /// DEADLINE_EXCEEDED and CANCELLED have no details. A client can create these statuses itself with its own message
    /// and still read the server's trailers; Python's grpcio-status raises ValueError if the two messages differ.
    pub(crate) fn build(mut self) -> Status {
        if matches!(self.code, Code::DeadlineExceeded | Code::Cancelled) {
            return Status::new(self.code, self.message);
        }
        let mut details = self.encode();
        while !size::fits(&self.message, details.len()) && self.shrink() {
            details = self.encode();
        }
        Status::with_details_and_metadata(self.code, self.message, details.into(), pushback(self.pushback))
    }

    fn encode(&self) -> Vec<u8> {
        let info = rpc::ErrorInfo {
            reason: reason_name(self.reason).to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: self.metadata.clone(),
        };
        let mut details = vec![any("google.rpc.ErrorInfo", &info)];
        details.extend_from_slice(&self.details);
        rpc::Status { code: self.code.into(), message: self.message.clone(), details }.encode_to_vec()
    }

    /// Makes the status smaller. Returns `false` if nothing is left to remove or cut.
    fn shrink(&mut self) -> bool {
        let details = self.details.iter().enumerate().filter(|(_, detail)| detail.value.len() >= size::SMALL);
        if let Some((largest, _)) = details.max_by_key(|(_, detail)| detail.value.len()) {
            self.details.remove(largest);
            return true;
        }
        let labels = self.metadata.values_mut().filter(|value| value.len() > size::SMALL);
        match labels.max_by_key(|value| value.len()) {
            Some(longest) => *longest = cut(longest, size::SMALL).into_owned(),
            None if self.message.len() > size::SMALL => {
                self.message = cut(&self.message, size::SMALL).into_owned();
            }
            None => return false,
        }
        true
    }

    /// Adds the details of the S3 requests.
    fn s3_details(self, error: &Error) -> Self {
        let mut builder = self;
        if error.attempts() > 0 {
            builder = builder
                .label("attempts", error.attempts().to_string())
                .label("elapsed_ms", error.elapsed().as_millis().to_string());
        }
        if error.quota_exhausted() {
            builder = builder.label("retry_quota", "empty");
        }
        if error.circuit_open() {
            builder = builder.label("circuit", "open");
        }
        let Some(service) = error.service() else {
            return builder;
        };
        let http_status =
            if service.http_status == 0 { String::new() } else { service.http_status.to_string() };
        builder
            .label("s3_code", &service.code)
            .label("s3_request_id", &service.request_id)
            .label("s3_host_id", &service.host_id)
            .label("http_status", http_status)
    }

    /// Adds the conditions that failed, and the object that each is about. In a copy the mode is about the destination,
    /// and all other conditions are about the source.
    fn unmet(self, context: &ErrorContext<'_>, unmet: FailedCondition) -> Self {
        let (candidates, on_source): (&[&str], _) = match unmet {
            FailedCondition::Mode => (&["mode.create", "mode.update"], false),
            FailedCondition::Same => (&["if_match", "if_unmodified_since"], true),
            FailedCondition::Other => (&["if_none_match", "if_modified_since"], true),
        };
        let is_source = on_source && !context.source_key.is_empty();
        let subject = if is_source { context.source_key } else { context.key };
        let violation = |condition: &&str| rpc::precondition_failure::Violation {
            r#type: (*condition).to_owned(),
            subject: truncate(subject, MAX_NAME).into_owned(),
            description: cut(&self.message, MAX_DESCRIPTION).into_owned(),
        };
        let violations: Vec<_> = context
            .conditions
            .iter()
            .filter(|condition| candidates.contains(condition))
            .map(violation)
            .collect();
        if violations.is_empty() {
            return self;
        }
        self.attach("google.rpc.PreconditionFailure", &rpc::PreconditionFailure { violations })
    }

    fn attach(mut self, name: &str, detail: &impl Message) -> Self {
        self.details.push(any(name, detail));
        self
    }
}

/// The name of a reason in `ErrorInfo`.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn pushback(pushback: Option<Pushback>) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    // The value is a 32-bit signed integer. A client that cannot parse it, or finds a negative one, does not retry.
    let milliseconds = match pushback {
        None => return metadata,
        Some(Pushback::RetryAfter(delay)) => i32::try_from(delay.as_millis()).unwrap_or(i32::MAX),
        Some(Pushback::DoNotRetry) => -1,
    };
    metadata.insert(PUSHBACK, MetadataValue::from(milliseconds));
    metadata
}

fn any(name: &str, detail: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: detail.encode_to_vec() }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        api::failure::Failure,
        pb,
        store::{Field, ObjectMeta, Properties, ServiceDetails},
    };

    const LABELS: ErrorContext<'_> = ErrorContext {
        request_id: "r1",
        tenant: "acme",
        store: "default",
        key: "a/b",
        source_key: "",
        conditions: &["if_match", "if_none_match"],
    };

    fn status(error: Error) -> Status {
        Failure::from(error).into_status(&LABELS)
    }

    #[test]
    fn the_metadata_describes_the_s3_requests() {
        let error = Error::new(ErrorKind::BackendUnavailable, "S3 failed")
            .with_service(ServiceDetails {
                code: "InternalError".to_owned(),
                request_id: "S3R".to_owned(),
                host_id: "S3H".to_owned(),
                http_status: 500,
            })
            .after_attempts(11, Duration::from_millis(4200))
            .with_quota_exhausted();
        let info = status(error).get_details_error_info().unwrap();
        let expected = [
            ("tenant", "acme"),
            ("store", "default"),
            ("request_id", "r1"),
            ("s3_code", "InternalError"),
            ("s3_request_id", "S3R"),
            ("s3_host_id", "S3H"),
            ("http_status", "500"),
            ("attempts", "11"),
            ("elapsed_ms", "4200"),
            ("retry_quota", "empty"),
        ];
        assert_eq!(info.metadata, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn unknown_values_are_left_out() {
        let status =
            Failure::from(Error::new(ErrorKind::Internal, "x")).into_status(&ErrorContext::default());
        assert!(status.get_details_error_info().unwrap().metadata.is_empty());
    }

    #[test]
    fn a_missing_object_is_named_in_resource_info() {
        let info = status(Error::new(ErrorKind::ObjectNotFound, "no such key")).get_details_resource_info();
        assert_eq!(info.unwrap().resource_name, "a/b");
    }

    #[test]
    fn temporary_failures_have_a_retry_delay_in_details_and_trailer() {
        let delays = |error: Error| {
            let status = status(error);
            let pushback =
                status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
            let info = status.get_details_retry_info().and_then(|info| info.retry_delay);
            let milliseconds = info.map(|delay| u64::try_from(delay.as_millis()).unwrap());
            assert_eq!(pushback, milliseconds);
            let mut headers = http::HeaderMap::new();
            status.add_header(&mut headers).unwrap();
            assert_eq!(headers.contains_key(PUSHBACK), pushback.is_some());
            pushback
        };
        let throttled = Error::new(ErrorKind::Throttled, "slow down");
        for error in [throttled.clone(), Error::new(ErrorKind::MemoryExhausted, "no memory")] {
            assert!((1_000..2_001).contains(&delays(error).unwrap()));
        }
        let asked = throttled.with_retry_after(Some(Duration::from_millis(2500)));
        assert!((2_500..3_501).contains(&delays(asked.clone()).unwrap()));
        assert_eq!(delays(Error::new(ErrorKind::BackendUnavailable, "x")), None);
        let distinct: std::collections::HashSet<_> = (0..20).map(|_| delays(asked.clone())).collect();
        assert!(distinct.len() > 1, "the delay has jitter");
    }

    /// The size of a status in headers, counted as gRPC C-core counts it.
    fn size(status: &Status) -> usize {
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers.insert("x-request-id", http::HeaderValue::from_str(&"r".repeat(128)).unwrap());
        headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    #[test]
    fn every_error_keeps_its_reason_within_4_kib() {
        let texts = ["x", "🚢", "%", "\u{1}", "\n", "ü ", "\u{202e}"].map(|text| text.repeat(20_000));
        for text in &texts {
            let key: String = text.chars().take(256).collect();
            let context =
                ErrorContext { request_id: &"r".repeat(128), tenant: text, store: text, key: &key, ..LABELS };
            let service = ServiceDetails {
                code: text.clone(),
                request_id: text.clone(),
                host_id: text.clone(),
                http_status: 500,
            };
            for kind in [
                ErrorKind::ObjectNotFound,
                ErrorKind::PreconditionFailed,
                ErrorKind::RenameSourceRemains,
                ErrorKind::Throttled,
            ] {
                let meta = ObjectMeta {
                    key: key.clone(),
                    properties: Properties { etag: Some(text.clone()), ..Properties::default() },
                    ..ObjectMeta::default()
                };
                let error = Error::new(kind, text)
                    .with_service(service.clone())
                    .with_field(Field::Key)
                    .with_left_behind(meta);
                let status = Failure::from(error).into_status(&context);
                assert!(size(&status) < 4096, "{kind:?} {}", size(&status));
                let info = status.get_details_error_info().unwrap();
                assert_eq!(info.reason, reason_name(crate::api::status::classify(kind).1));
                assert_eq!(info.metadata["request_id"], context.request_id);
                assert_eq!(kind == ErrorKind::Throttled, status.get_details_retry_info().is_some());
                let decoded = rpc::Status::decode(status.details()).unwrap();
                assert_eq!((decoded.code, &*decoded.message), (status.code() as i32, status.message()));
            }
            for failure in [Failure::StoreNotFound(text.clone()), Failure::field(text.clone(), text)] {
                assert!(size(&failure.into_status(&context)) < 4096);
            }
        }
    }

    #[test]
    fn the_longest_key_of_a_missing_object_is_not_cut() {
        let key = "🚢".repeat(256);
        let status = Failure::from(Error::new(ErrorKind::ObjectNotFound, "there is no object with this key"))
            .into_status(&ErrorContext { key: &key, ..LABELS });
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, key);
    }

    #[test]
    fn only_the_failed_condition_is_reported() {
        let failed = |kind| {
            let details = status(Error::new(kind, "x")).get_details_precondition_failure().unwrap();
            details.violations.into_iter().map(|violation| violation.r#type).collect::<Vec<_>>()
        };
        assert_eq!(failed(ErrorKind::PreconditionFailed), ["if_match"]);
        assert_eq!(failed(ErrorKind::NotModified), ["if_none_match"]);
    }

    #[test]
    fn an_invalid_field_found_by_the_store_is_named() {
        let violations =
            status(Error::invalid_field(Field::Key, "is too long")).get_details_bad_request().unwrap();
        assert_eq!(violations.field_violations[0].field, "key");
    }

    #[test]
    fn a_rename_that_kept_its_source_reports_the_destination() {
        let meta = ObjectMeta { key: "new".to_owned(), size: 7, ..ObjectMeta::default() };
        let status = status(Error::new(ErrorKind::RenameSourceRemains, "x").with_left_behind(meta));
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let any = details.iter().find(|any| any.type_url == "type.googleapis.com/longshore.v1.ObjectMeta");
        let meta = pb::ObjectMeta::decode(any.unwrap().value.as_slice()).unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("new", 7));
    }
}
