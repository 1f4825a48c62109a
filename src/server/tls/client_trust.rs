//! What client certificates are verified with: the certificates of CAs, and revocation lists.

use std::{sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem, pem::PemObject as _},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use webpki::BorrowedCertRevocationList;

use super::{super::error::root_cause, validity};

/// What `webpki` requires of a revocation list, since its errors do not say.
const REQUIRED: &str =
    "a list must be of version 2, complete and not indirect, and have a CRL number, as RFC 5280 requires";

/// The certificates of the CAs that issue client certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorities(Vec<CertificateDer<'static>>);

/// The revocation lists of CAs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RevocationLists(Vec<CertificateRevocationListDer<'static>>);

impl Authorities {
    /// Reads certificates in PEM.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let found: Vec<_> = CertificateDer::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(&error))?;
        if found.is_empty() {
            return Err("the file contains no certificate in PEM".to_owned());
        }
        roots(&found)?;
        Ok(Self(found))
    }
}

impl RevocationLists {
    /// Reads revocation lists in PEM, or one in DER.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut found: Vec<_> = CertificateRevocationListDer::pem_slice_iter(bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| malformed(&error))?;
        // A SEQUENCE, and PEM begins with text.
        if found.is_empty() && bytes.first() == Some(&0x30) {
            found = vec![bytes.to_vec().into()];
        }
        if found.is_empty() {
            return Err("the file contains no revocation list in PEM or DER".to_owned());
        }
        for (number, list) in (1..).zip(&found) {
            BorrowedCertRevocationList::from_der(list)
                .map_err(|error| format!("revocation list {number} is not usable: {error} ({REQUIRED})"))?;
        }
        Ok(Self(found))
    }

    /// When the first of the lists is to be replaced by a newer one.
    pub(super) fn next_update(&self) -> Option<SystemTime> {
        self.0.iter().filter_map(|list| validity::next_update(list)).min()
    }
}

/// Verifies certificates of clients that send one. If there are lists, each certificate of a chain needs one of its
/// issuer: otherwise the server cannot tell whether the certificate has been revoked.
pub(super) fn verifier(
    authorities: &Authorities,
    lists: Option<&RevocationLists>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let roots = roots(&authorities.0)?;
    let lists = lists.map(|lists| lists.0.clone()).unwrap_or_default();
    let builder = WebPkiClientVerifier::builder(Arc::new(roots)).with_crls(lists);
    builder.allow_unauthenticated().build().map_err(|error| root_cause(&error))
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates) {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("certificate {number} is not usable: {}", root_cause(&error)))?;
    }
    Ok(roots)
}

pub(super) fn malformed(error: &pem::Error) -> String {
    format!("invalid PEM: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_the_expected_contents_are_refused() {
        let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        assert!(Authorities::read(cert.as_bytes()).is_ok());
        let cut = &cert[..cert.len() / 2];
        for (bytes, problem) in [
            ("", "the file contains no certificate in PEM"),
            (key.as_str(), "the file contains no certificate in PEM"),
            (cut, "invalid PEM"),
            (&format!("{cert}\n{cut}"), "invalid PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 is not usable"),
        ] {
            let error = Authorities::read(bytes.as_bytes()).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
        for (bytes, problem) in [
            ("", "the file contains no revocation list"),
            (cert.as_str(), "the file contains no revocation list"),
            ("0\u{3}abc", "revocation list 1 is not usable"),
            ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "revocation list 1 is not usable"),
        ] {
            let error = RevocationLists::read(bytes.as_bytes()).unwrap_err();
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
