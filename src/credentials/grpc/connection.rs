//! Connections to the service.

use std::error::Error;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Identity};

use super::{CredentialsError, Failure, GrpcSettings, origin, small_file};
use crate::{
    VERSION,
    settings::LocalPath,
    transport::{Lookups, TcpConnector},
};

/// The maximum size of `ca_file`, in bytes. The bundle of a system has about 220 KiB.
const MAX_CA_FILE: usize = 1024 * 1024;

/// Connects to the service. The connection is closed when the channel is dropped.
pub(super) async fn open(settings: &GrpcSettings, lookups: Lookups) -> Result<Channel, Failure> {
    let place = origin(&settings.endpoint);
    let settings = settings.clone();
    let tcp = TcpConnector::new(lookups, settings.refuse_local);
    let endpoint = small_file::blocking(move || endpoint(&settings)).await?;
    endpoint.connect_with_connector(tcp).await.map_err(|error| Failure {
        error: CredentialsError::new(format!("cannot connect to {place}: {}", innermost(&error))),
        is_transient: true,
    })
}

/// Reads the files. Blocks.
fn endpoint(settings: &GrpcSettings) -> Result<Endpoint, CredentialsError> {
    let failed = |error: tonic::transport::Error| {
        let files = settings.client_certificate.as_ref().map(|(cert, key)| {
            format!(" with cert_file {} and key_file {}", cert.path().display(), key.path().display())
        });
        let (place, files) = (origin(&settings.endpoint), files.unwrap_or_default());
        let why = innermost(&error);
        CredentialsError::new(format!("no client for {place} could be created{files}: {why}"))
    };
    let endpoint = Endpoint::from_shared(settings.endpoint.clone()).map_err(failed)?;
    let endpoint = endpoint.user_agent(format!("longshore/{VERSION}")).map_err(failed)?;
    if settings.is_plaintext() {
        return Ok(endpoint);
    }
    let mut tls = match &settings.ca_file {
        Some(path) => ClientTlsConfig::new().trust_anchors(authorities(path)?.roots),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((cert, key)) = &settings.client_certificate {
        tls = tls.identity(Identity::from_pem(small_file::read_now(cert)?, small_file::read_now(key)?));
    }
    endpoint.tls_config(tls).map_err(failed)
}

/// The CA certificates in a file.
fn authorities(path: &LocalPath) -> Result<RootCertStore, CredentialsError> {
    let failed = |why: String| CredentialsError::new(format!("ca_file {} {why}", path.path().display()));
    let text = small_file::read_up_to(path, MAX_CA_FILE)?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| failed(format!("is not valid PEM: {error}")))?;
        let added = authorities.add(certificate);
        added.map_err(|error| failed(format!("has an invalid certificate: {error}")))?;
    }
    if authorities.is_empty() {
        return Err(failed("contains no certificate".to_owned()));
    }
    Ok(authorities)
}

/// The text of the innermost cause, which is the most specific.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
