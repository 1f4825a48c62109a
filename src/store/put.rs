//! Writing a whole object by one request.

use bytes::Bytes;

use super::{Error, ErrorKind, ObjectMeta, S3Store, Tags, WriteOptions, conditional::Carrier};
use crate::{
    s3::{NewObject, SummedPayload, WriteCondition},
    transport::Payload,
};

impl S3Store {
    /// Writes a whole object. If the future is dropped before S3 has all of it, nothing is written.
    pub async fn put(&self, key: &str, data: Bytes, options: WriteOptions) -> Result<ObjectMeta, Error> {
        let full = self.full_key(key, "key")?;
        let meta = self.put_payload(&full, data.into(), options).await?;
        Ok(Self::named(meta, key))
    }

    pub(super) async fn put_payload(
        &self,
        full_key: &str,
        bytes: Payload,
        options: WriteOptions,
    ) -> Result<ObjectMeta, Error> {
        self.require_tagging(&options.tags)?;
        let condition = self.condition(full_key, &options.mode, Carrier::Put).await?;
        let object = NewObject {
            attributes: options.attributes,
            tags: options.tags,
            write_id: self.write_id_for(&options.mode),
        };
        let algorithm = self.client().checksum_for(options.checksum_algorithm);
        let payload = SummedPayload::new(algorithm, bytes).await;
        self.put_object(full_key, payload, &object, &condition).await
    }

    /// Writes bytes that have been summed up.
    pub(super) async fn put_object(
        &self,
        full_key: &str,
        payload: SummedPayload,
        object: &NewObject,
        condition: &WriteCondition,
    ) -> Result<ObjectMeta, Error> {
        let outcome = self.client().put_object(full_key, payload, object, condition, self.deadline).await;
        self.settle(full_key, object, condition, outcome).await
    }

    /// Tags are refused rather than dropped where the store's settings say that its server has none.
    pub(super) fn require_tagging(&self, tags: &Tags) -> Result<(), Error> {
        if tags.is_empty() || !self.settings().disable_tagging {
            return Ok(());
        }
        let message = "the store's disable_tagging is set: write the object without tags";
        Err(Error::new(ErrorKind::OperationNotSupported, message).with_field("tags"))
    }
}
