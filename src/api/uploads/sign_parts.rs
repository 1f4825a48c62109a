//! `SignParts`.

use prost::Message as _;
use tokio::task::yield_now;

use super::{id::UploadIds, named};
use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, Signature},
        object::sign::{BATCH, MAX_RESPONSE},
    },
    auth::{Access, Scope},
    pb,
    store::{ErrorKind, Field, PageMemory},
};

/// The maximum number of parts in a call.
const MAX_PARTS: usize = 1000;

/// Returns the URLs, and the memory that they use until the caller has received them. Sends no request to S3.
pub(super) async fn urls(
    call: &Call,
    ids: &UploadIds,
    request: pb::SignPartsRequest,
) -> Result<(pb::SignPartsResponse, PageMemory), Failure> {
    let lifetime = convert::lifetime(request.expires_in)?;
    let count = request.parts.len();
    if !(1..=MAX_PARTS).contains(&count) {
        return Err(Failure::field("parts", format!("must have 1 to {MAX_PARTS} entries, not {count}")));
    }
    let (name, upload) = named(call, ids, &request.upload_id, "upload_id")?;
    let signature =
        Signature { method: "PUT", access: Access::Write, version: None, seconds: lifetime.as_secs() };
    let store = call.open_to_sign(signature, &name, &[Scope::Key(&upload.key)])?;
    let mut signer = store.part_signer(&upload, lifetime).await?;
    let expire_time = Some(convert::timestamp(signer.expires_at()));
    let (mut parts, mut size) = (Vec::with_capacity(count), 0);
    for (index, part) in request.parts.into_iter().enumerate() {
        let number = u32::try_from(part.part_number).unwrap_or_default();
        let made = signer.part(number, part.checksum.into()).await.map_err(|error| match error.field() {
            Some(field @ (Field::PartNumber | Field::PartChecksum))
                if error.kind() == ErrorKind::InvalidField =>
            {
                let name = convert::field::path(field, convert::field::Layout::Message);
                Failure::field(format!("parts[{index}].{name}"), error.message())
            }
            _ => error.into(),
        })?;
        let part = pb::SignedPart {
            part_number: part.part_number,
            offset: convert::signed(made.bytes.start),
            size: convert::signed(made.bytes.end - made.bytes.start),
            url: made.url.url,
            headers: made.url.headers.into_iter().collect(),
            expire_time,
        };
        // The tag and the length of the entry take up to 4 bytes.
        size += part.encoded_len() + 4;
        if size > MAX_RESPONSE {
            let message =
                format!("need more than 3 MiB for their URLs: sign {index} parts or fewer in a call");
            return Err(Failure::field("parts", message));
        }
        parts.push(part);
        if parts.len() % BATCH == 0 {
            yield_now().await;
        }
    }
    Ok((pb::SignPartsResponse { parts }, signer.into_memory()))
}
