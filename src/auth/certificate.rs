//! Client certificates: the names by which they identify callers, and until when they are accepted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::SystemTime,
};

use super::{CallerSettings, Principal, Refusal, SubjectAltName, principal::Grant};

/// How many names of a certificate an error lists, and how many characters of each.
const LISTED: usize = 3;
const LISTED_CHARACTERS: usize = 128;

/// The verified certificate of a connection's client. All calls of the connection share it.
#[derive(Debug)]
pub struct ClientCertificate {
    names: Vec<SubjectAltName>,
    not_after: SystemTime,
    is_distrusted: AtomicBool,
}

impl ClientCertificate {
    /// A certificate that has been verified. The names are those of its subjectAltName extension, never of its subject.
    pub fn new(names: Vec<SubjectAltName>, not_after: SystemTime) -> Self {
        Self { names, not_after, is_distrusted: AtomicBool::new(false) }
    }

    /// When the certificate expires.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Records that the certificate no longer verifies: it was revoked, its CA was removed, or an intermediate
    /// certificate was revoked or has expired.
    pub fn distrust(&self) {
        self.is_distrusted.store(true, Relaxed);
    }

    /// Checks that the certificate is valid, and has one of these names of operators.
    pub fn check_operator(&self, allowed: &[SubjectAltName]) -> Result<(), Refusal> {
        self.check()?;
        if self.names.iter().any(|name| allowed.contains(name)) {
            return Ok(());
        }
        Err(Refusal::OperatorUnknown { names: self.shown_names() })
    }

    /// Whether calls that begin now may use the certificate.
    fn check(&self) -> Result<(), Refusal> {
        if self.is_distrusted.load(Relaxed) {
            return Err(Refusal::CertificateNotTrusted);
        }
        if self.not_after < SystemTime::now() {
            return Err(Refusal::CertificateExpired);
        }
        Ok(())
    }

    fn unknown(&self) -> Refusal {
        Refusal::CertificateUnknown { names: self.shown_names() }
    }

