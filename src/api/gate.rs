//! Admission of calls: authenticates the caller, selects the tenant and the store, and checks the grant.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use http::HeaderMap;
use tonic::{Extensions, Request, Response, Status};

use super::{
    call::CallContext,
    failure::Failure,
    method_kind,
    status::{ErrorContext, Fault},
};
use crate::{
    auth::{Access, Actor, KeysWanted, Refusal, Scope},
    store::{Error, ErrorKind, S3Store},
    telemetry::{AuditedObject, CallerUsage, Direction, Metrics, cut},
    tenants::{Pool, Tenant},
};

/// The store that an empty name means.
const DEFAULT_STORE: &str = "default";

/// The metadata key for the tenant.
const TENANT: &str = "x-longshore-tenant";

/// The maximum length of a tenant's or a store's name, in bytes. Longer texts are not repeated to the caller.
const MAX_NAME: usize = 64;

/// The maximum length of a key in a log line, in bytes.
const MAX_LOGGED_KEY: usize = 256;

/// Admits calls. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pool: Pool,
    metrics: Metrics,
}

/// The caller and the tenant of a call, by its metadata. The server's layers put it into the request's extensions
/// before they read the first byte of the message.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    actor: Actor,
    tenant: Tenant,
    usage: CallerUsage,
}

impl Admitted {
    /// The tenant that the call is for.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }
}

/// Authenticates callers before their calls reach a service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Admission(Gate);

/// Whether a call is admitted.
#[derive(Debug)]
pub enum Admittance {
    /// The caller and the tenant are in the call's extensions.
    Admitted,
    /// The call ends with this status.
    Rejected(Status),
    /// Not known yet: the caller's token is a JWT, and one of these requests will bring the keys of its issuer. None of
    /// them takes longer than a few seconds.
    Waiting(Vec<KeysWanted>),
}

/// How long a call waits for the keys of an issuer.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

impl Admission {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(gate)
    }

    /// Determines the caller and the tenant from the call's metadata and stores both in `extensions` for the services.
    /// On failure it returns the status that the call ends with.
    pub fn authenticate(&self, headers: &HeaderMap, extensions: &mut Extensions) -> Result<(), Status> {
        self.0.authenticate(headers, extensions)
    }

    /// Counts an authenticated call as one of its caller. Calls of health and reflection do not count.
    pub fn count(extensions: &Extensions) {
        Gate::count(extensions);
    }

    /// Like [`Admission::authenticate`], but the call may have to wait, and be authenticated again then.
    pub fn try_authenticate(&self, headers: &HeaderMap, extensions: &mut Extensions) -> Admittance {
        match self.0.try_identify(headers, extensions.get::<CallContext>()) {
            Ok(admitted) => {
                extensions.insert(admitted);
                Admittance::Admitted
            }
            Err(Failure::Refused(Refusal::JwtKeysUnavailable)) => match self.0.keys_wanted(headers) {
                // The keys have arrived since, or there is nothing to wait for.
                wanted if wanted.is_empty() => self.authenticate(headers, extensions).into(),
                wanted => Admittance::Waiting(wanted),
            },
            Err(failure) => Admittance::Rejected(Gate::reject(failure, headers, extensions)),
        }
    }

    /// Until when a call waits for the keys of an issuer. It ends before its deadline, so that its caller gets the reason.
    pub fn wait_until(extensions: &Extensions) -> Instant {
        let now = Instant::now();
        let deadline = extensions.get::<CallContext>().and_then(|context| context.deadline);
        let left = deadline.map_or(LONGEST_WAIT, |deadline| deadline.saturating_duration_since(now) * 4 / 5);
        now + left.min(LONGEST_WAIT)
    }
}

impl From<Result<(), Status>> for Admittance {
    fn from(authenticated: Result<(), Status>) -> Self {
        authenticated.map_or_else(Self::Rejected, |()| Self::Admitted)
    }
}

/// A call that waits for a limit.
pub type Waiting = BoxFuture<'static, Result<(), Status>>;

