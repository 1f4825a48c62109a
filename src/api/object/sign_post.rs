//! `SignPost`.

use crate::{
    api::{
        convert,
        failure::Failure,
        gate::{Call, Signature},
    },
    auth::{Access, Scope},
    pb,
    store::{PostForm, PostTarget},
};

/// Sends no request to S3.
pub(super) async fn form(
    call: &Call,
    mut request: pb::SignPostRequest,
) -> Result<pb::SignPostResponse, Failure> {
    let name = std::mem::take(&mut request.store);
    let (options, lifetime) = convert::posting(request)?;
    let scope = match &options.target {
        PostTarget::Key(key) => Scope::Key(key),
        PostTarget::Prefix(prefix) => Scope::Prefix(prefix),
    };
    let signature =
        Signature { method: "POST", access: Access::Write, version: None, seconds: lifetime.as_secs() };
    let store = call.open_to_sign(signature, &name, &[scope])?;
    let PostForm { url, fields, expires_at } = store.post_form(options, lifetime).await?;
    let expire_time = Some(convert::timestamp(expires_at));
    Ok(pb::SignPostResponse { url, fields: convert::form_fields(fields), expire_time })
}
