//! Renaming, which S3 has not: a copy, a proof of it, then a delete.

use super::{ChecksumType, Copied, CopyOptions, Error, ErrorKind, ReadOptions, S3Store, WriteMode};
use crate::s3::{Checksum, HeadAnswer};

impl S3Store {
    /// Copies as [`S3Store::copy_from`], then deletes the source, if the destination is seen to have its bytes and it is still what was
    /// copied. If that is not so, or the delete fails, the error is [`ErrorKind::RenameSourceRemains`], and both objects are there;
    /// so they are if the future is dropped between the two.
    pub async fn rename_from(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        mode: WriteMode,
    ) -> Result<Copied, Error> {
        let from = source.full_key(key, "source.key")?;
        let to = self.full_key(destination, "destination.key")?;
        let buckets = [source, self].map(|store| &*store.settings().bucket.bucket);
        if may_be_one_bucket(buckets) && may_be_one(&from, &to) {
            self.require_another_object(source, &from, &to).await?;
        }
        let options = CopyOptions { mode, ..CopyOptions::default() };
        let (copied, original) = self.copy_pinned(source, key, destination, options).await?;
        let outcome = match self.prove(&to, &copied, &original).await {
            Ok(()) => source.delete_unchanged(&from, &original).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(copied),
            Err(error) => {
                let message = format!("the copy was made, but the source remains: {}", error.message());
                Err(error.recast(ErrorKind::RenameSourceRemains, message).with_left_behind(copied.meta))
            }
        }
    }

