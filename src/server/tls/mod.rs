//! TLS with callers: the server's certificate, and what verifies the certificates of clients. Both are replaced while
//! the server runs, without an effect on open connections except those whose client certificate is no longer valid.

mod client_trust;
mod expiry;
mod intermediates;
mod live;
mod materials;
mod peer;
mod server_certificate;
mod validity;

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, UnixTime},
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use self::materials::Materials;

pub use live::{LiveTls, TlsReading};
pub(super) use peer::PeerCertificate;

/// The only protocol that the server accepts by ALPN (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

/// The files for TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain in PEM, the leaf first.
    pub cert: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
    /// The certificates of the CAs that issue client certificates, in PEM. `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// The revocation lists of these CAs, in PEM, or one of them in DER. `None`: no certificate is revoked.
    pub client_crl: Option<PathBuf>,
}

impl TlsFiles {
    /// Why the files cannot be used, each with the setting that names the file: `cert`, `client_ca` or `client_crl`.
    pub(crate) fn problems(&self) -> Vec<(&'static str, String)> {
        let reading = TlsReading::of(self);
        reading.into_problems().into_iter().map(|(file, error)| (file.key(), error.to_string())).collect()
    }
}

/// What connections are accepted with until the next reload.
#[derive(Debug)]
pub(super) struct Acceptance {
    pub(super) config: Arc<ServerConfig>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    replaced: CancellationToken,
}

impl Acceptance {
    fn new(materials: &Materials) -> Result<Self, String> {
        install_crypto_provider();
        let verifier = materials.verifier()?;
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_protocol_versions(&versions);
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(materials.resolver());
        config.alpn_protocols = vec![ALPN.to_vec()];
        if verifier.is_some() {
            // A resumed session is not verified again, so its certificate may have been revoked in the meantime.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), verifier, replaced: CancellationToken::new() })
    }

    /// Whether the chain of a client, the leaf first, verifies now.
    fn verifies(&self, chain: &[CertificateDer<'_>]) -> bool {
        match (&self.verifier, chain) {
            (Some(verifier), [leaf, intermediates @ ..]) => {
                verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
            }
            _ => false,
        }
    }

    fn verifies_like(&self, other: &Self) -> bool {
        match (&self.verifier, &other.verifier) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Ready when another one has taken the place of this one.
    fn until_replaced(&self) -> WaitForCancellationFutureOwned {
        // A child token: waiting on it takes no lock that other connections share.
        self.replaced.child_token().cancelled_owned()
    }
}

/// Selects the crypto provider. If several providers are compiled in, which any update of a dependency can cause,
/// rustls does not choose one, but panics.
fn install_crypto_provider() {
    // Fails only if a provider is already installed: by a client in the same process, or by a test.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
