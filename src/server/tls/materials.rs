//! The contents of the TLS files, each of them replaced on its own.

use std::sync::{Arc, OnceLock};

use rustls::{
    server::{ResolvesServerCert, danger::ClientCertVerifier},
    sign::SingleCertAndKey,
};

use super::{
    client_trust::{self, Authorities, RevocationLists},
    server_certificate::ServerCertificate,
};

/// The last usable contents of each file.
#[derive(Debug, Clone)]
pub(super) struct Materials {
    pub(super) certificate: Arc<ServerCertificate>,
    pub(super) trust: Option<Trust>,
}

/// What client certificates are verified with.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    authorities: Arc<Authorities>,
    pub(super) lists: Option<Arc<RevocationLists>>,
    /// Kept while the files stay the same, so that connections see that they need not be verified again.
    verifier: OnceLock<Arc<dyn ClientCertVerifier>>,
}

impl Trust {
    pub(super) fn new(authorities: Arc<Authorities>, lists: Option<Arc<RevocationLists>>) -> Self {
        Self { authorities, lists, verifier: OnceLock::new() }
    }

    /// This one with the new contents of files that have changed.
    pub(super) fn updated(self, authorities: Option<Authorities>, lists: Option<RevocationLists>) -> Self {
        let authorities = authorities.filter(|new| *new != *self.authorities).map(Arc::new);
        let lists = lists.filter(|new| self.lists.as_deref() != Some(new)).map(Arc::new);
        if authorities.is_none() && lists.is_none() {
            return self;
        }
        Self::new(authorities.unwrap_or(self.authorities), lists.or(self.lists))
    }
}

impl Materials {
    /// What verifies client certificates; `None` if clients are not asked for one.
    pub(super) fn verifier(&self) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
        let Some(trust) = &self.trust else { return Ok(None) };
        if let Some(verifier) = trust.verifier.get() {
            return Ok(Some(Arc::clone(verifier)));
        }
        let verifier = client_trust::verifier(&trust.authorities, trust.lists.as_deref())?;
        Ok(Some(Arc::clone(trust.verifier.get_or_init(|| verifier))))
    }

    pub(super) fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(SingleCertAndKey::from(Arc::clone(self.certificate.certified_key())))
    }
}
