//! The object that a read has found. Every further request of the same read gets bytes of that object or
//! fails, as far as the server identifies the object ([`Pinned::is_exact`]).

use std::ops::Range;

use super::byte_range::check_covers;
use crate::s3::{GetAnswer, Selection};
use crate::store::{ByteRange, Conditions, Error, ErrorKind, ObjectMeta, Properties, ReadOptions, S3Store};

/// The version of an object that was written while versioning was off or suspended. Another write replaces it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/AddingObjectstoVersionSuspendedBuckets.html>).
const NULL_VERSION: &str = "null";

/// Whether an object with this version and ETag cannot be mistaken for one that replaces it.
pub(in crate::store) fn is_exact(version: Option<&str>, etag: Option<&str>) -> bool {
    etag.is_some() || version.is_some_and(|version| version != NULL_VERSION)
}

/// What identifies an object in further requests. Both are `None` if the server returned neither a strong ETag nor a
/// version other than `null`, and the caller named no version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store) struct Pin {
    pub(in crate::store) version: Option<String>,
    pub(in crate::store) if_match: Option<String>,
}

impl Pin {
    /// Pins the strong ETag. Pins the version only if there is no strong ETag or the caller named the version, because
    /// naming a version requires its own permission
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, "Permissions"). A version
    /// `null` in the response pins nothing.
    pub(in crate::store) fn of(options: &ReadOptions, properties: &Properties) -> Self {
        let if_match = properties.strong_etag().map(str::to_owned);
        let found =
            properties.version.clone().filter(|version| if_match.is_none() && version != NULL_VERSION);
        Self { version: options.version.clone().or(found), if_match }
    }
}

/// An object and how to request further bytes of it.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pinned {
    full_key: String,
    version: Option<String>,
    /// Nothing but `if_match` is ever set, to a strong ETag.
    conditions: Conditions,
    /// What later responses must repeat, because a server may ignore `If-Match` and the version.
    etag: Option<String>,
    found_version: Option<String>,
    size: u64,
}

impl Pinned {
    /// Pins the object that a request with `options` found.
    pub(in crate::store) fn new(full_key: String, options: &ReadOptions, found: &ObjectMeta) -> Self {
        let Pin { version, if_match } = Pin::of(options, &found.properties);
        Self {
            full_key,
            version,
            conditions: Conditions { if_match, ..Conditions::default() },
            etag: found.properties.etag.clone(),
            found_version: found.properties.version.clone(),
            size: found.size,
        }
    }

    /// Whether requests name the ETag or the version. Otherwise they can get bytes of an object that replaced this one.
    pub(in crate::store) fn is_exact(&self) -> bool {
        is_exact(self.version.as_deref(), self.conditions.if_match.as_deref())
    }

    /// If the pin is not exact, pins the version in `properties`.
    pub(in crate::store) fn pinning_version_of(mut self, properties: &Properties) -> Self {
        if !self.is_exact() {
            let Pin { version, .. } = Pin::of(&ReadOptions::default(), properties);
            self.found_version = self.found_version.or_else(|| version.clone());
            self.version = version.or(self.version);
        }
        self
    }

    /// Requests bytes of the object; `range` must not be empty. The response contains the first byte of the range, but
    /// may begin before the range, and end before or after its end. If the object has been replaced or deleted, the
    /// error is [`ErrorKind::ObjectChanged`].
    pub(in crate::store) async fn get(&self, store: &S3Store, range: Range<u64>) -> Result<GetAnswer, Error> {
        let selection =
            Selection { key: &self.full_key, version: self.version.as_deref(), conditions: &self.conditions };
        let bounded = ByteRange::Bounded { start: range.start, end: range.end };
        let answer = store.client().get_object(selection, Some(bounded)).await.map_err(as_object_changed)?;
        self.check(answer, range.start)
    }

    /// Returns `answer` if it is from the pinned object and contains the byte at `start`.
    pub(in crate::store) fn check(&self, answer: GetAnswer, start: u64) -> Result<GetAnswer, Error> {
        let Properties { etag, version, .. } = &answer.properties;
        let is_other_version = self.found_version.as_ref().zip(version.as_ref()).is_some_and(|(a, b)| a != b);
        if *etag != self.etag || answer.size != self.size || is_other_version {
            return Err(Error::new(
                ErrorKind::ObjectChanged,
                "the object was replaced while it was being read: read it again",
            ));
        }
        check_covers(answer.start..answer.end, &(start..start + 1))?;
        Ok(answer)
    }
}

/// Turns errors which show that the object was replaced or deleted into [`ErrorKind::ObjectChanged`]: the first request
/// found it, with the requested bytes.
fn as_object_changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed
        | ErrorKind::ObjectNotFound
        | ErrorKind::VersionNotFound
        | ErrorKind::RangeNotSatisfiable => error.recast(
            ErrorKind::ObjectChanged,
            "the object was replaced or deleted while it was being read: read it again",
        ),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_pinned_by_its_version_only_without_a_strong_etag() {
        let said = |etag: Option<&str>| Properties {
            etag: etag.map(str::to_owned),
            version: Some("v".to_owned()),
            ..Properties::default()
        };
        let pin = |etag| Pin::of(&ReadOptions::default(), &said(etag));
        let version = Some("v".to_owned());
        assert_eq!(pin(Some("\"e\"")), Pin { version: None, if_match: Some("\"e\"".to_owned()) });
        assert_eq!(pin(Some("W/\"e\"")), Pin { version: version.clone(), if_match: None });
        assert_eq!(pin(None), Pin { version, if_match: None });
        let null = Properties { version: Some("null".to_owned()), ..Properties::default() };
        assert_eq!(Pin::of(&ReadOptions::default(), &null), Pin::default());
        let named = ReadOptions { version: Some("null".to_owned()), ..ReadOptions::default() };
        assert_eq!(Pin::of(&named, &null).version.as_deref(), Some("null"));
    }

    #[test]
    fn the_version_null_and_a_missing_etag_make_a_pin_inexact() {
        assert!(
            is_exact(Some("v"), None)
                && is_exact(None, Some("\"e\""))
                && is_exact(Some("null"), Some("\"e\""))
        );
        assert!(!is_exact(Some("null"), None) && !is_exact(None, None));
    }
}
