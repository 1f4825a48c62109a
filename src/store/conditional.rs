//! Conditional writes, and how to find out whether one took effect if its response was lost.

use std::sync::atomic::Ordering;

use super::{ConditionalPut, Error, ErrorKind, FailedCondition, Properties, ReadOptions, S3Store, WriteMode};
use crate::s3::{NewObject, WriteCondition};

/// The request that carries a condition. A server may support conditions on one kind of request and ignore them on
/// another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// PutObject.
    Put,
    /// CompleteMultipartUpload.
    Complete,
    /// CopyObject.
    Copy,
}

impl S3Store {
    /// Returns the condition of a write in `mode`, after [`S3Store::require_version`] has succeeded.
    pub(super) async fn condition(
        &self,
        full_key: &str,
        mode: &WriteMode,
        carrier: Carrier,
    ) -> Result<WriteCondition, Error> {
        let condition = self.condition_for_s3(mode, carrier)?;
        self.require_version(full_key, mode).await?;
        Ok(condition)
    }

    /// The condition that S3 itself checks for a write in `mode`.
    pub(super) fn condition_for_s3(
        &self,
        mode: &WriteMode,
        carrier: Carrier,
    ) -> Result<WriteCondition, Error> {
        let condition = match mode {
            WriteMode::Overwrite => return Ok(WriteCondition::None),
            WriteMode::Create => WriteCondition::Absent,
            WriteMode::Update { etag, .. } => WriteCondition::Unchanged(quoted(etag)),
        };
        self.require_conditions(carrier)?;
        Ok(condition)
    }

    /// Fails unless the object has the version that `mode` names, if it names one. S3 has no condition on versions.
    pub(super) async fn require_version(&self, full_key: &str, mode: &WriteMode) -> Result<(), Error> {
        let WriteMode::Update { version: Some(version), etag } = mode else { return Ok(()) };
        let current = ReadOptions::default();
        let found =
            self.client().head_object(current.selecting(full_key)).await.map_err(|error| {
                match error.kind() {
                    ErrorKind::ObjectNotFound => told(error, &WriteCondition::Unchanged(quoted(etag))),
                    _ => error,
                }
            })?;
        if found.properties.version.as_ref() == Some(version) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::PreconditionFailed,
            "the object is no longer the version given in mode.update.version",
        )
        .with_unmet(FailedCondition::Mode))
    }

    fn require_conditions(&self, carrier: Carrier) -> Result<(), Error> {
        let refused = |message| Err(Error::new(ErrorKind::ConditionsNotSupported, message));
        if self.settings().conditional_put == ConditionalPut::Disabled {
            return refused("the store's conditional_put is disabled: only overwrite is possible");
        }
        let ignored = match carrier {
            Carrier::Put => &self.inner.puts_ignore_conditions,
            Carrier::Complete => &self.inner.completes_ignore_conditions,
            Carrier::Copy => return Ok(()),
        };
        if ignored.load(Ordering::Relaxed) {
            return refused(
                "a check of the store found that its S3 server ignores conditions on this kind of write: only overwrite is possible",
            );
        }
        Ok(())
    }

    /// The id of a conditional write; `None` for an overwrite, or if the store's `write_id` is off.
    pub(super) fn write_id_for(&self, mode: &WriteMode) -> Option<String> {
        if *mode == WriteMode::Overwrite { None } else { self.new_write_id() }
    }

    /// Creates an id that no other write has; `None` if the store's `write_id` is off.
    pub(super) fn new_write_id(&self) -> Option<String> {
        self.settings().write_id.then(|| format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)))
    }

    /// Returns the outcome of a conditional write. A write whose response was lost may have taken effect, and its
    /// retry then fails on the object that it wrote itself. The write id of the object shows whether it did.
    pub(super) async fn settle(
        &self,
        full_key: &str,
        object: &NewObject,
        condition: &WriteCondition,
        outcome: Result<Properties, Error>,
    ) -> Result<Properties, Error> {
        let error = match outcome {
            Err(error) if *condition != WriteCondition::None => error,
            other => return other,
        };
        if !error.unclear() {
            return Err(told(error, condition));
        }
        let Some(ours) = &object.write_id else {
            let message = "it is not known whether the write took effect: its response was lost, and the store's write_id is off";
            return Err(error.recast(ErrorKind::WriteUnclear, message));
        };
        let current = ReadOptions::default();
        match self.client().head_object(current.selecting(full_key)).await {
            Ok(found) if found.write_id.as_ref() == Some(ours) => Ok(found.properties),
            Ok(_) => Err(told(error, condition)),
            Err(missing) if missing.kind() == ErrorKind::ObjectNotFound => Err(told(error, condition)),
            Err(_) => {
                let message = "it is not known whether the write took effect: its response was lost, and the object could not be checked";
                Err(error.recast(ErrorKind::WriteUnclear, message))
            }
        }
    }
}

/// Describes a failed condition in terms of the write's mode.
fn told(error: Error, condition: &WriteCondition) -> Error {
    let error = match error.kind() {
        ErrorKind::PreconditionFailed | ErrorKind::ObjectNotFound => error.with_unmet(FailedCondition::Mode),
        _ => error,
    };
    match (error.kind(), condition) {
        (ErrorKind::PreconditionFailed, WriteCondition::Absent) => {
            error.recast(ErrorKind::AlreadyExists, "an object with this key already exists")
        }
        (ErrorKind::PreconditionFailed, WriteCondition::Unchanged(_)) => error
            .recast(ErrorKind::PreconditionFailed, "the object is no longer the one given in mode.update"),
        // S3 answers 404 to If-Match on a key that does not exist.
        (ErrorKind::ObjectNotFound, WriteCondition::Unchanged(_)) => {
            error.recast(ErrorKind::PreconditionFailed, "the object given in mode.update no longer exists")
        }
        // The response of a server that does not support conditions.
        (ErrorKind::OperationNotSupported, _) => error.recast(
            ErrorKind::ConditionsNotSupported,
            "the S3 server does not support conditions on this write",
        ),
        _ => error,
    }
}

/// An ETag in the form that the header requires (RFC 9110, section 8.8.3).
fn quoted(etag: &str) -> String {
    let has_quotes = etag.starts_with('"') || etag.starts_with("W/\"");
    if has_quotes { etag.to_owned() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_quoted_once() {
        assert_eq!(quoted("abc"), "\"abc\"");
        assert_eq!(quoted("\"abc\""), "\"abc\"");
        assert_eq!(quoted("W/\"abc\""), "W/\"abc\"");
    }
}
