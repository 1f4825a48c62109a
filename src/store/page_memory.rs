//! Memory for a page of a listing, from its first bytes until the caller has received it.

use tokio::sync::OwnedSemaphorePermit;

use super::{Error, ErrorKind, Reservation, S3Store};
use crate::s3::Room;

/// Memory that grows with a page. The memory that a page probably needs is reserved at once. Only a page that turns
/// out to be larger holds memory while it waits for more. Such pages must not wait for each other, so a few of them
/// at a time may exceed the budget.
#[derive(Debug)]
pub struct PageMemory {
    reservation: Reservation,
    /// Number of bytes that were reserved in advance and are not used yet.
    unused: u64,
    waits: bool,
    /// The permits that let a larger page exceed the budget.
    turn: Option<[OwnedSemaphorePermit; 2]>,
}

impl S3Store {
    /// Memory for a page that a caller waits for.
    pub(super) fn page_memory(&self) -> PageMemory {
        PageMemory { reservation: self.inner.budget.reservation(), unused: 0, waits: true, turn: None }
    }

    /// Memory for a page of about this size that no caller waits for yet, if it is free. A larger page fails if there
    /// is no memory for the rest.
    pub(super) fn page_memory_ahead(&self, bytes: u64) -> Option<PageMemory> {
        let reservation = self.inner.budget.reserve_ahead(bytes)?;
        Some(PageMemory { reservation, unused: bytes, waits: false, turn: None })
    }
}

impl PageMemory {
    /// No memory.
    #[cfg(test)]
    pub(super) fn none(budget: &super::TenantBudget) -> Self {
        Self { reservation: budget.reservation(), unused: 0, waits: false, turn: None }
    }

    /// Number of bytes that it is charged, without those that were reserved in advance and are not used.
    pub(super) fn used(&self) -> u64 {
        self.reservation.bytes().saturating_sub(self.unused)
    }

    /// Gives back all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: u64) {
        self.unused = 0;
        self.reservation.shrink(bytes);
    }
}

impl Room for PageMemory {
    async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let unused = self.unused.min(bytes);
        self.unused -= unused;
        let bytes = bytes - unused;
        if !self.waits {
            let message = "no memory is free for a page that no caller waits for";
            let exhausted = || Error::new(ErrorKind::MemoryExhausted, message);
            return (bytes == 0 || self.reservation.extend_ahead(bytes)).then_some(()).ok_or_else(exhausted);
        }
        if self.turn.is_some() || self.reservation.extend(bytes) {
            return Ok(());
        }
        if self.reservation.bytes() == 0 {
            return self.reservation.grow(bytes).await;
        }
        self.turn = Some(self.reservation.large_page().await?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt as _, future::join_all};

    use super::*;
    use crate::{
        store::{MemoryBudget, MemorySettings},
        telemetry::Metrics,
    };

    const KIB: u64 = 1024;

    fn budget() -> MemoryBudget {
        let settings = MemorySettings { budget: 1024 * KIB, ..MemorySettings::default() };
        MemoryBudget::new(settings, Metrics::default())
    }

    #[tokio::test(start_paused = true)]
    async fn pages_that_are_larger_than_expected_do_not_wait_for_each_other() {
        let budget = budget();
        let tenant = budget.share(None);
        let pages = (0..40).map(async |_| {
            let reservation = tenant.reservation();
            let mut page = PageMemory { reservation, unused: 0, waits: true, turn: None };
            for _ in 0..8 {
                page.grow(64 * KIB).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        join_all(pages).await;
        assert_eq!(budget.reserved(), 0);
    }

    #[tokio::test]
    async fn a_page_that_is_fetched_ahead_does_not_wait_for_memory() {
        let tenant = budget().share(None);
        let _held = tenant.reserve(u64::MAX).await.unwrap();
        let _more = tenant.reserve(128 * KIB).await.unwrap();
        let held = tenant.reserve_ahead(192 * KIB).unwrap();
        let reservation = tenant.reserve_ahead(64 * KIB).unwrap();
        let mut ahead = PageMemory { reservation, unused: 64 * KIB, waits: false, turn: None };
        assert!(ahead.grow(64 * KIB).now_or_never().unwrap().is_ok(), "it is reserved");
        assert!(ahead.grow(64 * KIB).now_or_never().unwrap().is_err());
        drop(held);
        assert!(ahead.grow(64 * KIB).now_or_never().unwrap().is_ok());
        ahead.shrink(KIB);
        assert_eq!(ahead.used(), KIB);
    }
}
