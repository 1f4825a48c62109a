//! A status while its details are put together.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb as rpc;

use crate::{
    api::convert,
    pb::ErrorReason,
    store::{Error, ErrorKind},
};

/// The domain of every reason.
const DOMAIN: &str = "longshore";

/// When to come back to a server that asked to slow down without saying for how long.
const DEFAULT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// What is known of the call that failed; what is empty is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Labels<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) store: &'a str,
    /// The key that the call is about; of a copy, the destination's.
    pub(crate) key: &'a str,
    /// The key that a copy or a rename reads.
    pub(crate) source_key: &'a str,
    /// The conditions in the request, by their fields.
    pub(crate) conditions: &'a [&'static str],
}

/// A status to be, with `google.rpc.ErrorInfo` and whatever else fits. It is encoded by hand, since
/// `tonic_types::ErrorDetails` takes the standard details only, and one of ours is a message of our own.
#[derive(Debug)]
pub(crate) struct Draft {
    code: Code,
    reason: ErrorReason,
    message: String,
    metadata: HashMap<String, String>,
    details: Vec<Any>,
}

impl Draft {
    /// A status of `code` for `reason`, told by one plain sentence.
    pub(crate) fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), metadata: HashMap::new(), details: Vec::new() }
    }

    /// Adds one entry to the metadata, unless it is empty or already there.
    pub(crate) fn label(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        if !value.is_empty() {
            self.metadata.entry(name.to_owned()).or_insert(value);
        }
        self
    }

    /// Adds what is known of the call.
    pub(crate) fn labels(self, labels: &Labels<'_>) -> Self {
        self.label("request_id", labels.request_id)
            .label("tenant", labels.tenant)
            .label("store", labels.store)
    }

    /// Adds the field at fault.
    pub(crate) fn violation(self, field: &str, description: &str) -> Self {
        let violation = rpc::bad_request::FieldViolation {
            field: field.to_owned(),
            description: description.to_owned(),
            ..Default::default()
        };
        self.label("field", field)
            .attach("google.rpc.BadRequest", &rpc::BadRequest { field_violations: vec![violation] })
    }

    /// Adds when to come back.
    pub(crate) fn retry_after(self, delay: Duration) -> Self {
        let retry_delay = Some(convert::duration(delay));
        self.attach("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay })
    }

    /// Adds what is not there, or is there already.
    pub(crate) fn resource(self, kind: &str, name: &str) -> Self {
        let description = self.message.clone();
        let info = rpc::ResourceInfo {
            resource_type: kind.to_owned(),
            resource_name: name.to_owned(),
            owner: String::new(),
            description,
        };
        self.attach("google.rpc.ResourceInfo", &info)
    }

    /// Adds what a store's error says beyond its kind and sentence.
    pub(crate) fn error(self, error: &Error, labels: &Labels<'_>) -> Self {
        let mut draft = self.trail(error);
        if let Some(field) = error.field() {
            draft = draft.violation(field, error.message());
        }
        draft = match error.kind() {
            ErrorKind::ObjectNotFound | ErrorKind::VersionNotFound | ErrorKind::UploadNotFound => {
                let key = if labels.source_key.is_empty() { labels.key } else { labels.source_key };
                draft.resource("longshore.v1.Object", key)
            }
            ErrorKind::AlreadyExists => draft.resource("longshore.v1.Object", labels.key),
            ErrorKind::PreconditionFailed => {
                draft.unmet(labels, &["if_match", "if_unmodified_since", "mode.update"])
            }
            ErrorKind::NotModified => draft.unmet(labels, &["if_none_match", "if_modified_since"]),
            _ => draft,
        };
        let throttled = (error.kind() == ErrorKind::Throttled).then_some(DEFAULT_RETRY_DELAY);
        if let Some(delay) = error.retry_after().or(throttled) {
            draft = draft.retry_after(delay);
        }
        if let Some(meta) = error.left_behind() {
            draft = draft.attach("longshore.v1.ObjectMeta", &convert::object_meta(meta.clone()));
        }
        draft
    }

    /// The status itself.
    pub(crate) fn build(self) -> Status {
        let info = rpc::ErrorInfo {
            reason: reason_name(self.reason).to_owned(),
            domain: DOMAIN.to_owned(),
            metadata: self.metadata,
        };
        let mut details = vec![any("google.rpc.ErrorInfo", &info)];
        details.extend(self.details);
        let status = rpc::Status { code: self.code.into(), message: self.message.clone(), details };
        Status::with_details(self.code, self.message, status.encode_to_vec().into())
    }

    /// The way to S3 and back.
    fn trail(self, error: &Error) -> Self {
        let mut draft = self;
        if error.attempts() > 0 {
            draft = draft
                .label("attempts", error.attempts().to_string())
                .label("elapsed_ms", error.elapsed().as_millis().to_string());
        }
        if error.quota_exhausted() {
            draft = draft.label("retry_quota", "empty");
        }
        let Some(service) = error.service() else {
            return draft;
        };
        let http_status =
            if service.http_status == 0 { String::new() } else { service.http_status.to_string() };
        draft
            .label("s3_code", &service.code)
            .label("s3_request_id", &service.request_id)
            .label("s3_host_id", &service.host_id)
            .label("http_status", http_status)
    }

    /// Adds which of the request's conditions can have failed in this way.
    fn unmet(self, labels: &Labels<'_>, candidates: &[&str]) -> Self {
        let subject = if labels.source_key.is_empty() { labels.key } else { labels.source_key };
        let violation = |condition: &&str| rpc::precondition_failure::Violation {
            r#type: (*condition).to_owned(),
            subject: subject.to_owned(),
            description: self.message.clone(),
        };
        let violations: Vec<_> = labels
            .conditions
            .iter()
            .filter(|condition| candidates.iter().any(|candidate| condition.ends_with(candidate)))
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

/// A reason as `ErrorInfo` has it.
pub(crate) fn reason_name(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
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
        store::{ObjectMeta, ServiceDetails},
    };

    const LABELS: Labels<'_> = Labels {
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
    fn the_way_to_s3_is_in_the_metadata() {
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
    fn what_is_not_known_is_left_out() {
        let status = Failure::from(Error::new(ErrorKind::Internal, "x")).into_status(&Labels::default());
        assert!(status.get_details_error_info().unwrap().metadata.is_empty());
    }

    #[test]
    fn a_missing_object_is_named() {
        let info = status(Error::new(ErrorKind::ObjectNotFound, "no such key")).get_details_resource_info();
        assert_eq!(info.unwrap().resource_name, "a/b");
    }

    #[test]
    fn throttling_says_when_to_come_back() {
        let delay = |error| status(error).get_details_retry_info().and_then(|info| info.retry_delay);
        let throttled = Error::new(ErrorKind::Throttled, "slow down");
        assert_eq!(delay(throttled.clone()), Some(Duration::from_secs(1)));
        let asked = Duration::from_millis(2500);
        assert_eq!(delay(throttled.with_retry_after(Some(asked))), Some(asked));
        assert_eq!(delay(Error::new(ErrorKind::BackendUnavailable, "x")), None);
    }

    #[test]
    fn a_failed_condition_is_told_from_those_that_hold() {
        let failed = |kind| {
            let details = status(Error::new(kind, "x")).get_details_precondition_failure().unwrap();
            details.violations.into_iter().map(|violation| violation.r#type).collect::<Vec<_>>()
        };
        assert_eq!(failed(ErrorKind::PreconditionFailed), ["if_match"]);
        assert_eq!(failed(ErrorKind::NotModified), ["if_none_match"]);
    }

    #[test]
    fn a_field_of_the_stores_is_named() {
        let violations =
            status(Error::invalid_field("key", "is too long")).get_details_bad_request().unwrap();
        assert_eq!(violations.field_violations[0].field, "key");
    }

    #[test]
    fn a_half_done_rename_says_what_it_left() {
        let meta = ObjectMeta { key: "new".to_owned(), size: 7, ..ObjectMeta::default() };
        let status = status(Error::new(ErrorKind::RenameSourceRemains, "x").with_left_behind(meta));
        let details = rpc::Status::decode(status.details()).unwrap().details;
        let any = details.iter().find(|any| any.type_url == "type.googleapis.com/longshore.v1.ObjectMeta");
        let meta = pb::ObjectMeta::decode(any.unwrap().value.as_slice()).unwrap();
        assert_eq!((meta.key.as_str(), meta.size), ("new", 7));
    }
}
