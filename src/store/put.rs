//! Writes a whole object with one request.

use bytes::Bytes;

use super::{
    Error, ErrorKind, Field, ObjectMeta, Properties, S3Store, Tags, WriteOptions, conditional::Carrier,
};
use crate::s3::{ChecksummedPayload, NewObject, WriteCondition};

impl S3Store {
    /// Writes a whole object. If the future is dropped before S3 has received all of it, nothing is written.
    pub async fn put(&self, key: &str, data: Bytes, options: WriteOptions) -> Result<ObjectMeta, Error> {
        let full = self.full_key(key, Field::Key)?;
        self.require_tagging(&options.tags)?;
        let headers = options.attributes.headers()?;
        let condition = self.condition(&full, &options.mode, Carrier::Put).await?;
        let object = NewObject { headers, tags: options.tags, write_id: self.write_id_for(&options.mode) };
        let algorithm = self.client().checksum_for(options.checksum_algorithm);
        let size = data.len() as u64;
        let payload = ChecksummedPayload::new(algorithm, data.into()).await;
        let properties = self.put_object(&full, payload, &object, &condition).await?;
        Ok(ObjectMeta { key: key.to_owned(), size, properties })
    }

    /// Writes a payload with its checksum, and returns the properties of the object.
    pub(super) async fn put_object(
        &self,
        full_key: &str,
        payload: ChecksummedPayload,
        object: &NewObject,
        condition: &WriteCondition,
    ) -> Result<Properties, Error> {
        let outcome = self.client().put_object(full_key, payload, object, condition).await;
        self.settle(full_key, object, condition, outcome).await
    }

    /// Rejects tags, rather than dropping them, if the store's `disable_tagging` is set.
    pub(super) fn require_tagging(&self, tags: &Tags) -> Result<(), Error> {
        if tags.is_empty() || !self.settings().disable_tagging {
            return Ok(());
        }
        let message = "the store's disable_tagging is set: write the object without tags";
        Err(Error::new(ErrorKind::OperationNotSupported, message).with_field(Field::Tags))
    }
}
