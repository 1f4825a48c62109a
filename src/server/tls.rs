//! TLS with a certificate that is loaded once, at startup.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
};

use super::{ServerError, TlsFiles, error::root_cause};

/// The only protocol that the server accepts by ALPN (RFC 9113, section 3.2).
const ALPN: &[u8] = b"h2";

/// Reads the files, and checks that the key belongs to the certificate.
pub(super) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServerError> {
    install_crypto_provider();
    let (cert, key) = (read("certificate", &files.cert)?, read("key", &files.key)?);
    let refused = |reason| ServerError::Tls { cert: files.cert.clone(), key: files.key.clone(), reason };
    read_pair(&cert, &key).map(Arc::new).map_err(refused)
}

fn read_pair(cert: &[u8], key: &[u8]) -> Result<ServerConfig, String> {
    let malformed = |error: pem::Error| format!("invalid PEM: {error}");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(malformed)?;
    if chain.is_empty() {
        return Err("the certificate file contains no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => "the key file contains no private key".to_owned(),
        other => malformed(other),
    })?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| root_cause(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Selects the crypto provider. If several providers are compiled in, which any update of a dependency can cause,
/// rustls does not choose one, but panics.
fn install_crypto_provider() {
    // Fails only if a provider is already installed: by a client in the same process, or by a test.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ServerError> {
    fs::read(path).map_err(|source| ServerError::TlsFile { what, path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(cert: &str, key: &str) -> (tempfile::TempDir, TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let files = TlsFiles { cert: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        (folder, files)
    }

    #[test]
    fn a_certificate_with_its_key_is_accepted() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, files) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        assert!(config(&files).is_ok());
    }

    #[test]
    fn the_key_of_another_certificate_is_rejected_at_startup() {
        let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, files) = files(&one.cert.pem(), &other.signing_key.serialize_pem());
        let error = config(&files).err().unwrap().to_string();
        assert!(error.starts_with("cannot serve TLS with the certificate "), "{error}");
    }

    #[test]
    fn the_error_for_a_missing_file_names_it() {
        let (_folder, mut files) = files("", "");
        files.key = "/nonexistent/tls.key".into();
        let error = config(&files).err().unwrap().to_string();
        assert_eq!(error, "cannot read the TLS key /nonexistent/tls.key: no such file or directory");
    }
}
