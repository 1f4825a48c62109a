//! TLS with servers.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};

use super::ClientOptions;

/// TLS with servers whose certificates are verified as the options say. The error names what is wrong.
pub(super) fn client_config(
    options: &ClientOptions,
    provider: CryptoProvider,
) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    if !options.disable_system_certificates {
        let found = rustls_native_certs::load_native_certs();
        // Certificates that rustls does not support are ignored.
        let (added, ignored) = roots.add_parsable_certificates(found.certs);
        tracing::debug!(added, ignored, "the CA certificates of the system have been loaded");
        if added == 0 && options.root_certificates.is_none() {
            let why: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(format!("the system has no CA certificates {}", why.join("; "))
                .trim_end()
                .to_owned());
        }
    }
    if let Some(own) = &options.root_certificates {
        own.add_to(&mut roots)
            .map_err(|error| format!("{} has an invalid certificate: {error}", own.path().display()))?;
    }
    let builder =
        ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
