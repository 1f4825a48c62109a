//! The certificates of a run, and TLS for the backend and for callers that speak HTTP without gRPC.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::Outcome;

/// A server's certificate and key: either both or neither.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerFiles {
    /// Certificate file, PEM
    #[arg(long)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key file, PEM
    #[arg(long)]
    pub(crate) key: Option<PathBuf>,
}

/// A certificate authority, and a certificate that it issued for `localhost` and 127.0.0.1.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) authority: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// Generates the files in a folder.
    pub(crate) fn make(folder: &Path) -> Outcome<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
        params.distinguished_name.push(DnType::CommonName, "Authority of the benchmark");
        let authority_key = KeyPair::generate()?;
        let authority = params.self_signed(&authority_key)?;
        let key = KeyPair::generate()?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = CertificateParams::new(names)?.signed_by(&key, &Issuer::new(params, authority_key))?;
        let files = Self {
            authority: folder.join("authority.pem"),
            cert: folder.join("tls.crt"),
            key: folder.join("tls.key"),
        };
        fs::write(&files.authority, authority.pem())?;
        fs::write(&files.cert, cert.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }
}

/// Returns `None` if there is no certificate or no key.
pub(crate) fn acceptor(files: &ServerFiles) -> Outcome<Option<TlsAcceptor>> {
    let (Some(cert), Some(key)) = (&files.cert, &files.key) else { return Ok(None) };
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Returns a connector that trusts only this authority.
pub(crate) fn connector(authority: &Path) -> Outcome<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(authority)? {
        roots.add(cert?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
