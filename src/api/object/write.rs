//! `Put`.

use crate::{
    api::{convert, failure::Failure, gate::Call},
    auth::{Access, Scope},
    pb,
    store::check_chunk,
};

/// If this future is dropped, the S3 request is cancelled, and the object may or may not have been written.
pub(super) async fn put(call: &Call, request: pb::PutRequest) -> Result<pb::PutResponse, Failure> {
    let key = convert::key(&request.key, "key")?;
    let options =
        convert::write_options(request.attributes, request.tags, request.mode, request.checksum_algorithm)?;
    call.record_conditions(convert::mode_name(&options.mode));
    let store = call.open(Access::Write, &request.store, Scope::Key(key))?;
    call.received(request.data.len());
    call.check_object_size(request.data.len() as u64)?;
    check_chunk(std::slice::from_ref(&request.data), request.crc32c, "`data`")?;
    let meta = store.put(key, request.data, options).await?;
    Ok(pb::PutResponse { meta: Some(convert::object_meta(meta)) })
}
