//! `Sign`.

use prost::Message as _;
use tokio::task::yield_now;

use crate::{
    api::{
        convert::{self, Signing},
        failure::Failure,
        gate::{Call, Signature},
    },
    auth::{Access, Scope},
    pb,
    store::{ErrorKind, Field, PageMemory, SignedOperation},
};

/// The largest response, in bytes. Clients accept 4 MiB by default.
pub(crate) const MAX_RESPONSE: usize = 3 * 1024 * 1024;

/// How many URLs are made before other calls of the thread have their turn.
pub(crate) const BATCH: usize = 64;

/// Returns the URLs, and the memory that they use until the caller has received them. Sends no request to S3.
pub(super) async fn urls(
    call: &Call,
    mut request: pb::SignRequest,
) -> Result<(pb::SignResponse, PageMemory), Failure> {
    let name = std::mem::take(&mut request.store);
    let Signing { keys, operation, lifetime } = convert::signing(request)?;
    call.check_keys(keys.len() as u64)?;
    let version = operation.version().map(str::to_owned);
    let signature = signature(&operation, version.as_deref(), lifetime.as_secs());
    let scopes: Vec<_> = keys.iter().map(|key| Scope::Key(key)).collect();
    let store = call.open_to_sign(signature, &name, &scopes)?;
    if keys.len() > 1 && call.is_audited() {
        let objects: Vec<_> =
            keys.iter().map(|key| (key.as_str(), version.as_deref().unwrap_or_default())).collect();
        call.audit_keys(&objects).await?;
    }
    let mut signer =
        store.url_signer(operation, lifetime).await.map_err(|error| Failure::from(error).in_write())?;
    let expire_time = convert::timestamp(signer.expires_at());
    let (mut urls, mut size) = (Vec::with_capacity(keys.len()), 0);
    for (index, key) in keys.into_iter().enumerate() {
        let made = signer.url(&key).await.map_err(|error| {
            if error.kind() == ErrorKind::InvalidField && error.field() == Some(Field::Key) {
                return Failure::field(format!("keys[{index}]"), error.message());
            }
            Failure::from(error).in_write()
        })?;
        let headers = made.headers.into_iter().collect();
        let url = pb::SignedUrl { key, url: made.url, headers, expire_time: Some(expire_time) };
        // The tag and the length of the entry take up to 4 bytes.
        size += url.encoded_len() + 4;
        if size > MAX_RESPONSE {
            let message =
                format!("need more than 3 MiB for their URLs: sign {index} keys or fewer in a call");
            return Err(Failure::field("keys", message));
        }
        urls.push(url);
        if urls.len() % BATCH == 0 {
            yield_now().await;
        }
    }
    Ok((pb::SignResponse { urls }, signer.into_memory()))
}

fn signature<'a>(operation: &SignedOperation, version: Option<&'a str>, seconds: u64) -> Signature<'a> {
    let (method, access) = match operation {
        SignedOperation::Get { .. } => ("GET", Access::Read),
        SignedOperation::Head { .. } => ("HEAD", Access::Read),
        SignedOperation::Put(_) => ("PUT", Access::Write),
        SignedOperation::Delete { .. } => ("DELETE", Access::Delete),
    };
    Signature { method, access, version, seconds }
}
