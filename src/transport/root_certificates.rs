//! `root_certificates`: the CA certificates that servers' certificates are verified with.

use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use sha2::{Digest, Sha256};

use crate::settings::{FilePath, LocalPath, Notes, Scalar};

/// The maximum size of a file with certificates, in bytes. The bundle of a system has about 220 KiB.
const MAX_FILE: u64 = 1024 * 1024;

/// CA certificates from a file.
#[derive(Clone, PartialEq, Eq)]
pub struct RootCertificates {
    path: LocalPath,
    /// Shared by all stores whose files have the same contents: a bundle has hundreds of certificates.
    certificates: Shared,
}

type Shared = Arc<[CertificateDer<'static>]>;

/// The certificates in use, by the digest of their file.
static IN_USE: Mutex<BTreeMap<[u8; 32], Weak<[CertificateDer<'static>]>>> = Mutex::new(BTreeMap::new());

impl RootCertificates {
    /// The certificates in a PEM file. The error says what would be right.
    pub fn from_pem(path: impl Into<LocalPath>, pem: &[u8]) -> Result<Self, String> {
        let path = path.into();
        let digest = Sha256::digest(pem).into();
        // A panic while the lock is held leaves a valid map.
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificates) = in_use.get(&digest).and_then(Weak::upgrade) {
            return Ok(Self { path, certificates });
        }
        let certificates: Shared = Self::parse(&path, pem)?.into();
        in_use.retain(|_, certificates| certificates.strong_count() > 0);
        in_use.insert(digest, Arc::downgrade(&certificates));
        Ok(Self { path, certificates })
    }

    fn parse(path: &LocalPath, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        let shown = path.path().display();
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("{shown} is not valid PEM: {error}"))?;
            roots
                .add(certificate.clone())
                .map_err(|error| format!("{shown} has an invalid certificate: {error}"))?;
            certificates.push(certificate);
        }
        if certificates.is_empty() {
            return Err(format!("{shown} contains no certificate: expected certificates in PEM"));
        }
        Ok(certificates)
    }

    /// Adds them to `roots`. Fails if one of them cannot be used.
    pub(super) fn add_to(&self, roots: &mut RootCertStore) -> Result<(), rustls::Error> {
        self.certificates.iter().try_for_each(|certificate| roots.add(certificate.clone()))
    }

    /// Whether both have the same certificates, be it from different files.
    pub(super) fn are_those_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.certificates, &other.certificates)
    }

    /// The file that they were read from.
    pub fn path(&self) -> &Path {
        self.path.path()
    }
}

impl fmt::Debug for RootCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.certificates.len();
        f.debug_struct("RootCertificates").field("path", &self.path()).field("count", &count).finish()
    }
}

/// A file with CA certificates in PEM, which is read with the settings.
pub(crate) struct CertificatesFile;

impl CertificatesFile {
    /// Reads the certificates from a file that the author of the settings may name. The error says what is wrong with it.
    pub(crate) fn read(path: LocalPath, notes: &Notes) -> Result<RootCertificates, String> {
        if notes.variables().skip_secrets() {
            return Ok(RootCertificates { path, certificates: Arc::default() });
        }
        let pem = notes.read_file(&path, MAX_FILE + 1);
        let pem = pem.map_err(|error| format!("cannot read {}: {error}", path.path().display()))?;
        if pem.len() as u64 > MAX_FILE {
            return Err(format!("{} is larger than 1 MiB", path.path().display()));
        }
        RootCertificates::from_pem(path, &pem)
    }
}

impl Scalar for CertificatesFile {
    type Value = RootCertificates;

    fn expected() -> String {
        FilePath::expected()
    }

    fn form() -> String {
        "path of a PEM file".to_owned()
    }

    fn from_text(text: &str) -> Result<RootCertificates, String> {
        let path = FilePath::from_text(text)?;
        Ok(RootCertificates { path, certificates: Arc::default() })
    }

    fn admit(file: RootCertificates, notes: &Notes) -> Result<RootCertificates, String> {
        let path = FilePath::admit(file.path, notes)?;
        Self::read(path, notes)
    }

    fn show(file: &RootCertificates) -> Option<String> {
        Some(file.path().display().to_string())
    }
}
