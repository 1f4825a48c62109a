//! The one way in for every call: who calls, for which tenant, in which store, by which grant.

use std::{sync::OnceLock, time::Instant};

use http::HeaderMap;
use tonic::{Extensions, Request, Response, Status};

use super::{
    call::CallContext,
    failure::Failure,
    status::{Labels, Side},
};
use crate::{
    auth::{Access, Actor, Authenticator, Refusal, Scope},
    store::{Error, S3Store},
    telemetry::{Direction, Metrics, cut},
    tenants::{Pool, Tenant},
};

/// The name of the store that an empty name means.
const DEFAULT_STORE: &str = "default";

/// The metadata that names the tenant.
const TENANT: &str = "x-longshore-tenant";

/// The longest name of a tenant or a store; a longer text is not repeated to whoever sent it.
const MAX_NAME: usize = 64;

/// The most bytes of a key in a line of the log.
const MAX_LOGGED_KEY: usize = 256;

/// Lets calls in. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pool: Pool,
    authenticator: Authenticator,
    metrics: Metrics,
}

/// Whom a call is from and for, as its metadata says. The server's layers put it into the request's extensions before a byte
/// of the message is read.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    actor: Actor,
    tenant: Tenant,
}

impl Admitted {
    /// The tenant that the call is for.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// Settles callers before their calls reach a service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Gate);

impl Admission {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(gate)
    }

    /// Settles who calls and for which tenant by the call's metadata, for the services to find in `extensions`; or the status
    /// that the call ends with.
    pub fn settle(&self, headers: &HeaderMap, extensions: &mut Extensions) -> Result<(), Status> {
        self.0.settle(headers, extensions)
    }
}

/// A call that was let in: who acts for which tenant, and what is known of the call by now.
#[derive(Debug)]
pub(crate) struct Call {
    context: CallContext,
    actor: Actor,
    tenant: Tenant,
    metrics: Metrics,
    key: OnceLock<String>,
    source_key: OnceLock<String>,
    conditions: OnceLock<Vec<&'static str>>,
}

/// A store's name with the empty one spelled out.
pub(crate) fn store_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_STORE } else { name }
}

impl Gate {
    pub(crate) fn new(pool: Pool, authenticator: Authenticator, metrics: Metrics) -> Self {
        Self { pool, authenticator, metrics }
    }

    /// Settles who calls and for which tenant, and remembers both in the request's extensions.
    pub(crate) fn settle(&self, headers: &HeaderMap, extensions: &mut Extensions) -> Result<(), Status> {
        let admitted = self.admitted(headers, extensions)?;
        extensions.insert(admitted);
        Ok(())
    }

    /// Lets a call in. Its caller and tenant are those that [`Gate::settle`] found; a call that did not come through the
    /// server's layers is settled here.
    pub(crate) fn admit<T>(&self, request: Request<T>) -> Result<(Call, T), Status> {
        let (metadata, mut extensions, message) = request.into_parts();
        let Admitted { actor, tenant } = match extensions.remove::<Admitted>() {
            Some(admitted) => admitted,
            None => self.admitted(metadata.as_ref(), &extensions)?,
        };
        let call = Call {
            context: extensions.remove().unwrap_or_default(),
            actor,
            tenant,
            metrics: self.metrics.clone(),
            key: OnceLock::new(),
            source_key: OnceLock::new(),
            conditions: OnceLock::new(),
        };
        Ok((call, message))
    }

    fn admitted(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Admitted, Status> {
        let context = extensions.get::<CallContext>();
        self.acting(headers, context).map_err(|failure| {
            let labels = Labels {
                request_id: context.map_or("", |context| &context.request_id),
                tenant: refused_tenant(&failure, headers),
                ..Labels::default()
            };
            if let Some(context) = context {
                context.facts.fail(failure.for_log(false));
            }
            failure.into_status(&labels)
        })
    }

    fn acting(&self, headers: &HeaderMap, context: Option<&CallContext>) -> Result<Admitted, Failure> {
        let facts = context.map(|context| &context.facts);
        let principal = match only(headers, "authorization")? {
            // What is not visible ASCII is no token (RFC 6750, section 2.1).
            Some(Err(())) => self.authenticator.authenticate(Some("Bearer \u{fffd}"))?,
            Some(Ok(text)) => self.authenticator.authenticate(Some(text))?,
            None => self.authenticator.authenticate(None)?,
        };
        let named = match only(headers, TENANT)? {
            Some(Err(())) => return Err(Failure::field(TENANT, "is not ASCII text")),
            Some(Ok(name)) => Some(name),
            None => None,
        };
        let actor = principal.acting_for(named).inspect_err(|_| {
            if let Some(facts) = facts {
                facts.set_caller(principal.name());
            }
        })?;
        if let Some(facts) = facts {
            facts.set_caller(actor.name());
            facts.set_tenant(actor.tenant());
        }
        let tenant = self.pool.tenant(actor.tenant()).ok_or(Refusal::TenantNotAllowed)?;
        if let Some(facts) = facts {
            facts.set_memory(tenant.budget());
        }
        Ok(Admitted { actor: actor.clone(), tenant })
    }
}

/// The value of a metadata key that may be there once; `Err(())` for one that is not text. Two values would be
/// a question of who reads which: a proxy that checked the first, and Longshore that went by the last.
fn only<'a>(headers: &'a HeaderMap, key: &'static str) -> Result<Option<Result<&'a str, ()>>, Failure> {
    let mut values = headers.get_all(key).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().map_err(|_| ()))),
        (Some(_), Some(_)) => Err(Failure::field(key, "is in the metadata more than once")),
    }
}

