//! Renaming, which S3 has not: a copy, then a delete.

use super::{CopyOptions, Error, ErrorKind, ObjectMeta, ReadOptions, S3Store, WriteMode};

impl S3Store {
    /// Copies as [`S3Store::copy_from`], then deletes the source, if it is still what was copied. If the second half
    /// fails the error is [`ErrorKind::RenameSourceRemains`], and both objects are there; so they are if the future is
    /// dropped between the two.
    pub async fn rename_from(
        &self,
        source: &S3Store,
        key: &str,
        destination: &str,
        mode: WriteMode,
    ) -> Result<ObjectMeta, Error> {
        let from = source.full_key(key, "source.key")?;
        let to = self.full_key(destination, "destination.key")?;
        if from == to && self.settings().bucket.bucket == source.settings().bucket.bucket {
            self.require_another_object(source, &from).await?;
        }
        let options = CopyOptions { mode, ..CopyOptions::default() };
        let (copied, original) = self.copy_pinned(source, key, destination, options).await?;
        match source.delete_unchanged(&from, &original.etag).await {
            Ok(()) => Ok(copied),
            Err(error) => {
                let message = format!("the copy was made, but the source remains: {}", error.message());
                Err(error.recast(ErrorKind::RenameSourceRemains, message).with_left_behind(copied))
            }
        }
    }

    /// Deletes an object if it still has this ETag. A server without conditional deletes is asked for the ETag first,
    /// which leaves a moment in between.
    async fn delete_unchanged(&self, full_key: &str, etag: &str) -> Result<(), Error> {
        let condition = Some(etag).filter(|etag| !etag.is_empty());
        let outcome = self.client().delete_object(full_key, None, condition, self.deadline).await;
        match outcome {
            Err(error) if error.kind() == ErrorKind::OperationNotSupported && condition.is_some() => {}
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => return Ok(()),
            other => return other.map(drop),
        }
        let current = ReadOptions::default();
        let found = self.client().head_object(current.selecting(full_key), self.deadline).await?;
        if found.meta.etag != etag {
            return Err(Error::new(ErrorKind::ObjectChanged, "the source was replaced after it was copied"));
        }
        self.client().delete_object(full_key, None, None, self.deadline).await.map(drop)
    }

    /// Bucket and key are the same: the source is the destination itself, unless the stores are on different servers.
    /// One server has many spellings (name or address, with or without its port), so the objects are compared and not
    /// the endpoints alone: a rename onto itself would end in deleting the only copy.
    async fn require_another_object(&self, source: &S3Store, full_key: &str) -> Result<(), Error> {
        let current = ReadOptions::default();
        let ours = self.client().head_object(current.selecting(full_key), self.deadline);
        let theirs = source.client().head_object(current.selecting(full_key), self.deadline);
        let (ours, theirs) = futures::future::join(ours, theirs).await;
        let different = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                let seen = |meta: ObjectMeta| (meta.etag, meta.last_modified, meta.version, meta.size);
                seen(ours.meta) != seen(theirs.meta)
            }
            (Err(missing), Ok(_)) => missing.kind() == ErrorKind::ObjectNotFound,
            (_, Err(error)) => return Err(error),
        };
        if different && self.settings().bucket.endpoint != source.settings().bucket.endpoint {
            return Ok(());
        }
        let message = "destination.key is the source itself: give another key";
        Err(Error::invalid_field("destination.key", message))
    }
}
