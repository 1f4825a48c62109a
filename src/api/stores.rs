//! `StoreService`: lists a tenant's stores, shows their settings and checks them.

use tonic::{Request, Response, Status};

use super::{
    convert,
    failure::Failure,
    gate::{Call, Gate, store_name},
    page_token::ListingDigest,
};
use crate::{
    auth::{Access, Refusal, Scope},
    credentials::Origin,
    pb::{self, store_service_server::StoreService},
    store::{CheckStep, Error, ErrorKind, StoreCheck, StoreSettings},
};

/// The service.
#[derive(Debug)]
pub(crate) struct Stores {
    gate: Gate,
}

impl Stores {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl StoreService for Stores {
    async fn list_stores(&self, request: Request<pb::ListStoresRequest>) -> Answer<pb::ListStoresResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(list(&call, &message))
    }

    async fn get_store(&self, request: Request<pb::GetStoreRequest>) -> Answer<pb::GetStoreResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(get(&call, &message))
    }

    async fn check_store(&self, request: Request<pb::CheckStoreRequest>) -> Answer<pb::CheckStoreResponse> {
        let (call, message) = self.gate.admit(request)?;
        call.answer(check(&call, &message).await)
    }
}

fn list(call: &Call, request: &pb::ListStoresRequest) -> Result<pb::ListStoresResponse, Failure> {
    let tenant = call.tenant();
    let listing = ListingDigest::new(&[tenant.name(), "stores"]);
    let after = listing.continuation(&request.page_token)?;
    let page_size = usize::from(convert::page_size(request.page_size)?);
    let mut visible = tenant
        .stores()
        .filter(|(name, _)| after.as_deref().is_none_or(|after| *name > after) && call.actor().sees(name));
    let page: Vec<_> = visible.by_ref().take(page_size).collect();
    let last = page.last().map(|(name, _)| *name).filter(|_| visible.next().is_some());
    Ok(pb::ListStoresResponse {
        stores: page.into_iter().map(|(name, settings)| message(call, name, settings)).collect(),
        next_page_token: listing.token(last),
    })
}

fn get(call: &Call, request: &pb::GetStoreRequest) -> Result<pb::GetStoreResponse, Failure> {
    let name = visible(call, &request.store)?;
    let tenant = call.tenant();
    let settings = tenant.store_settings(name).ok_or_else(|| Failure::StoreNotFound(name.to_owned()))?;
    Ok(pb::GetStoreResponse { store: Some(message(call, name, settings)) })
}

/// The message for a store. Only callers that may administer the bucket learn which one it is.
fn message(call: &Call, name: &str, settings: &StoreSettings) -> pb::Store {
    convert::store_message(call.tenant().name(), name, settings, shows_place(call, name))
}

/// Whether the caller may learn where the store `name` is.
fn shows_place(call: &Call, name: &str) -> bool {
    call.actor().authorize(Access::BucketAdmin, name, Scope::Prefix("")).is_ok()
}

/// If this future is dropped, the S3 request is cancelled. A scratch key may remain in the bucket.
async fn check(call: &Call, request: &pb::CheckStoreRequest) -> Result<pb::CheckStoreResponse, Failure> {
    let name = visible(call, &request.store)?;
    if request.probe_writes {
        // The scratch key can be anywhere in the store.
        call.permit(Access::Write, name, Scope::Prefix(""))?;
        call.permit(Access::Delete, name, Scope::Prefix(""))?;
    }
    let (steps, credentials) = match call.store(name) {
        Ok(store) => {
            let StoreCheck { steps, credentials } = Box::pin(store.check(request.probe_writes)).await;
            (
                steps.into_iter().map(|found| step(call, name, found)).collect(),
                credentials.as_ref().map(origin),
            )
        }
        // A store that cannot be built does not work either, so the check reports that as its result.
        Err(Failure::Store(error, _)) => {
            call.log_partial_failure("", &error, 1);
            (vec![unbuilt(&error)], None)
        }
        Err(failure) => return Err(failure),
    };
    Ok(pb::CheckStoreResponse { steps, credentials })
}

/// The store's name, if any of the caller's grants covers the store.
fn visible<'a>(call: &Call, name: &'a str) -> Result<&'a str, Failure> {
    let name = store_name(name);
    call.record_store(name);
    if call.actor().sees(name) {
        return Ok(name);
    }
    Err(Refusal::store_not_granted(name).into())
}

/// The message for a step of a check of the store `name`. If the step failed, the log has the details that callers do not
/// get.
fn step(call: &Call, name: &str, step: CheckStep) -> pb::CheckStep {
    let (ok, message) = match step.outcome {
        Ok(message) => (true, message),
        Err(error) => {
            call.log_partial_failure("", &error, 1);
            (false, shown(&error, shows_place(call, name)))
        }
    };
    pb::CheckStep {
        name: step.name.to_owned(),
        duration: Some(convert::duration(step.duration)),
        ok,
        message,
        fix: step.fix,
    }
}

/// The message of a failed step. Only callers that may learn where the store is get S3's own text, which can name the
/// bucket or repeat the prefix.
fn shown(error: &Error, shows_place: bool) -> String {
    match error.service() {
        Some(service) if !shows_place && error.kind() == ErrorKind::InvalidRequest => {
            format!("S3 rejected the request (S3 returned {}): the server's log has its text", service.code)
        }
        _ => error.message().to_owned(),
    }
}

fn origin(origin: &Origin) -> pb::CredentialsOrigin {
    pb::CredentialsOrigin {
        provider: origin.provider.to_owned(),
        duration: origin.took.map(convert::duration),
        expire_time: origin.expires_at.map(convert::timestamp),
    }
}

fn unbuilt(error: &Error) -> pb::CheckStep {
    pb::CheckStep {
        name: "settings".to_owned(),
        duration: Some(prost_types::Duration::default()),
        ok: false,
        message: error.message().to_owned(),
        fix: "correct the store's settings in the tenants file".to_owned(),
    }
}
