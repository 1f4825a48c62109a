//! Memory for a page of a listing, from its first bytes until the caller has received it.

use tokio::sync::OwnedSemaphorePermit;

use super::{Error, Reservation, S3Store};
use crate::s3::Room;

/// Memory that grows with a page. The memory that a page probably needs is reserved at once. Only a page that turns
/// out to be larger holds memory while it waits for more. Such pages must not wait for each other, so a few of them
/// at a time may exceed the budget.
#[derive(Debug)]
pub struct PageMemory {
    reservation: Reservation,
    waits: bool,
    /// The permits that let a larger page exceed the budget.
    turn: Option<[OwnedSemaphorePermit; 2]>,
}

impl S3Store {
    /// Memory for a page that a caller waits for.
    pub(super) fn page_memory(&self) -> PageMemory {
        PageMemory { reservation: self.inner.budget.reservation(), waits: true, turn: None }
    }

    /// Memory for a page that no caller has asked for yet. It never waits: growing fails if the memory is not free.
    pub(super) fn page_memory_ahead(&self) -> PageMemory {
        PageMemory { waits: false, ..self.page_memory() }
    }
}

impl Room for PageMemory {
    async fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        if self.turn.is_some() || self.reservation.extend(bytes) {
            return Ok(());
        }
        if !self.waits {
            return Err(self.reservation.exhausted());
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
            let mut page = PageMemory { reservation: tenant.reservation(), waits: true, turn: None };
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
        let mut ahead = PageMemory { reservation: tenant.reservation(), waits: false, turn: None };
        assert!(ahead.grow(64 * KIB).now_or_never().unwrap().is_err());
    }
}
