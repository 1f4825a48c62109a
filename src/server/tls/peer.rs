//! The certificate of a connection's client.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;
use tokio_util::sync::WaitForCancellationFutureOwned;
use webpki::EndEntityCert;

use super::{Acceptance, LiveTls, intermediates::Intermediates, validity::Validity};
use crate::auth::{ClientCertificate, SubjectAltName};

/// SPIFFE ids are URIs of this scheme.
const SPIFFE: &str = "spiffe://";

/// The verified certificate of a connection's client. It is verified again when the CAs or the revocation lists have
/// been reloaded, and when an intermediate certificate expires. Its own end is a timer of the connection.
pub(in crate::server) struct PeerCertificate {
    shared: Arc<ClientCertificate>,
    chain: Vec<CertificateDer<'static>>,
    intermediates: Intermediates,
    tls: LiveTls,
    /// What has verified the certificate.
    acceptance: Arc<Acceptance>,
    replaced: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl PeerCertificate {
    /// The certificate of a client whose handshake has completed with `acceptance`; `None` if it sent none. Its chain
    /// begins with the leaf. Fails if the leaf cannot be decoded.
    pub(in crate::server) fn new(
        tls: &LiveTls,
        acceptance: Arc<Acceptance>,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> Result<Option<Self>, String> {
        let Some(chain @ [leaf, intermediates @ ..]) = chain else { return Ok(None) };
        let not_after = Validity::of(leaf).map_err(|error| error.to_string())?.not_after;
        let names = names(leaf).map_err(|error| error.to_string())?;
        Ok(Some(Self {
            shared: Arc::new(ClientCertificate::new(names, not_after)),
            chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
            intermediates: Intermediates::new(intermediates),
            tls: tls.clone(),
            replaced: Box::pin(acceptance.until_replaced()),
            acceptance,
        }))
    }

    /// What calls see of the certificate.
    pub(in crate::server) fn shared(&self) -> &Arc<ClientCertificate> {
        &self.shared
    }

    /// Completes when the certificate becomes invalid, or expires.
    pub(in crate::server) async fn until_invalid(mut self) {
        let left = self.shared.not_after().duration_since(SystemTime::now()).unwrap_or_default();
        let _ = timeout(left, poll_fn(|cx| self.poll_distrusted(cx))).await;
    }

    /// Whether the certificate has just become invalid, because a reload has revoked it or removed its CA, or because an
    /// intermediate certificate has expired. Calls that begin after that are not authenticated by it. Wakes the task when
    /// it has to be polled again.
    pub(in crate::server) fn poll_distrusted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let expired = self.intermediates.poll_expired(cx).is_ready();
            let replaced = self.replaced.as_mut().poll(cx).is_ready();
            if !expired && !replaced {
                return Poll::Pending;
            }
            let current = self.tls.acceptance();
            let is_known = !expired && current.verifies_like(&self.acceptance);
            let verifies = is_known || current.verifies(&self.chain);
            self.replaced = Box::pin(current.until_replaced());
            self.acceptance = current;
            if !verifies {
                self.shared.distrust();
                return Poll::Ready(());
            }
        }
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// The DNS names and URIs of a certificate. A certificate with several URIs has no SPIFFE id: it would not be clear
/// which (SPIFFE's X.509-SVID standard, section 2).
fn names(leaf: &CertificateDer<'_>) -> Result<Vec<SubjectAltName>, webpki::Error> {
    let leaf = EndEntityCert::try_from(leaf)?;
    let uris: Vec<_> = leaf.valid_uri_names().collect();
    let is_ambiguous = |uri: &&str| {
        uris.len() > 1 && uri.get(..SPIFFE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SPIFFE))
    };
    let dns = leaf.valid_dns_names().map(|name| SubjectAltName::Dns(name.into()));
    let uris = uris.iter().filter(|uri| !is_ambiguous(uri)).map(|uri| SubjectAltName::Uri((*uri).into()));
    Ok(dns.chain(uris).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn leaf(sans: &[&str], common_name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = sans
            .iter()
            .map(|san| {
                let name = (*san).try_into().unwrap();
                if san.contains("://") { SanType::URI(name) } else { SanType::DnsName(name) }
            })
            .collect();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn shown(sans: &[&str]) -> Vec<String> {
        names(&leaf(sans, "cn.internal")).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_come_from_the_extension_and_not_from_the_subject() {
        assert_eq!(shown(&["a.internal", "spiffe://td/a"]), ["DNS:a.internal", "URI:spiffe://td/a"]);
        assert_eq!(shown(&["*.a.internal"]), ["DNS:*.a.internal"]);
        assert!(shown(&[]).is_empty());
    }

    #[test]
    fn a_certificate_with_several_uris_has_no_spiffe_id() {
        assert_eq!(shown(&["spiffe://td/a", "https://x.example/a"]), ["URI:https://x.example/a"]);
        assert!(shown(&["spiffe://td/a", "SPIFFE://td/b"]).is_empty());
    }
}