/// Admits an authenticated call to `path` within the limits of its caller, its tenant and the process. `None`: it may
/// proceed. Otherwise, the future waits until it may, or fails with the status that the call ends with. Dropping it
/// leaves the queue.
pub fn within_limits(path: &str, extensions: &Extensions) -> Option<Waiting> {
    let Admitted { actor, tenant, .. } = extensions.get::<Admitted>()?;
    let context = extensions.get::<CallContext>()?;
    let kind = method_kind::kind(path);
    if let Some(permit) = tenant.try_admit(actor.name(), kind) {
        context.facts.hold(permit);
        return None;
    }
    let (actor, tenant, context) = (actor.clone(), tenant.clone(), context.clone());
    Some(Box::pin(async move {
        let deadline = context.deadline.map(tokio::time::Instant::from_std);
        let permit = tenant.admit(actor.name(), kind, deadline).await.map_err(|exceeded| {
            let failure = Failure::from(exceeded);
            context.facts.fail(failure.for_log(false));
            let (request_id, tenant) = (&*context.request_id, tenant.name());
            failure.into_status(&ErrorContext { request_id, tenant, ..ErrorContext::default() })
        })?;
        context.facts.hold(permit);
        Ok(())
    }))
}

/// An admitted call: the caller, the tenant, and the facts about the call so far.
#[derive(Debug)]
pub(crate) struct Call {
    context: CallContext,
    actor: Actor,
    tenant: Tenant,
    usage: CallerUsage,
    metrics: Metrics,
    key: OnceLock<String>,
    source_key: OnceLock<String>,
    conditions: OnceLock<Vec<&'static str>>,
}

/// A signature that allows requests to S3.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signature<'a> {
    /// The HTTP method of the requests.
    pub(crate) method: &'static str,
    /// The access that a call with the same effect needs.
    pub(crate) access: Access,
    /// The version id that the requests name.
    pub(crate) version: Option<&'a str>,
    /// How long it is valid at most, in seconds.
    pub(crate) seconds: u64,
}

/// What the lines of the audit log say that a call on the store `name` is about.
fn audited(name: &str, scope: Scope<'_>) -> AuditedObject {
    let store = AuditedObject::store(&cut(store_name(name), MAX_NAME));
    match scope {
        Scope::Key(key) => store.with_key(key),
        Scope::Prefix(prefix) => store.with_prefix(prefix),
        Scope::Store => store,
    }
}

/// The store's name, with `default` in place of an empty name.
pub(crate) fn store_name(name: &str) -> &str {
    if name.is_empty() { DEFAULT_STORE } else { name }
}

impl Gate {
    pub(crate) fn new(pool: Pool, metrics: Metrics) -> Self {
        Self { pool, metrics }
    }

    /// Determines the caller and the tenant and stores both in the request's extensions.
    pub(crate) fn authenticate(
        &self,
        headers: &HeaderMap,
        extensions: &mut Extensions,
    ) -> Result<(), Status> {
        let admitted = self.identify(headers, extensions)?;
        extensions.insert(admitted);
        Ok(())
    }

    /// Counts a call that [`Gate::authenticate`] has admitted as one of its caller.
    fn count(extensions: &Extensions) {
        if let (Some(admitted), Some(context)) =
            (extensions.get::<Admitted>(), extensions.get::<CallContext>())
        {
            context.facts.count_for(admitted.tenant.usage(), &admitted.usage);
        }
    }

    /// Admits a call for the caller and the tenant that [`Gate::authenticate`] found. If the call did not pass through
    /// the server's layers, both are determined here.
    pub(crate) fn admit<T>(&self, request: Request<T>) -> Result<(Call, T), Status> {
        let (metadata, mut extensions, message) = request.into_parts();
        let Admitted { actor, tenant, usage } = match extensions.remove::<Admitted>() {
            Some(admitted) => admitted,
            None => self.identify(metadata.as_ref(), &extensions)?,
        };
        let call = Call {
            context: extensions.remove().unwrap_or_default(),
            actor,
            tenant,
            usage,
            metrics: self.metrics.clone(),
            key: OnceLock::new(),
            source_key: OnceLock::new(),
            conditions: OnceLock::new(),
        };
        Ok((call, message))
    }

    /// Identifies the caller and the tenant. Records a failure for the access log.
    fn identify(&self, headers: &HeaderMap, extensions: &Extensions) -> Result<Admitted, Status> {
        let found = self.try_identify(headers, extensions.get::<CallContext>());
        found.map_err(|failure| Self::reject(failure, headers, extensions))
    }

    /// The status for a call whose caller or tenant is rejected. Records the failure for the access log.
    fn reject(failure: Failure, headers: &HeaderMap, extensions: &Extensions) -> Status {
        let context = extensions.get::<CallContext>();
        if let Some(context) = context {
            context.facts.fail(failure.for_log(false));
        }
        let tenant = refused_tenant(&failure, headers);
        let request_id = context.map_or("", |context| &context.request_id);
        failure.into_status(&ErrorContext { request_id, tenant, ..ErrorContext::default() })
    }

