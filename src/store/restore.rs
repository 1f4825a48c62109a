//! Restores archived objects.

use super::{Error, Field, ObjectId, RestoreOptions, Restoring, S3Store};

impl S3Store {
    /// Asks S3 to restore a copy of an archived object or version. If the future is dropped, the restore may or may not
    /// have begun.
    pub async fn restore(&self, object: &ObjectId, options: RestoreOptions) -> Result<Restoring, Error> {
        let full = self.full_key(&object.key, Field::Key)?;
        self.client().restore_object(&full, object.version.as_deref(), options).await
    }
}
