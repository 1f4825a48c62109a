//! The gRPC services: requests checked, callers let in, stores asked, answers put into messages.
//!
//! tonic and the generated messages stay in this room; the rooms below know their own types only.

mod call;
mod convert;
mod failure;
mod gate;
mod messages;
mod object;
mod page_token;
mod payload;
mod rejections;
pub mod status;
mod stores;
mod upload;

pub use call::{CallContext, CallFacts, CallFailure, ResponseMemory, Severity, SpeedRecord};
pub use gate::Admission;
pub use messages::{ENCODINGS, MessagesFuture, MessagesLayer, MessagesService, is_known_encoding};
#[cfg(feature = "microbench")]
#[doc(hidden)]
pub use payload::microbench;
pub use rejections::{encoding_unknown, metadata_too_large};
pub use upload::UploadKeys;

use std::{sync::Arc, time::Duration};

use tonic::service::Routes;

use self::{
    gate::Gate,
    object::Objects,
    payload::{PayloadService, WritePayloadService},
    stores::Stores,
    upload::Uploads,
};
use crate::{
    auth::{AuthMode, Authenticator},
    pb::{
        object_service_server::{self, ObjectServiceServer},
        store_service_server::{self, StoreServiceServer},
        upload_service_server::{self, UploadServiceServer},
    },
    telemetry::Metrics,
    tenants::{Pool, Tenant},
};

/// The full names of the services that [`Services::routes`] serves, for health.
pub const SERVICE_NAMES: &[&str] = &[
    object_service_server::SERVICE_NAME,
    store_service_server::SERVICE_NAME,
    upload_service_server::SERVICE_NAME,
];

/// What bounds a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message taken from a caller, in bytes.
    pub max_message_bytes: usize,
    /// How long an unfinished message may take.
    pub message_timeout: Duration,
}

/// What seals upload ids, and who else has to read them.
#[derive(Debug, Clone, PartialEq)]
pub struct UploadSettings {
    /// The keys; `None` is one of this process's own.
    pub keys: Option<UploadKeys>,
    /// How many processes serve the same callers. Default: 1. With more, there is no UploadService without keys.
    pub replicas: u32,
}

impl Default for UploadSettings {
    fn default() -> Self {
        Self { keys: None, replicas: 1 }
    }
}

/// Every service of the API.
#[derive(Debug, Clone)]
pub struct Services {
    gate: Gate,
    uploads: UploadSettings,
    limits: Limits,
}

impl Services {
    /// The services over the stores of `pool`, for the callers that its tenants declare.
    pub fn new(
        pool: Pool,
        auth: AuthMode,
        limits: Limits,
        uploads: UploadSettings,
        metrics: Metrics,
    ) -> Self {
        let callers = pool.tenants().map(|tenant: &Tenant| (tenant.name(), tenant.callers()));
        let authenticator = Authenticator::new(auth, callers);
        Self { gate: Gate::new(pool, authenticator, metrics), uploads, limits }
    }

    /// What settles the callers of these services.
    pub fn admission(&self) -> Admission {
        Admission::new(self.gate.clone())
    }

    /// The services, each at its path. [`MessagesLayer`] belongs around them: it unpacks compressed requests. Answers are not
    /// compressed: most objects are already, and it would cost far more than passing them on.
    pub fn routes(self) -> Routes {
        let limits = self.limits;
        let limit = limits.max_message_bytes;
        let objects = Arc::new(Objects::new(self.gate.clone()));
        let generated = ObjectServiceServer::from_arc(Arc::clone(&objects)).max_decoding_message_size(limit);
        let objects = PayloadService::new(objects, generated, limits);
        let stores = StoreServiceServer::new(Stores::new(self.gate.clone())).max_decoding_message_size(limit);
        let UploadSettings { keys, replicas } = self.uploads;
        let uploads = Arc::new(Uploads::new(self.gate, keys, replicas));
        let generated = UploadServiceServer::from_arc(Arc::clone(&uploads)).max_decoding_message_size(limit);
        let uploads = WritePayloadService::new(uploads, generated, limits);
        Routes::new(objects).add_service(stores).add_service(uploads)
    }
}