    /// The requests for the keys of the issuer of the caller's JWT.
    fn keys_wanted(&self, headers: &HeaderMap) -> Vec<KeysWanted> {
        let value = single_value(headers, "authorization").ok().flatten();
        self.pool.snapshot().keys_wanted(value.and_then(Result::ok))
    }

    fn try_identify(&self, headers: &HeaderMap, context: Option<&CallContext>) -> Result<Admitted, Failure> {
        let facts = context.map(|context| &context.facts);
        let tenants = self.pool.snapshot();
        let certificate = context.and_then(|context| context.certificate.as_deref());
        let principal = match single_value(headers, "authorization")? {
            // A value that is not visible ASCII is not a token (RFC 6750, section 2.1).
            Some(Err(())) => tenants.authenticate(Some("Bearer \u{fffd}"), certificate)?,
            Some(Ok(text)) => tenants.authenticate(Some(text), certificate)?,
            None => tenants.authenticate(None, certificate)?,
        };
        let named = match single_value(headers, TENANT)? {
            Some(Err(())) => return Err(Failure::field(TENANT, "must be ASCII text")),
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
        let tenant = tenants.tenant(actor.tenant()).ok_or(Refusal::TenantNotAllowed)?.clone();
        if let Some(facts) = facts {
            facts.set_memory(tenant.budget());
        }
        let usage = tenant.usage().caller(actor.name());
        Ok(Admitted { actor: actor.clone(), tenant, usage })
    }
}

/// The value of a metadata key that may occur only once; `Err(())` if it is not text. Two values would be ambiguous: a
/// proxy might check the first and Longshore use the last.
fn single_value<'a>(
    headers: &'a HeaderMap,
    key: &'static str,
) -> Result<Option<Result<&'a str, ()>>, Failure> {
    let mut values = headers.get_all(key).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(value.to_str().map_err(|_| ()))),
        (Some(_), Some(_)) => Err(Failure::field(key, "must occur only once in the metadata")),
    }
}

/// The name of the rejected tenant, as the caller sent it, whether or not the tenant exists.
fn refused_tenant<'a>(failure: &Failure, headers: &'a HeaderMap) -> &'a str {
    let named = || headers.get(TENANT)?.to_str().ok().filter(|name| name.len() <= MAX_NAME);
    match failure {
        Failure::Refused(Refusal::TenantNotAllowed | Refusal::TenantUnknown) => named().unwrap_or_default(),
        _ => "",
    }
}

/// The status of a call that is rejected before its handler runs, because of its metadata or its message. Also records
/// the failure for the access log.
pub(crate) fn rejected_early(extensions: &Extensions, failure: Failure) -> Status {
    let facts = extensions.get::<CallContext>().map(|context| &context.facts);
    if let Some(facts) = facts {
        facts.fail(failure.for_log(false));
    }
    let request_id = extensions.get::<CallContext>().map_or("", |context| &context.request_id);
    let tenant = extensions.get::<Admitted>().map_or("", |admitted| admitted.tenant.name());
    failure.into_status(&ErrorContext { request_id, tenant, ..ErrorContext::default() })
}

impl Call {
    /// The tenant that the call is for.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The caller.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Returns the store `name` for `access` to `scope`, bounded by the call's deadline. The grant is checked before
    /// the store is looked up, so that a caller without a grant does not learn whether the store exists.
    pub(crate) fn open(&self, access: Access, name: &str, scope: Scope<'_>) -> Result<S3Store, Failure> {
        self.open_version(access, name, scope, None)
    }

    /// Like [`Call::open`], for a call that may name a version of the object, which the audit log then has too.
    pub(crate) fn open_version(
        &self,
        access: Access,
        name: &str,
        scope: Scope<'_>,
        version: Option<&str>,
    ) -> Result<S3Store, Failure> {
        self.context.facts.set_store(store_name(name));
        self.record_key(scope);
        self.audit_object(name, scope, version);
        self.permit(access, name, scope)?;
        self.working_store(name)
    }

