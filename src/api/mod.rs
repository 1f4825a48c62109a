//! The gRPC services: they authorize callers, validate requests, call the stores and build the responses.
//!
//! tonic and the generated messages are used only in this module; the modules below it use their own types, except for
//! the credential service, which Longshore calls.

mod admin;
mod buckets;
mod call;
mod convert;
mod failure;
mod gate;
mod messages;
mod method_kind;
mod object;
mod page_token;
mod payload;
mod rejections;
pub mod status;
mod stores;
mod uploads;
mod with_progress;

pub use admin::{Admin, ReloadTenants};
pub use call::{CallContext, CallFacts, CallFailure, ResponseMemory, Severity, SpeedRecord};
pub use gate::{Admission, Admittance, Waiting, within_limits};
pub use messages::{
    ENCODINGS, MessagesFuture, MessagesLayer, MessagesService, OperatorsCall, is_known_encoding,
};
#[cfg(feature = "microbench")]
#[doc(hidden)]
pub use payload::microbench;
pub use rejections::{admin_refused, audit_unavailable, encoding_unknown, metadata_too_large};
pub use uploads::UploadKeys;

use std::{sync::Arc, time::Duration};

use tonic::service::Routes;

use self::{
    buckets::Buckets,
    gate::Gate,
    object::Objects,
    payload::{PayloadService, WritePayloadService},
    stores::Stores,
    uploads::Uploads,
};
use crate::{
    pb::{
        bucket_service_server::{self, BucketServiceServer},
        object_service_server::{self, ObjectServiceServer},
        store_service_server::{self, StoreServiceServer},
        upload_service_server::{self, UploadServiceServer},
    },
    settings::{Number, Optional, settings},
    telemetry::Metrics,
    tenants::Pool,
};

/// The full names of the services that [`Services::routes`] serves, for the health service.
pub const SERVICE_NAMES: &[&str] = &[
    object_service_server::SERVICE_NAME,
    store_service_server::SERVICE_NAME,
    bucket_service_server::SERVICE_NAME,
    upload_service_server::SERVICE_NAME,
];

/// Limits on a call's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that the server accepts from a caller, in bytes.
    pub max_message_bytes: usize,
    /// How long a message may take to arrive.
    pub message_timeout: Duration,
}

settings! {
    /// The keys that seal upload ids, and the number of replicas that must read them.
    pub struct UploadSettings(UploadLayer), variables "LONGSHORE_" {
        /// The key that seals the ids of UploadService: 32 random bytes in base64, as printed by
        /// `openssl rand -base64 32`. Several keys are separated by commas: the first one seals, and all of them open,
        /// so that a key can be replaced. With a random key, uploads cannot be resumed after the process exits, and the
        /// log warns of this.
        keys = "upload_key": Option<UploadKeys> as Optional<UploadKeys> = None => "a random key",
        /// How many processes serve the same callers; with more than one, UploadService requires
        /// `LONGSHORE_UPLOAD_KEY`.
        replicas: u32 as Number<1, 10_000> = 1,
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
    /// The services for the stores of `pool`, for the callers that its tenants declare.
    pub fn new(pool: Pool, limits: Limits, uploads: UploadSettings, metrics: Metrics) -> Self {
        Self { gate: Gate::new(pool, metrics), uploads, limits }
    }

    /// Authenticates the callers of these services.
    pub fn admission(&self) -> Admission {
        Admission::new(self.gate.clone())
    }

    /// The services, each at its path. Wrap them in [`MessagesLayer`], which decompresses requests. Responses are not
    /// compressed: most objects already are, and compression would cost far more than passing the bytes on.
    pub fn routes(self) -> Routes {
        let limits = self.limits;
        let limit = limits.max_message_bytes;
        let objects = Arc::new(Objects::new(self.gate.clone()));
        let generated = ObjectServiceServer::from_arc(Arc::clone(&objects)).max_decoding_message_size(limit);
        let objects = PayloadService::new(objects, generated, limits);
        let stores = StoreServiceServer::new(Stores::new(self.gate.clone())).max_decoding_message_size(limit);
        let buckets =
            BucketServiceServer::new(Buckets::new(self.gate.clone())).max_decoding_message_size(limit);
        let UploadSettings { keys, replicas } = self.uploads;
        let uploads = Arc::new(Uploads::new(self.gate, keys, replicas));
        let generated = UploadServiceServer::from_arc(Arc::clone(&uploads)).max_decoding_message_size(limit);
        let uploads = WritePayloadService::new(uploads, generated, limits);
        Routes::new(objects).add_service(stores).add_service(buckets).add_service(uploads)
    }
}
