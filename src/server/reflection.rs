//! gRPC reflection, with which grpcurl and similar tools list the services and their messages.

use tonic::{server::NamedService as _, service::Routes};
use tonic_reflection::server::Builder;

use tonic_health::pb::health_server::HealthServer;

use super::{ServerError, health::Health};
use crate::{api::Admin, pb::admin_service_server::AdminServiceServer};

/// Adds reflection v1, and v1alpha for clients that support only that.
pub(super) fn add_to(routes: Routes) -> Result<Routes, ServerError> {
    add(routes, || builder(crate::pb::DESCRIPTOR_SET))
}

/// Adds reflection for the services of the admin listener.
pub(super) fn add_to_admin(routes: Routes) -> Result<Routes, ServerError> {
    // The descriptors also have the services whose messages AdminService uses.
    let builder = || {
        [AdminServiceServer::<Admin>::NAME, HealthServer::<Health>::NAME]
            .into_iter()
            .fold(builder(crate::pb::ADMIN_DESCRIPTOR_SET), Builder::with_service_name)
    };
    add(routes, builder)
}

fn add(routes: Routes, builder: impl Fn() -> Builder<'static>) -> Result<Routes, ServerError> {
    let refused = |error: tonic_reflection::server::Error| ServerError::Reflection(error.to_string());
    let v1 = builder().build_v1().map_err(refused)?;
    let v1alpha = builder().build_v1alpha().map_err(refused)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn builder(descriptors: &'static [u8]) -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Error details carry these messages as `Any`: a client needs their descriptors to display them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
