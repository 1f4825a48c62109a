//! The gRPC services: requests checked, callers let in, stores asked, answers put into messages.
//!
//! tonic and the generated messages stay in this room; the rooms below know their own types only.

mod call;
mod convert;
mod failure;
mod gate;
mod object;
mod page_token;
mod payload;
pub mod status;
mod stores;

pub use call::{CallContext, CallFacts};

use std::sync::Arc;

use tonic::{codec::CompressionEncoding, service::Routes};

use self::{gate::Gate, object::Objects, payload::PayloadService, stores::Stores};
use crate::{
    auth::{AuthMode, Authenticator},
    pb::{
        object_service_server::{self, ObjectServiceServer},
        store_service_server::{self, StoreServiceServer},
    },
    telemetry::Metrics,
    tenants::{Pool, Tenant},
};

/// The full names of the services that [`Services::routes`] serves, for health.
pub const SERVICE_NAMES: &[&str] = &[object_service_server::SERVICE_NAME, store_service_server::SERVICE_NAME];

/// What bounds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message taken from a caller, in bytes.
    pub max_message_bytes: usize,
}

/// Every service of the API.
#[derive(Debug, Clone)]
pub struct Services {
    gate: Gate,
    limits: Limits,
}

impl Services {
    /// The services over the stores of `pool`, for the callers that its tenants declare.
    pub fn new(pool: Pool, auth: AuthMode, limits: Limits, metrics: Metrics) -> Self {
        let callers = pool.tenants().map(|tenant: &Tenant| (tenant.name(), tenant.callers()));
        let authenticator = Authenticator::new(auth, callers);
        Self { gate: Gate::new(pool, authenticator, metrics), limits }
    }

    /// The services, each at its path.
    pub fn routes(self) -> Routes {
        let limit = self.limits.max_message_bytes;
        // Callers may compress what they send, up to the same limit once it is unpacked. Answers are not
        // compressed: most objects are already, and it would cost far more than passing them on.
        let objects = Arc::new(Objects::new(self.gate.clone()));
        let generated = ObjectServiceServer::from_arc(Arc::clone(&objects))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limit);
        let objects = PayloadService::new(objects, generated, limit);
        let stores = StoreServiceServer::new(Stores::new(self.gate))
            .accept_compressed(CompressionEncoding::Gzip)
            .max_decoding_message_size(limit);
        Routes::new(objects).add_service(stores)
    }
}
