//! The server's own certificate and its key.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::{super::error::root_cause, client_trust::malformed, validity::Validity};

/// A certificate chain and the key of its leaf.
#[derive(Debug)]
pub(super) struct ServerCertificate {
    certified_key: Arc<CertifiedKey>,
    /// The validity of the certificate in the chain that expires first; `None` if none can be decoded.
    validity: Option<Validity>,
}

impl ServerCertificate {
    /// Reads both in PEM, and checks that the key belongs to the certificate.
    pub(super) fn read(cert: &[u8], key: &[u8]) -> Result<Self, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(&error))?;
        if chain.is_empty() {
            return Err("the certificate file contains no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => "the key file contains no private key".to_owned(),
            other => malformed(&other),
        })?;
        let validity = chain.iter().filter_map(|certificate| Validity::of(certificate).ok());
        let validity = validity.min_by_key(|validity| validity.not_after);
        let certified_key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| root_cause(&error))?;
        Ok(Self { certified_key: Arc::new(certified_key), validity })
    }

    pub(super) fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    pub(super) fn validity(&self) -> Option<Validity> {
        self.validity
    }

    /// When the first certificate of the chain expires.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        self.validity.map(|validity| validity.not_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    }

    #[test]
    fn a_certificate_with_its_key_is_accepted() {
        let (cert, key) = pair();
        let found = ServerCertificate::read(cert.as_bytes(), key.as_bytes()).unwrap();
        assert!(found.not_after().unwrap() > SystemTime::now());
    }

    #[test]
    fn the_key_of_another_certificate_and_incomplete_files_are_refused() {
        let ((cert, key), (_, other)) = (pair(), pair());
        for (cert, key) in [
            (cert.as_str(), other.as_str()),
            (&cert[..cert.len() / 2], &key),
            ("", &key),
            (&cert, ""),
            (&cert, &key[..key.len() / 2]),
            (&key, &cert),
        ] {
            assert!(ServerCertificate::read(cert.as_bytes(), key.as_bytes()).is_err(), "{cert} {key}");
        }
    }
}
