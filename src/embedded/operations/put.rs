//! PutObject.

use std::sync::Arc;

use s3s::{
    S3Request, S3Response, S3Result,
    dto::{ETag, PutObjectInput, PutObjectOutput},
};

use super::{
    attributes,
    call::{admit, received, refuse_unkept},
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
    // Checked twice: before the body, so that no caller sends it in vain, and after it, in the transaction.
    let check = move |bucket_row, there: Option<ObjectRow>| {
        admit(bucket_row, &headers)?;
        Ok::<_, storage::Failed>(conditions.check_write(there.as_ref())?)
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
        parts: 0,
        checksum: Some(digested.checksum.clone()),
        attributes,
        tags,
        parts_have_checksums: false,
    };
    let mut headers = attributes::told_of_encryption(&object.attributes);
    headers.extend(checksums::headers(&digested.checksum, 0));
    let etag = ETag::Strong(object.etag.clone());
    storage
        .write(move |tables| {
            check(
                storage::bucket(&tables.buckets, &bucket)?,
                storage::object(&tables.objects, &bucket, &key)?,
            )?;
            tables.put_part(blob, &part(&object, digested.md5))?;
            tables.put_object(&bucket, &key, &object)?;
            Ok(())
        })
        .await?;
    let output = PutObjectOutput { e_tag: Some(etag), ..PutObjectOutput::default() };
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
