//! Repeated warnings: about TLS files that cannot be used, and before the certificate expires.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::{LiveTls, server_certificate::ServerCertificate, validity::Validity};

/// How often the log repeats that a file cannot be used, or that something has expired.
const EVERY: Duration = Duration::from_mins(1);

/// How many times as rarely the log repeats that the certificate will expire.
const SELDOM: u32 = 60;

/// The certificate should have been replaced this long before it expires, or when a fifth of its lifetime is left if
/// that is less. Most tools renew it when a third is left.
const LONGEST_WARNING: Duration = Duration::from_hours(30 * 24);
const WARNING_FRACTION: u32 = 5;

impl LiveTls {
    /// Logs a warning every minute while a file cannot be used or the certificate has expired, and every hour while the
    /// certificate is about to expire or a newer revocation list is missing. Never ends.
    pub(in crate::server) async fn warn_repeatedly(self) {
        for round in (0..SELDOM).cycle() {
            self.warn(round == 0);
            sleep(EVERY).await;
        }
    }

    fn warn(&self, all: bool) {
        if let Some(notice) = self.notice() {
            tracing::warn!(%notice, "a TLS file cannot be used, so its last usable contents stay in use");
        }
        let (now, materials) = (SystemTime::now(), self.materials());
        match Expiry::of(&materials.certificate, now) {
            Expiry::Expired => {
                tracing::error!(
                    "the certificate of the gRPC listener has expired: replace LONGSHORE_TLS_CERT"
                );
            }
            Expiry::Soon(left) if all => {
                let left = humantime::format_duration(Duration::from_secs(left.as_secs() / 60 * 60));
                tracing::warn!(%left, "the certificate of the gRPC listener expires soon: replace LONGSHORE_TLS_CERT");
            }
            Expiry::Soon(_) | Expiry::Later => {}
        }
        let lists = materials.trust.and_then(|trust| trust.lists);
        if all && lists.and_then(|lists| lists.next_update()).is_some_and(|next| next < now) {
            tracing::warn!(
                "a revocation list in LONGSHORE_TLS_CLIENT_CRL is outdated: newer revocations are not known"
            );
        }
    }
}

/// How soon a certificate expires.
#[derive(Debug, PartialEq, Eq)]
enum Expiry {
    /// There is enough time, or the expiry is unknown.
    Later,
    /// It should have been replaced by now.
    Soon(Duration),
    Expired,
}

impl Expiry {
    fn of(certificate: &ServerCertificate, now: SystemTime) -> Self {
        certificate.validity().map_or(Self::Later, |validity| Self::after(validity, now))
    }

    fn after(Validity { not_before, not_after }: Validity, now: SystemTime) -> Self {
        let Ok(left) = not_after.duration_since(now) else { return Self::Expired };
        let lifetime = not_after.duration_since(not_before).unwrap_or_default();
        if left < (lifetime / WARNING_FRACTION).min(LONGEST_WARNING) { Self::Soon(left) } else { Self::Later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_expires_soon_30_days_or_a_fifth_of_its_lifetime_before_its_end() {
        let day = |days: u64| Duration::from_hours(days * 24);
        let start = SystemTime::UNIX_EPOCH + day(10_000);
        let after = |lifetime, age| {
            Expiry::after(Validity { not_before: start, not_after: start + day(lifetime) }, start + day(age))
        };
        assert_eq!(after(365, 334), Expiry::Later);
        assert_eq!(after(365, 336), Expiry::Soon(day(29)));
        assert_eq!(after(90, 60), Expiry::Later, "when usual tools renew it");
        assert_eq!(after(90, 71), Expiry::Later);
        assert_eq!(after(90, 73), Expiry::Soon(day(17)));
        assert_eq!(after(90, 91), Expiry::Expired);
    }
}
