//! PutObject.

use std::sync::Arc;

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{ETag, PutObjectInput, PutObjectOutput},
};

use super::{
    attributes,
    call::{admit, received, refuse_unkept, told_version},
    checksums::{self, Algorithm},
    conditions::Conditions,
    receive::{Incoming, receive},
    tags,
};
use crate::embedded::storage::{self, ObjectRow, PartRow, Storage, now};

/// Stores an object. The body is received first. The conditions are checked in the transaction, so that one of several
/// concurrent callers wins.
pub(super) async fn put_object(
    storage: &Arc<Storage>,
    mut request: S3Request<PutObjectInput>,
) -> S3Result<S3Response<PutObjectOutput>> {
    let received = received(&mut request);
    let headers = received.headers.clone();
    let PutObjectInput { bucket, key, body, .. } = request.input;
    refuse_unkept(&headers)?;
    let attributes = attributes::of(&headers)?;
    let tags = tags::of_header(&headers)?;
    let conditions = Conditions::of(&headers);
    // Checked twice: before the body, so that no caller sends a body that is rejected anyway, and after it, in the
    // transaction.
    let check = move |bucket_row, there: Option<ObjectRow>| {
        let bucket = admit(bucket_row, &headers)?;
        conditions.check_write(there.as_ref())?;
        Ok::<_, storage::Failed>(bucket.versioning())
    };
    let (early, names) = (check.clone(), (bucket.clone(), key.clone()));
    storage
        .read(move |tables| {
            let (bucket, key) = names;
            early(
                storage::bucket(&tables.buckets, &bucket)?,
                storage::object(&tables.objects, &bucket, &key)?,
            )
        })
        .await?;
    let Incoming { blob, digested } =
        receive(storage.blobs(), None, body, received, Algorithm::DEFAULT).await?;
    let object = ObjectRow {
        size: digested.size,
        etag: hex::encode(digested.md5),
        modified: now(),
        body: blob.name().body,
        checksum: Some(digested.checksum.clone()),
        attributes,
        tags,
        ..ObjectRow::default()
    };
    let mut headers = attributes::told_of_encryption(&object.attributes);
    headers.extend(checksums::headers(&digested.checksum, 0));
    let etag = ETag::Strong(object.etag.clone());
    let version_id = storage
        .write(move |tables| {
            let versioning = check(
                storage::bucket(&tables.buckets, &bucket)?,
                storage::object(&tables.objects, &bucket, &key)?,
            )?;
            tables.put_part(blob, &part(&object, digested.md5))?;
            let written = tables.write_object(&bucket, &key, object, versioning)?;
            Ok(told_version(versioning, &written))
        })
        .await?;
    let output = PutObjectOutput { e_tag: Some(etag), version_id, ..PutObjectOutput::default() };
    Ok(S3Response::with_headers(output, headers))
}

/// The single part of a body that was not uploaded in parts.
fn part(object: &ObjectRow, md5: [u8; 16]) -> PartRow {
    PartRow {
        blob: object.body,
        size: object.size,
        md5: md5.to_vec(),
        modified: object.modified,
        checksum: object.checksum.clone(),
    }
}
