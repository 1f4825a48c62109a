//! Renames objects. S3 has no rename, so this copies the object, verifies the copy, and deletes the source.

use super::{
    ChecksumType, Copied, CopyOptions, Error, ErrorKind, Field, ReadOptions, S3Store, WriteMode,
    copy::of_the_source, transfer::pinned::is_exact,
};
use crate::s3::{Checksum, HeadAnswer};

impl S3Store {
    /// Copies like [`S3Store::copy_from`], then deletes the source, if the destination provably has its bytes and the
    /// source has not changed. If that is not the case, or the delete fails, the error is
    /// [`ErrorKind::RenameSourceRemains`] and both objects usually exist, unless the response to a delete was lost. Both also
    /// exist if the future is dropped between the copy and the delete.
    pub async fn rename_from(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        mode: WriteMode,
    ) -> Result<Copied, Error> {
        let from = source.full_key(key, Field::Source)?;
        let to = self.full_key(destination, Field::Destination)?;
        let buckets = [source, self].map(|store| &*store.settings().bucket.bucket);
        if may_be_one_bucket(buckets) && may_alias(&from, &to) {
            self.require_another_object(source, &from, &to).await?;
        }
        let options = CopyOptions { mode, ..CopyOptions::default() };
        let (copied, original) =
            Box::pin(self.copy_pinned(source, key, destination, options)).await.map_err(of_the_source)?;
        let outcome = match self.prove(&to, &copied, &original).await {
            Ok(()) => source.delete_unchanged(&from, &original).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(copied),
            Err(error) => {
                let message = format!("the copy was made, but the source may remain: {}", error.message());
                Err(error.recast(ErrorKind::RenameSourceRemains, message).with_left_behind(copied.meta))
            }
        }
    }

    /// Fails unless the destination provably has the bytes of the source: the same size, and the same MD5 or checksum
    /// if both have one.
    async fn prove(&self, destination: &str, copied: &Copied, original: &HeadAnswer) -> Result<(), Error> {
        let written =
            ReadOptions { version: copied.meta.properties.version.clone(), ..ReadOptions::default() };
        let found = match self.client().head_object(written.selecting(destination)).await {
            // Naming a version requires its own permission, and some servers return versions that they do not know.
            Err(_) if written.version.is_some() => {
                let current = ReadOptions::default();
                self.client().head_object(current.selecting(destination)).await
            }
            found => found,
        };
        let mut found = found?;
        let unlike = |what: &str| {
            let message = format!("the object at the destination does not have the source's {what}");
            Err(Error::new(ErrorKind::ObjectChanged, message))
        };
        let unquoted = |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
        let (said, seen) = (unquoted(&copied.meta.properties.etag), unquoted(&found.properties.etag));
        if said.is_some() && seen.is_some() && said != seen {
            let message =
                "the object at the destination does not have the ETag that S3 returned for the copy";
            return Err(Error::new(ErrorKind::ObjectChanged, message));
        }
        if found.size == 0 {
            // Some servers report a size of 0 for every object.
            found.size = self.client().object_size(written.selecting(destination), &found).await?;
        }
        if found.size != copied.meta.size {
            return unlike("size");
        }
        if let (Some(theirs), Some(ours)) = (found.md5, original.md5)
            && theirs != ours
        {
            return unlike("MD5");
        }
        let pairs = original.properties.checksums.iter().filter_map(|ours| {
            let same_kind = |theirs: &&Checksum| {
                let whole = Some(ChecksumType::FullObject);
                theirs.algorithm == ours.algorithm && theirs.kind == whole && ours.kind == whole
            };
            Some((ours, found.properties.checksums.iter().find(same_kind)?))
        });
        let pairs: Vec<_> = pairs.collect();
        if pairs.iter().any(|(ours, theirs)| ours.value != theirs.value) {
            return unlike("checksum");
        }
        let is_the_one_written = said.is_some() && seen.is_some();
        if is_the_one_written || (found.md5.is_some() && original.md5.is_some()) || !pairs.is_empty() {
            return Ok(());
        }
        // It may be an object that existed before the copy.
        let message =
            "the object at the destination has the right size, but nothing else shows that it is the copy";
        Err(Error::new(ErrorKind::ObjectChanged, message))
    }

