//! When the intermediate certificates of a client's chain expire.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use rustls::pki_types::CertificateDer;
use tokio::time::{Sleep, sleep};

use super::validity::Validity;

/// Verification counts in whole seconds, and a certificate is still valid in its last one.
const LAST_SECOND: Duration = Duration::from_secs(1);

/// The intermediate certificates of a chain. Clients may send certificates that their chain does not need, so the end of
/// one does not have to be the end of the chain: the chain has to be verified again.
#[derive(Debug)]
pub(super) struct Intermediates {
    ends: Vec<SystemTime>,
    /// Until the next of them expires; `None` if no other one will.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Intermediates {
    pub(super) fn new(certificates: &[CertificateDer<'_>]) -> Self {
        let validities = certificates.iter().filter_map(|certificate| Validity::of(certificate).ok());
        let ends: Vec<_> = validities.map(|validity| validity.not_after + LAST_SECOND).collect();
        let sleep = until_next(&ends);
        Self { ends, sleep }
    }

    /// Whether one of them has just expired. Wakes the task when it has to be polled again.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        ready!(sleep.as_mut().poll(cx));
        self.sleep = until_next(&self.ends);
        Poll::Ready(())
    }
}

fn until_next(ends: &[SystemTime]) -> Option<Pin<Box<Sleep>>> {
    let now = SystemTime::now();
    let next =
        ends.iter().filter_map(|end| end.duration_since(now).ok()).filter(|left| !left.is_zero()).min()?;
    Some(Box::pin(sleep(next)))
}