    /// Returns the store `name`, to sign requests that need this access to each of `scopes`. Every scope is checked before
    /// the store is looked up. As no request is sent to S3, it does not matter whether the S3 server answers.
    pub(crate) fn open_to_sign(
        &self,
        signature: Signature<'_>,
        name: &str,
        scopes: &[Scope<'_>],
    ) -> Result<S3Store, Failure> {
        let only = if let [scope] = scopes { *scope } else { Scope::Store };
        self.context.facts.set_store(store_name(name));
        if let Some(audit) = self.context.facts.audit() {
            audit.set_object(|| {
                let Signature { method, version, seconds, .. } = signature;
                audited(name, only).with_version(version).with_signature(method, seconds)
            });
        }
        for scope in scopes {
            for access in [Access::Sign, signature.access] {
                self.permit(access, name, *scope).inspect_err(|_| self.record_key(*scope))?;
            }
        }
        self.record_key(only);
        self.store(name)
    }

    /// Returns the store `name`, to administer its bucket. A grant that is limited to prefixes does not suffice.
    pub(crate) fn open_bucket(&self, name: &str) -> Result<S3Store, Failure> {
        self.record_store(name);
        self.permit(Access::BucketAdmin, name, Scope::Prefix(""))?;
        self.working_store(name)
    }

    fn record_key(&self, scope: Scope<'_>) {
        if let Scope::Key(key) = scope {
            self.key.get_or_init(|| key.to_owned());
        }
    }

    /// Sets what the lines of the audit log say that the call is about.
    fn audit_object(&self, name: &str, scope: Scope<'_>, version: Option<&str>) {
        if let Some(audit) = self.context.facts.audit() {
            audit.set_object(|| audited(name, scope).with_version(version));
        }
    }

    /// Sets the source of a copy or a rename in the audit log.
    fn audit_source(&self, store: &str, key: &str, version: Option<&str>) {
        if let Some(audit) = self.context.facts.audit() {
            audit.set_source(&cut(store_name(store), MAX_NAME), key, version);
        }
    }

    /// Writes to the audit log which objects are about to be deleted, or to get presigned URLs, by key and version.
    pub(crate) async fn audit_keys(&self, objects: &[(&str, &str)]) -> Result<(), Failure> {
        match self.context.facts.audit() {
            Some(audit) => audit.keys(objects).await.map_err(|_| Failure::AuditUnavailable),
            None => Ok(()),
        }
    }

    /// Whether there is an audit log.
    pub(crate) fn is_audited(&self) -> bool {
        self.context.facts.audit().is_some()
    }

    /// Returns the stores of a copy: of its destination, and of its source, to which the caller needs `access`. The access
    /// log shows the copy's destination, so the source's store is not recorded.
    pub(crate) fn open_copy(
        &self,
        (destination, key): (&str, &str),
        access: &[Access],
        (source, source_key, version): (&str, &str, Option<&str>),
    ) -> Result<(S3Store, S3Store), Failure> {
        self.context.facts.set_store(store_name(destination));
        self.key.get_or_init(|| key.to_owned());
        self.audit_source(source, source_key, version);
        self.audit_object(destination, Scope::Key(key), None);
        self.permit(Access::Write, destination, Scope::Key(key))?;
        self.source_key.get_or_init(|| source_key.to_owned());
        for access in access {
            self.permit(*access, source, Scope::Key(source_key))?;
        }
        let (to, from) = (self.working_store(destination)?, self.store(source)?);
        // A store that admits one call at a time must not be asked twice.
        if !from.is_clone_of(&to) {
            from.admit()?;
        }
        Ok((to, from))
    }

    /// Returns the stores of the destination and the source of copies of all keys with a prefix.
    pub(crate) fn open_copy_prefix(
        &self,
        (destination, to_prefix): (&str, &str),
        (source, from_prefix): (&str, &str),
    ) -> Result<(S3Store, S3Store), Failure> {
        self.context.facts.set_store(store_name(destination));
        self.audit_source(source, from_prefix, None);
        self.audit_object(destination, Scope::Prefix(to_prefix), None);
        self.permit(Access::Write, destination, Scope::Prefix(to_prefix))?;
        for access in [Access::Read, Access::List] {
            self.permit(access, source, Scope::Prefix(from_prefix))?;
        }
        let (to, from) = (self.working_store(destination)?, self.store(source)?);
        // A store that admits one call at a time must not be asked twice.
        if !from.is_clone_of(&to) {
            from.admit()?;
        }
        Ok((to, from))
    }

    /// Checks that the caller's grant allows `access` to `scope` of the store `name`.
    pub(crate) fn permit(&self, access: Access, name: &str, scope: Scope<'_>) -> Result<(), Failure> {
        if name.len() > MAX_NAME {
            return Err(Failure::field("store", format!("must have at most {MAX_NAME} characters")));
        }
        Ok(self.actor.authorize(access, store_name(name), scope)?)
    }

    /// Records that the call uses the store `name`.
    pub(crate) fn record_store(&self, name: &str) {
        self.context.facts.set_store(store_name(name));
        self.audit_object(name, Scope::Store, None);
    }

    /// Returns the store `name`, unless its S3 server has not answered for a while.
    fn working_store(&self, name: &str) -> Result<S3Store, Failure> {
        let store = self.store(name)?;
        store.admit()?;
        Ok(store)
    }

    /// Returns the store `name`. The caller must have been authorized.
    pub(crate) fn store(&self, name: &str) -> Result<S3Store, Failure> {
        let name = store_name(name);
        let audit = self.context.facts.audit();
        if let Some(audit) = audit {
            audit.begin();
        }
        let store = self.tenant.store(name).ok_or_else(|| Failure::StoreNotFound(name.to_owned()))?;
        Ok(store?
            .until(self.context.deadline)
            .on_connection(self.context.record.clone())
            .counted_by(self.usage.clone())
            .recorded_by(audit.map(|audit| audit.s3_requests().clone())))
    }

    /// Records which conditions the request sets, to report which of them failed.
    pub(crate) fn record_conditions(&self, names: impl IntoIterator<Item = &'static str>) {
        self.conditions.get_or_init(|| names.into_iter().collect());
    }

    /// Counts object bytes received from the caller.
    pub(crate) fn received(&self, count: usize) {
        let count = count as u64;
        self.metrics.bytes(Direction::Upload, count);
        self.usage.received(count);
        self.context.facts.add_bytes_in(count);
    }

    /// Counts object bytes sent to the caller.
    pub(crate) fn sent(&self, count: usize) {
        let count = count as u64;
        self.metrics.bytes(Direction::Download, count);
        self.usage.sent(count);
        self.context.facts.add_bytes_out(count);
    }

    /// Waits until the limits on bytes per second allow the call to transfer `count` more object bytes.
    pub(crate) async fn pace(&self, direction: Direction, count: usize) {
        if let Some(permit) = self.context.facts.permit() {
            permit.transfer(direction, count as u64).await;
        }
    }

    /// Checks that the call may write an object of this size.
    pub(crate) fn check_object_size(&self, bytes: u64) -> Result<(), Failure> {
        Ok(self.tenant.check_object_size(self.actor.name(), bytes)?)
    }

    /// The largest object that the call may write.
    pub(crate) fn max_object_size(&self) -> Option<u64> {
        self.tenant.max_object_size(self.actor.name())
    }

    /// The failure for a store's error, which does not know whose limit an object exceeds.
    pub(crate) fn beyond_limit(&self, error: Error) -> Failure {
        let exceeded = (error.kind() == ErrorKind::LimitExceeded).then(|| self.check_object_size(u64::MAX));
        exceeded.and_then(Result::err).unwrap_or_else(|| error.into())
    }

    /// Checks that the call may name this many keys in total.
    pub(crate) fn check_keys(&self, keys: u64) -> Result<(), Failure> {
        Ok(self.tenant.check_keys(self.actor.name(), keys)?)
    }

    /// The response for the outcome of a handler.
    pub(crate) fn answer<T>(&self, outcome: Result<T, Failure>) -> Result<Response<T>, Status> {
        outcome.map(Response::new).map_err(|failure| self.fail(failure))
    }

    /// Logs that `failed` parts of the call failed although the call continues. `error` is the first of these failures,
    /// and `key` is its key.
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
            "part of a call failed"
        );
    }

    /// The status that the caller gets for a failure. Also records the failure for the access log.
    pub(crate) fn fail(&self, failure: impl Into<Failure>) -> Status {
        let failure = failure.into();
        let (_, _, side) = failure.classify();
        let facts = &self.context.facts;
        let context = ErrorContext {
            request_id: &self.context.request_id,
            tenant: self.tenant.name(),
            store: facts.store().unwrap_or_default(),
            key: self.key.get().map_or("", String::as_str),
            source_key: self.source_key.get().map_or("", String::as_str),
            conditions: self.conditions.get().map_or(&[], Vec::as_slice),
        };
        let expired = side == Fault::Backend
            && self.context.deadline.is_some_and(|deadline| deadline <= Instant::now());
        facts.set_key(context.key);
        facts.fail(failure.for_log(expired));
        if expired { failure.into_deadline_exceeded() } else { failure.into_status(&context) }
    }
}
