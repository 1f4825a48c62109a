//! TLS with a certificate that stays as long as the process.

use std::{fs, path::Path, time::Duration};

use tonic::transport::{Identity, ServerTlsConfig};

use super::{ServerError, TlsFiles, error::root_cause};

/// A peer that does not finish its handshake holds a socket; a healthy one needs far less, also over a
/// slow link.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the files, and sees whether they fit each other.
pub(super) fn config(files: &TlsFiles) -> Result<ServerTlsConfig, ServerError> {
    install_crypto_provider();
    let identity = Identity::from_pem(read("certificate", &files.cert)?, read("key", &files.key)?);
    let config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIMEOUT);
    // Only tonic's builder looks into the files. Asked here, a bad pair stops the start and not the run.
    match tonic::transport::Server::builder().tls_config(config.clone()) {
        Ok(_) => Ok(config),
        Err(error) => Err(ServerError::Tls {
            cert: files.cert.clone(),
            key: files.key.clone(),
            reason: root_cause(&error),
        }),
    }
}

/// rustls does not choose by itself where several providers are compiled in, which a dependency can
/// bring about at any update: it panics. So the choice is made here.
fn install_crypto_provider() {
    // An error only says that one has been installed before: by a client of the same process, or a test.
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
    fn a_certificate_with_its_key_is_taken() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, files) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        assert!(config(&files).is_ok());
    }

    #[test]
    fn another_certificates_key_is_refused_at_the_start() {
        let one = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (_folder, files) = files(&one.cert.pem(), &other.signing_key.serialize_pem());
        let error = config(&files).unwrap_err().to_string();
        assert!(error.starts_with("cannot serve TLS with the certificate "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let (_folder, mut files) = files("", "");
        files.key = "/nonexistent/tls.key".into();
        let error = config(&files).unwrap_err().to_string();
        assert_eq!(error, "cannot read the TLS key /nonexistent/tls.key: no such file or directory");
    }
}