    /// Deletes an object if it is still `original`. It is checked first, because some servers ignore the condition of a
    /// delete. On these servers, the object may still change between the check and the delete.
    async fn delete_unchanged(&self, full_key: &str, original: &HeadAnswer) -> Result<(), Error> {
        let current = ReadOptions::default();
        let found = match self.client().head_object(current.selecting(full_key)).await {
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => return Ok(()),
            found => found?,
        };
        if !is_known_to_be(&found, original) {
            return Err(Error::new(ErrorKind::ObjectChanged, "it was replaced after it was copied"));
        }
        let etag = original.properties.strong_etag();
        match self.client().delete_object(full_key, None, etag).await {
            Err(error) if error.kind() == ErrorKind::OperationNotSupported && etag.is_some() => {
                self.client().delete_object(full_key, None, None).await.map(drop)
            }
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Fails unless source and destination are two objects. They may be two names of one: the same server can be
    /// configured in different ways (by name or by address, with or without a tenant before the bucket), and some
    /// servers ignore repeated slashes or the case of keys. Renaming an object onto itself would delete its only
    /// copy. There are two objects if the destination does not exist, or if both responses have a value that differs;
    /// a missing value does not count.
    async fn require_another_object(&self, source: &S3Store, from: &str, to: &str) -> Result<(), Error> {
        let current = ReadOptions::default();
        let look_up =
            async |store: &S3Store, key: &str| store.client().head_object(current.selecting(key)).await;
        let before = look_up(source, from).await?;
        let destination = match look_up(self, to).await {
            Err(missing) if missing.kind() == ErrorKind::ObjectNotFound => return Ok(()),
            found => found?,
        };
        // A write between the two requests would make one object look like two.
        let after = look_up(source, from).await?;
        let settings = (&self.settings().bucket, &source.settings().bucket);
        let same_name = from == to
            && settings.0.bucket == settings.1.bucket
            && settings.0.endpoint == settings.1.endpoint;
        if !same_name && is_known_to_be(&after, &before) && differ(&destination, &before) {
            return Ok(());
        }
        let message = "is the source itself, or cannot be distinguished from it: give another key";
        Err(Error::invalid_field(Field::Destination, message))
    }
}

/// Whether two bucket names may refer to one bucket. Some servers accept a name with or without a tenant before it, and
/// ignore case.
fn may_be_one_bucket(buckets: [&str; 2]) -> bool {
    let [one, other] = buckets.map(|bucket| bucket.rsplit(':').next().unwrap_or(bucket).to_lowercase());
    one == other
}

/// Whether two keys are equal, or refer to one object on some servers.
fn may_alias(from: &str, to: &str) -> bool {
    // Some servers resolve these segments as in a file path.
    let resolved = |key: &str| key.split('/').any(|segment| matches!(segment, "." | ".."));
    if resolved(from) || resolved(to) {
        return true;
    }
    let folded = |key: &str| {
        let segments = key.split('/').filter(|segment| !segment.is_empty());
        segments.collect::<Vec<_>>().join("/").to_lowercase()
    };
    // In keys that are not ASCII, some servers ignore more than differences in case.
    folded(from) == folded(to)
        || (!from.is_ascii() && !to.is_ascii() && from.chars().count() != to.chars().count())
}

/// Whether `found` is the same object as `original`. Its ETag or its own version must identify it. The time of a
/// write does not, because two writes may happen in one second.
fn is_known_to_be(found: &HeadAnswer, original: &HeadAnswer) -> bool {
    let (found, original) = ((&found.properties, found.size), (&original.properties, original.size));
    let identified = is_exact(original.0.version.as_deref(), original.0.etag.as_deref());
    let same = found.0.etag == original.0.etag
        && found.0.version == original.0.version
        && found.0.last_modified == original.0.last_modified;
    identified && same && found.1 == original.1
}

/// Whether two responses are about different objects: a value that both have differs.
fn differ(one: &HeadAnswer, other: &HeadAnswer) -> bool {
    fn says_otherwise<T: PartialEq>(one: Option<&T>, other: Option<&T>) -> bool {
        matches!((one, other), (Some(one), Some(other)) if one != other)
    }
    let (ours, theirs) = (&one.properties, &other.properties);
    one.size != other.size
        || says_otherwise(ours.etag.as_ref(), theirs.etag.as_ref())
        || says_otherwise(ours.version.as_ref(), theirs.version.as_ref())
        || says_otherwise(ours.last_modified.as_ref(), theirs.last_modified.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_refer_to_one_object_on_some_servers_are_found() {
        for (from, to) in [
            ("a", "a"),
            ("/a", "a"),
            ("a//b", "a/b"),
            ("a/./b/", "a/b"),
            ("d/x/../k", "d/k"),
            ("logo.png", "Logo.PNG"),
        ] {
            assert!(may_alias(from, to), "{from} {to}");
        }
        assert!(may_alias("caf\u{e9}", "cafe\u{301}"));
        for (from, to) in [("a", "b"), ("a/b", "ab"), ("é", "è")] {
            assert!(!may_alias(from, to), "{from} {to}");
        }
        assert!(may_be_one_bucket(["tenant:Bucket", "bucket"]));
        assert!(!may_be_one_bucket(["tenant:bucket", "tenant:other"]));
    }
}
