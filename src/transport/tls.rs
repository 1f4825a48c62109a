//! TLS with servers.

use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

use super::{ClientOptions, RootCertificates};

/// After this time, the certificates of the system are read again for new stores: they may have been updated.
const FRESH: Duration = Duration::from_hours(1);

/// The configurations in use. A system has some 150 CA certificates, which take milliseconds to parse and a quarter of a
/// megabyte when they are parsed, so stores that trust the same ones share them.
static IN_USE: Mutex<Vec<InUse>> = Mutex::new(Vec::new());

struct InUse {
    trusts_system: bool,
    own: Option<RootCertificates>,
    read: Instant,
    config: Weak<ClientConfig>,
}

impl InUse {
    fn fits(&self, options: &ClientOptions) -> bool {
        let has_same_own = match (&self.own, &options.root_certificates) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => ours.are_those_of(theirs),
            _ => false,
        };
        has_same_own
            && self.trusts_system != options.disable_system_certificates
            && self.read.elapsed() < FRESH
    }
}

/// TLS with servers whose certificates are verified as the options say. The error names what is wrong.
pub(super) fn client_config(options: &ClientOptions) -> Result<Arc<ClientConfig>, String> {
    // A panic while the lock is held leaves a valid list.
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|shared| shared.config.strong_count() > 0);
    let shared = in_use.iter().find(|shared| shared.fits(options));
    if let Some(config) = shared.and_then(|shared| shared.config.upgrade()) {
        return Ok(config);
    }
    let config = Arc::new(new_config(options)?);
    in_use.push(InUse {
        trusts_system: !options.disable_system_certificates,
        own: options.root_certificates.clone(),
        read: Instant::now(),
        config: Arc::downgrade(&config),
    });
    Ok(config)
}

fn new_config(options: &ClientOptions) -> Result<ClientConfig, String> {
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
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(name: &str) -> RootCertificates {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        RootCertificates::from_pem(name, made.cert.pem().as_bytes()).unwrap()
    }

    fn options(own: &RootCertificates, disable_system_certificates: bool) -> ClientOptions {
        let root_certificates = Some(own.clone());
        ClientOptions { root_certificates, disable_system_certificates, ..ClientOptions::default() }
    }

    #[test]
    fn clients_that_trust_the_same_certificates_share_them() {
        let (a, b) = (own("a"), own("b"));
        let configs = [options(&a, true), options(&a, true), options(&b, true), options(&a, false)]
            .map(|options| client_config(&options).unwrap());
        assert!(Arc::ptr_eq(&configs[0], &configs[1]));
        assert!(!Arc::ptr_eq(&configs[0], &configs[2]) && !Arc::ptr_eq(&configs[0], &configs[3]));
    }
}
