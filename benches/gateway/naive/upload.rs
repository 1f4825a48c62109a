//! Upload.

use bytes::Bytes;
use object_store::{ObjectStoreExt, PutPayload, PutResult, WriteMultipart, aws::AmazonS3, path::Path};
use tonic::{Status, Streaming};

use super::convert;
use longshore::pb::{self, upload_request::Message};

/// The part size, and the largest object that is sent as a single PutObject.
const PART: usize = 8 * 1024 * 1024;

/// The concurrency of object_store's own `BufWriter`.
const PARTS_AT_ONCE: usize = 8;

pub(super) async fn upload(
    store: &AmazonS3,
    mut messages: Streaming<pb::UploadRequest>,
) -> Result<pb::UploadResponse, Status> {
    let first = messages.message().await?.and_then(|message| message.message);
    let Some(Message::Spec(spec)) = first else {
        return Err(Status::invalid_argument("the first message must be `spec`"));
    };
    let path = Path::from(spec.key.as_str());
    let (mut held, mut size) = (Vec::<Bytes>::new(), 0);
    let mut writer: Option<WriteMultipart> = None;
    while let Some(message) = messages.message().await? {
        let Some(Message::Chunk(chunk)) = message.message else { continue };
        size += chunk.data.len();
        if let Some(writer) = &mut writer {
            writer.wait_for_capacity(PARTS_AT_ONCE).await.map_err(convert::status)?;
            writer.put(chunk.data);
            continue;
        }
        held.push(chunk.data);
        if size > PART {
            let upload = store.put_multipart(&path).await.map_err(convert::status)?;
            let mut begun = WriteMultipart::new_with_chunk_size(upload, PART);
            for data in held.drain(..) {
                begun.put(data);
            }
            writer = Some(begun);
        }
    }
    let result = match writer {
        Some(writer) => writer.finish().await,
        None => store.put(&path, PutPayload::from_iter(held)).await,
    };
    Ok(answer(spec.key, size, result.map_err(convert::status)?))
}

fn answer(key: String, size: usize, result: PutResult) -> pb::UploadResponse {
    let etag = result.e_tag.unwrap_or_default();
    let parts = i32::try_from(size / PART).unwrap_or_default();
    let size = convert::signed(size as u64);
    pb::UploadResponse { meta: Some(pb::ObjectMeta { key, size, etag, ..pb::ObjectMeta::default() }), parts }
}