/// The tenant that was refused, as the caller named it: whether it exists or not.
fn refused_tenant<'a>(failure: &Failure, headers: &'a HeaderMap) -> &'a str {
    let named = || headers.get(TENANT)?.to_str().ok().filter(|name| name.len() <= MAX_NAME);
    match failure {
        Failure::Refused(Refusal::TenantNotAllowed | Refusal::TenantUnknown) => named().unwrap_or_default(),
        _ => "",
    }
}

/// The status of a call whose message cannot be read.
pub(crate) fn refused(extensions: &Extensions, failure: Failure) -> Status {
    let facts = extensions.get::<CallContext>().map(|context| &context.facts);
    if let Some(facts) = facts {
        facts.fail(failure.for_log(false));
    }
    let request_id = extensions.get::<CallContext>().map_or("", |context| &context.request_id);
    let tenant = extensions.get::<Admitted>().map_or("", |admitted| admitted.tenant.name());
    failure.into_status(&Labels { request_id, tenant, ..Labels::default() })
}

impl Call {
    /// The tenant that the call is for.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Who calls.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// The store `name` for `access` to `scope`, bounded by the call's deadline. The grant is asked before the
    /// store is looked for: whoever may not use a store does not learn whether it is there.
    pub(crate) fn open(&self, access: Access, name: &str, scope: Scope<'_>) -> Result<S3Store, Failure> {
        self.context.facts.set_store(store_name(name));
        if let Scope::Key(key) = scope {
            self.key.get_or_init(|| key.to_owned());
        }
        self.permit(access, name, scope)?;
        self.store(name)
    }

    /// The store `name` to read `key` of it for a copy. The call stays one about the copy's destination.
    pub(crate) fn open_source(&self, access: &[Access], name: &str, key: &str) -> Result<S3Store, Failure> {
        self.source_key.get_or_init(|| key.to_owned());
        for access in access {
            self.permit(*access, name, Scope::Key(key))?;
        }
        self.store(name)
    }

    /// Asks the grant for `access` to `scope` of the store `name`.
    pub(crate) fn permit(&self, access: Access, name: &str, scope: Scope<'_>) -> Result<(), Failure> {
        if name.len() > MAX_NAME {
            return Err(Failure::field(
                "store",
                format!("is longer than {MAX_NAME} characters: no store is called so"),
            ));
        }
        Ok(self.actor.authorize(access, store_name(name), scope)?)
    }

    /// Says that the call is about the store `name`.
    pub(crate) fn about(&self, name: &str) {
        self.context.facts.set_store(store_name(name));
    }

    /// The store `name`, which the caller has been allowed.
    pub(crate) fn store(&self, name: &str) -> Result<S3Store, Failure> {
        let name = store_name(name);
        let store = self.tenant.store(name).ok_or_else(|| Failure::StoreNotFound(name.to_owned()))?;
        Ok(store?.until(self.context.deadline).on_connection(self.context.record.clone()))
    }

    /// Remembers which conditions the request has, to tell which of them can have failed.
    pub(crate) fn conditions(&self, names: impl IntoIterator<Item = &'static str>) {
        self.conditions.get_or_init(|| names.into_iter().collect());
    }

    /// Counts bytes of an object that came from the caller.
    pub(crate) fn received(&self, count: usize) {
        let count = count as u64;
        self.metrics.bytes(Direction::Upload, count);
        self.context.facts.add_bytes_in(count);
    }

    /// Counts bytes of an object that go to the caller.
    pub(crate) fn sent(&self, count: usize) {
        let count = count as u64;
        self.metrics.bytes(Direction::Download, count);
        self.context.facts.add_bytes_out(count);
    }

    /// What a handler answers.
    pub(crate) fn answer<T>(&self, outcome: Result<T, Failure>) -> Result<Response<T>, Status> {
        outcome.map(Response::new).map_err(|failure| self.fail(failure))
    }

    /// Logs that `failed` parts of the call failed though the call goes on; `error` is the first, about `key`.
    pub(crate) fn log_partial_failure(&self, key: &str, error: &Error, failed: usize) {
        let failure = Failure::from(error.clone());
        let failure = failure.for_log(false);
        tracing::warn!(
            parent: None,
            request_id = &*self.context.request_id,
            tenant = self.tenant.name(),
            store = self.context.facts.store(),
            key = &*cut(key, MAX_LOGGED_KEY),
            failed,
            reason = failure.reason,
            s3_code = failure.s3_code,
            error = failure.error,
            "a part of a call failed"
        );
    }

    /// What the caller gets for a failure.
    pub(crate) fn fail(&self, failure: impl Into<Failure>) -> Status {
        let failure = failure.into();
        let (_, _, side) = failure.verdict();
        let facts = &self.context.facts;
        let labels = Labels {
            request_id: &self.context.request_id,
            tenant: self.tenant.name(),
            store: facts.store().unwrap_or_default(),
            key: self.key.get().map_or("", String::as_str),
            source_key: self.source_key.get().map_or("", String::as_str),
            conditions: self.conditions.get().map_or(&[], Vec::as_slice),
        };
        let expired =
            side == Side::Backend && self.context.deadline.is_some_and(|deadline| deadline <= Instant::now());
        facts.set_key(labels.key);
        facts.fail(failure.for_log(expired));
        if expired { failure.into_deadline_exceeded() } else { failure.into_status(&labels) }
    }
}