    /// Fails unless the destination is seen to have what the source had: as many bytes, and the same MD5 or checksum where both have
    /// one.
    async fn prove(&self, destination: &str, copied: &Copied, original: &HeadAnswer) -> Result<(), Error> {
        let written =
            ReadOptions { version: copied.meta.properties.version.clone(), ..ReadOptions::default() };
        let found = match self.client().head_object(written.selecting(destination), self.deadline).await {
            // A permission of its own is needed to name a version, and some servers name versions that they do not know.
            Err(_) if written.version.is_some() => {
                let current = ReadOptions::default();
                self.client().head_object(current.selecting(destination), self.deadline).await
            }
            found => found,
        };
        let mut found = found?;
        let unlike = |what: &str| {
            let message = format!("the object at the destination has not the source's {what}");
            Err(Error::new(ErrorKind::ObjectChanged, message))
        };
        let unquoted = |etag: &Option<String>| etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
        let (said, seen) = (unquoted(&copied.meta.properties.etag), unquoted(&found.properties.etag));
        if said.is_some() && seen.is_some() && said != seen {
            let message = "the object at the destination is not the one that S3 has answered with";
            return Err(Error::new(ErrorKind::ObjectChanged, message));
        }
        if found.size == 0 {
            // What some servers say of every object.
            found.size =
                self.client().object_size(written.selecting(destination), &found, self.deadline).await?;
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
        // It may be the object that was there before.
        let message = "nothing but its size says that the object at the destination is the copy";
        Err(Error::new(ErrorKind::ObjectChanged, message))
    }

    /// Deletes an object if it is still `original`. It is looked at first, since some servers ignore the condition of a delete; that leaves
    /// a moment in between on these.
    async fn delete_unchanged(&self, full_key: &str, original: &HeadAnswer) -> Result<(), Error> {
        let current = ReadOptions::default();
        let found = match self.client().head_object(current.selecting(full_key), self.deadline).await {
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => return Ok(()),
            found => found?,
        };
        if !is_known_to_be(&found, original) {
            return Err(Error::new(ErrorKind::ObjectChanged, "it was replaced after it was copied"));
        }
        let etag = original.properties.strong_etag();
        match self.client().delete_object(full_key, None, etag, self.deadline).await {
            Err(error) if error.kind() == ErrorKind::OperationNotSupported && etag.is_some() => {
                self.client().delete_object(full_key, None, None, self.deadline).await.map(drop)
            }
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Source and destination may be two names of one object: one server has many spellings (by name or address, with or without
    /// a tenant before the bucket), and some servers fold slashes or the case of keys. A rename onto itself would end in deleting the only
    /// copy. They are two if the destination does not exist, or is seen to differ; what is not said does not differ.
    async fn require_another_object(&self, source: &S3Store, from: &str, to: &str) -> Result<(), Error> {
        let current = ReadOptions::default();
        let look_up = async |store: &S3Store, key: &str| {
            store.client().head_object(current.selecting(key), self.deadline).await
        };
        let before = look_up(source, from).await?;
        let destination = match look_up(self, to).await {
            Err(missing) if missing.kind() == ErrorKind::ObjectNotFound => return Ok(()),
            found => found?,
        };
        // A write between the two would make one object look like two.
        let after = look_up(source, from).await?;
        let settings = (&self.settings().bucket, &source.settings().bucket);
        let same_name = from == to
            && settings.0.bucket == settings.1.bucket
            && settings.0.endpoint == settings.1.endpoint;
        if !same_name && is_known_to_be(&after, &before) && differ(&destination, &before) {
            return Ok(());
        }
        let message = "is the source itself, or cannot be told from it: give another key";
        Err(Error::invalid_field("destination.key", message))
    }
}

/// Whether two names of buckets may be of one: some servers take a name with or without a tenant before it, and in any case.
fn may_be_one_bucket(buckets: [&str; 2]) -> bool {
    let [one, other] = buckets.map(|bucket| bucket.rsplit(':').next().unwrap_or(bucket).to_lowercase());
    one == other
}

/// Whether some server takes both for names of one object, or they are the same name.
fn may_be_one(from: &str, to: &str) -> bool {
    // Some servers resolve these as in a path.
    let resolved = |key: &str| key.split('/').any(|segment| matches!(segment, "." | ".."));
    if resolved(from) || resolved(to) {
        return true;
    }
    let folded = |key: &str| {
        let segments = key.split('/').filter(|segment| !segment.is_empty());
        segments.collect::<Vec<_>>().join("/").to_lowercase()
    };
    // Of names beyond ASCII some servers fold more than the case.
    folded(from) == folded(to)
        || (!from.is_ascii() && !to.is_ascii() && from.chars().count() != to.chars().count())
}

/// Whether `found` is the object that was seen as `original`. Something has to identify it: its ETag, or a version of its own. The time of
/// a write does not, since two writes may come in one second.
fn is_known_to_be(found: &HeadAnswer, original: &HeadAnswer) -> bool {
    let (found, original) = ((&found.properties, found.size), (&original.properties, original.size));
    let has_version = original.0.version.as_deref().is_some_and(|version| version != "null");
    let identified = original.0.etag.is_some() || has_version;
    let same = found.0.etag == original.0.etag
        && found.0.version == original.0.version
        && found.0.last_modified == original.0.last_modified;
    identified && same && found.1 == original.1
}

/// Whether two answers are about different objects: something that both say differs.
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
    fn keys_that_some_server_takes_for_one_are_looked_at_twice() {
        for (from, to) in [
            ("a", "a"),
            ("/a", "a"),
            ("a//b", "a/b"),
            ("a/./b/", "a/b"),
            ("d/x/../k", "d/k"),
            ("logo.png", "Logo.PNG"),
        ] {
            assert!(may_be_one(from, to), "{from} {to}");
        }
        assert!(may_be_one("caf\u{e9}", "cafe\u{301}"));
        for (from, to) in [("a", "b"), ("a/b", "ab"), ("é", "è")] {
            assert!(!may_be_one(from, to), "{from} {to}");
        }
        assert!(may_be_one_bucket(["tenant:Bucket", "bucket"]));
        assert!(!may_be_one_bucket(["tenant:bucket", "tenant:other"]));
    }
}
