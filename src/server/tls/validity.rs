//! When certificates and revocation lists expire.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::{
    Certificate,
    crl::CertificateList,
    der::{self, Decode as _},
};

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Validity {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Self, der::Error> {
        let certificate = Certificate::from_der(certificate)?;
        let validity = certificate.tbs_certificate().validity();
        Ok(Self {
            not_before: UNIX_EPOCH + validity.not_before.to_unix_duration(),
            not_after: UNIX_EPOCH + validity.not_after.to_unix_duration(),
        })
    }
}

/// When a newer revocation list will be published at the latest; `None` if the list does not say.
pub(super) fn next_update(list: &CertificateRevocationListDer<'_>) -> Option<SystemTime> {
    let list = <CertificateList>::from_der(list).ok()?;
    list.tbs_cert_list.next_update.map(|time| UNIX_EPOCH + time.to_unix_duration())
}
