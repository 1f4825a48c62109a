//! gRPC reflection, with which grpcurl and similar tools list the services and their messages.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use super::ServerError;

/// Adds reflection v1, and v1alpha for clients that support only that.
pub(super) fn add_to(routes: Routes) -> Result<Routes, ServerError> {
    let refused = |error: tonic_reflection::server::Error| ServerError::Reflection(error.to_string());
    let v1 = builder().build_v1().map_err(refused)?;
    let v1alpha = builder().build_v1alpha().map_err(refused)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(crate::pb::DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // Error details carry these messages as `Any`: a client needs their descriptors to display them.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}
