//! Deletes one object.

use super::{Deleted, Error, ErrorKind, Field, ObjectId, S3Store};

impl S3Store {
    /// Deletes one object or version. Deleting a missing key succeeds, as in S3.
    pub async fn delete(&self, object: &ObjectId) -> Result<Deleted, Error> {
        let full = self.full_key(&object.key, Field::Key)?;
        let outcome = self.client().delete_object(&full, object.version.as_deref(), None).await;
        match outcome {
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(Deleted::default()),
            other => other,
        }
    }
}
