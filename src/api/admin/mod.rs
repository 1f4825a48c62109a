//! `AdminService`: the tenants and their state, their usage, and explanations, for operators.

mod explain;
mod pool;
mod position;
mod tenants;
mod usage;

use std::{fmt, sync::Arc};

use futures::future::BoxFuture;
use tonic::{Request, Response, Status, service::Routes};

use super::{call::CallContext, failure::Failure, status::ErrorContext};
use crate::{
    auth::AuthMode,
    pb::{
        self,
        admin_service_server::{AdminService, AdminServiceServer},
    },
    telemetry::Usage,
    tenants::{InvalidTenants, Pool, ReloadReport},
};

/// The most items in a list that is not paged.
const MAX_ITEMS: usize = 1_000;

/// The longest name of a tenant in a response, in bytes. Only the names of rejected tenants can be longer.
const MAX_NAME: usize = 256;

/// Reloads the tenants, and returns the outcome. The reload continues if the future is dropped.
pub type ReloadTenants = Arc<dyn Fn() -> BoxFuture<'static, ReloadReport> + Send + Sync>;

/// What `AdminService` shows and does.
#[derive(Clone)]
pub struct Admin {
    /// The tenants that are served.
    pub pool: Pool,
    /// The tenants whose settings are invalid.
    pub invalid: InvalidTenants,
    /// What the tenants have used.
    pub usage: Usage,
    /// Whether callers must authenticate.
    pub auth: AuthMode,
    /// Reloads the tenants. `None` if the process has no tenants files.
    pub reload: Option<ReloadTenants>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("auth", &self.auth).finish_non_exhaustive()
    }
}

impl Admin {
    /// The service, at its path.
    pub fn routes(self) -> Routes {
        Routes::new(AdminServiceServer::new(self))
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl AdminService for Admin {
    async fn list_tenants(
        &self,
        request: Request<pb::ListTenantsRequest>,
    ) -> Answer<pb::ListTenantsResponse> {
        answer(&request, tenants::list(self, request.get_ref()))
    }

    async fn get_tenant(&self, request: Request<pb::GetTenantRequest>) -> Answer<pb::GetTenantResponse> {
        answer(&request, tenants::get(self, request.get_ref()))
    }

    async fn reload_tenants(
        &self,
        request: Request<pb::ReloadTenantsRequest>,
    ) -> Answer<pb::ReloadTenantsResponse> {
        let report = match &self.reload {
            Some(reload) => reload().await,
            None => ReloadReport::failed(vec!["this process has no tenants files".to_owned()]),
        };
        // Whatever made the reload fail, the tenants are still served.
        let report = match report.changes {
            Some(_) => report,
            None => ReloadReport { invalid: self.invalid.current().clone(), ..report },
        };
        answer(&request, Ok(tenants::reloaded(report)))
    }

    async fn get_pool(&self, request: Request<pb::GetPoolRequest>) -> Answer<pb::GetPoolResponse> {
        answer(&request, pool::get(self, request.get_ref()))
    }

    async fn get_usage(&self, request: Request<pb::GetUsageRequest>) -> Answer<pb::GetUsageResponse> {
        answer(&request, usage::get(self, request.get_ref()))
    }

    async fn explain_access(
        &self,
        request: Request<pb::ExplainAccessRequest>,
    ) -> Answer<pb::ExplainAccessResponse> {
        answer(&request, explain::explain_access(self, request.get_ref()))
    }
}

/// The response for the outcome of a handler. Records a failure for the access log.
fn answer<Q, T>(request: &Request<Q>, outcome: Result<T, Failure>) -> Answer<T> {
    outcome.map(Response::new).map_err(|failure| {
        let context = request.extensions().get::<CallContext>();
        if let Some(context) = context {
            context.facts.fail(failure.for_log(false));
        }
        let request_id = context.map_or("", |context| &context.request_id);
        failure.into_status(&ErrorContext { request_id, ..ErrorContext::default() })
    })
}

/// A number of items, for a field.
fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}
