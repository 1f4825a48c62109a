//! Reads, replaces and removes the tags of an object.

use super::{Error, ErrorKind, Field, ObjectId, ObjectTags, S3Store, Tags};

impl S3Store {
    /// Returns the tags of an object or version.
    pub async fn tags(&self, object: &ObjectId) -> Result<ObjectTags, Error> {
        let full = self.tagged(object)?;
        let found = self.client().get_object_tagging(&full, object.version.as_deref()).await;
        found.map_err(|error| hidden(error, object))
    }

    /// Replaces all tags of an object or version. Returns the version, if the server returns it. If the future is
    /// dropped, the tags may or may not have been replaced.
    pub async fn put_tags(&self, object: &ObjectId, tags: &Tags) -> Result<Option<String>, Error> {
        let full = self.tagged(object)?;
        let outcome = self.client().put_object_tagging(&full, object.version.as_deref(), tags).await;
        outcome.map_err(|error| hidden(error, object))
    }

    /// Removes all tags of an object or version. Returns the version, if the server returns it. If the future is
    /// dropped, the tags may or may not have been removed.
    pub async fn delete_tags(&self, object: &ObjectId) -> Result<Option<String>, Error> {
        let full = self.tagged(object)?;
        let outcome = self.client().delete_object_tagging(&full, object.version.as_deref()).await;
        outcome.map_err(|error| hidden(error, object))
    }

    /// Returns the key in the bucket of an object whose tags may be read and changed.
    fn tagged(&self, object: &ObjectId) -> Result<String, Error> {
        if self.settings().disable_tagging {
            let message = "the store's disable_tagging is set, so tags can be neither read nor changed";
            return Err(Error::new(ErrorKind::OperationNotSupported, message));
        }
        self.full_key(&object.key, Field::Key)
    }
}

/// If the current version is a delete marker, S3 answers requests for tags with 405, as if the marker had been
/// requested. To the caller, the object does not exist.
fn hidden(error: Error, object: &ObjectId) -> Error {
    if error.kind() == ErrorKind::VersionNotFound && object.version.is_none() {
        return error.recast(ErrorKind::ObjectNotFound, "the object does not exist");
    }
    error
}