    /// The first of the names, for an error.
    fn shown_names(&self) -> String {
        let shown = self.names.iter().take(LISTED).map(|name| {
            let name = name.to_string();
            let characters = name.chars().take(LISTED_CHARACTERS);
            characters.map(|c| if c.is_control() { ' ' } else { c }).collect::<String>()
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        let more = if self.names.len() > LISTED { ", …" } else { "" };
        let none = if self.names.is_empty() { "none" } else { "" };
        format!("{shown}{more}{none}")
    }
}

/// Callers by the names in their certificates.
#[derive(Debug, Default)]
pub(super) struct NameIndex(HashMap<SubjectAltName, Arc<Principal>>);

impl NameIndex {
    pub(super) fn new<'a>(tenants: impl Iterator<Item = (&'a str, &'a [CallerSettings])>) -> Self {
        let mut principals: BTreeMap<&SubjectAltName, Principal> = BTreeMap::new();
        for (tenant, callers) in tenants {
            let tenant: Arc<str> = tenant.into();
            for caller in callers {
                let grant = Arc::new(Grant::of(caller));
                for name in &caller.identities.names {
                    principals
                        .entry(name)
                        .or_insert_with(|| Principal::named(Arc::clone(grant.caller())))
                        .grant_by_name(&tenant, &grant);
                }
            }
        }
        Self(principals.into_iter().map(|(name, principal)| (name.clone(), Arc::new(principal))).collect())
    }

    /// The caller with this certificate. If it has the names of several callers, it may do what any of them may.
    pub(super) fn authenticate(&self, certificate: &ClientCertificate) -> Result<Arc<Principal>, Refusal> {
        certificate.check()?;
        let mut found = certificate.names.iter().filter_map(|name| self.0.get(name));
        let first = found.next().ok_or_else(|| certificate.unknown())?;
        let mut others = found.filter(|other| !Arc::ptr_eq(first, other)).peekable();
        if others.peek().is_none() {
            return Ok(Arc::clone(first));
        }
        let mut all = (**first).clone();
        others.for_each(|other| all.join(other));
        Ok(Arc::new(all))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::{Access, Identities, Scope};

    fn dns(name: &str) -> SubjectAltName {
        SubjectAltName::Dns(name.into())
    }

    fn uri(name: &str) -> SubjectAltName {
        SubjectAltName::Uri(name.into())
    }

    fn caller(name: &str, names: &[SubjectAltName], access: Access) -> CallerSettings {
        CallerSettings {
            name: name.to_owned(),
            identities: Identities { names: names.to_vec(), ..Identities::default() },
            access: vec![access],
            stores: None,
            prefixes: None,
        }
    }

    fn index(acme: &[CallerSettings], zeta: &[CallerSettings]) -> NameIndex {
        NameIndex::new([("acme", acme), ("zeta", zeta)].into_iter())
    }

    fn certificate(names: &[SubjectAltName]) -> ClientCertificate {
        ClientCertificate::new(names.to_vec(), SystemTime::now() + Duration::from_mins(1))
    }

    #[test]
    fn names_identify_callers_only_if_kind_and_characters_are_the_same() {
        let billing =
            caller("billing", &[dns("billing.internal"), uri("spiffe://a/ns/b/sa/c")], Access::Read);
        let index = index(&[billing], &[]);
        let found = |name| index.authenticate(&certificate(&[name])).map(|found| found.name().to_owned());
        assert_eq!(found(dns("billing.internal")).unwrap(), "billing");
        assert_eq!(found(uri("spiffe://a/ns/b/sa/c")).unwrap(), "billing");
        for other in [
            dns("Billing.internal"),
            dns("*.internal"),
            dns("billing.internal."),
            dns("x.billing.internal"),
            dns("billing.internal.evil.example"),
            uri("billing.internal"),
            dns("spiffe://a/ns/b/sa/c"),
            uri("spiffe://A/ns/b/sa/c"),
            uri("spiffe://a/ns/b/sa/c/d"),
            uri("spiffe://a/ns/b/sa/*"),
            uri("SPIFFE://a/ns/b/sa/c"),
        ] {
            let refusal = found(other.clone()).unwrap_err();
            assert_eq!(refusal, Refusal::CertificateUnknown { names: other.to_string() });
        }
        let refusal = index.authenticate(&certificate(&[])).unwrap_err();
        assert!(refusal.to_string().contains("(none)"), "{refusal}");
    }

    #[test]
    fn a_name_of_two_tenants_has_the_grant_of_each_tenant() {
        let name = || dns("shared.internal");
        let index = index(&[caller("a", &[name()], Access::Read)], &[caller("z", &[name()], Access::Write)]);
        let principal = index.authenticate(&certificate(&[name()])).unwrap();
        assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        let zeta = principal.acting_for(Some("zeta")).unwrap();
        assert!(zeta.authorize(Access::Write, "default", Scope::Key("k")).is_ok());
        assert!(zeta.authorize(Access::Read, "default", Scope::Key("k")).is_err());
    }

    #[test]
    fn a_certificate_with_the_names_of_several_callers_has_all_of_their_grants() {
        let acme = [caller("a", &[dns("a")], Access::Read), caller("b", &[dns("b")], Access::Write)];
        let index = index(&acme, &[caller("c", &[dns("c")], Access::List)]);
        let both = index.authenticate(&certificate(&[dns("unknown"), dns("a"), dns("b")])).unwrap();
        let actor = both.acting_for(None).unwrap();
        assert_eq!((actor.name(), actor.tenant()), ("a", "acme"));
        for access in [Access::Read, Access::Write] {
            assert!(actor.authorize(access, "default", Scope::Key("k")).is_ok(), "{access:?}");
        }
        assert!(both.acting_for(Some("zeta")).is_err());
        let all = index.authenticate(&certificate(&[dns("a"), dns("c")])).unwrap();
        assert!(all.acting_for(Some("zeta")).is_ok() && all.acting_for(Some("acme")).is_ok());
        let only_a = index.authenticate(&certificate(&[dns("a")])).unwrap();
        let actor = only_a.acting_for(None).unwrap();
        assert!(
            actor.authorize(Access::Write, "default", Scope::Key("k")).is_err(),
            "grants are not added to the index"
        );
    }

    #[test]
    fn expired_and_distrusted_certificates_are_refused_although_their_names_are_known() {
        let index = index(&[caller("a", &[dns("a")], Access::Read)], &[]);
        let expired = ClientCertificate::new(vec![dns("a")], SystemTime::now() - Duration::from_secs(1));
        assert_eq!(index.authenticate(&expired).unwrap_err(), Refusal::CertificateExpired);
        let revoked = certificate(&[dns("a")]);
        assert!(index.authenticate(&revoked).is_ok());
        revoked.distrust();
        assert_eq!(index.authenticate(&revoked).unwrap_err(), Refusal::CertificateNotTrusted);
    }

    #[test]
    fn callers_of_an_untrusted_file_have_to_name_their_tenant() {
        let mut untrusted = caller("a", &[dns("a")], Access::Read);
        untrusted.identities.must_name_tenant = true;
        let index = index(&[untrusted], &[]);
        let principal = index.authenticate(&certificate(&[dns("a")])).unwrap();
        assert_eq!(principal.acting_for(None).unwrap_err(), Refusal::TenantRequired);
        assert_eq!(principal.acting_for(Some("acme")).unwrap().tenant(), "acme");
    }
}
