//! Searches for orphaned uploads in every store that has an `orphan_age`.

use std::time::Duration;

use tokio::time::timeout;

use super::Pool;
use crate::{
    store::{Error, ErrorKind, Orphans},
    telemetry::Metrics,
};

/// The delay before the first search after startup, and the interval between searches. An `orphan_age` is at least an
/// hour, and usually days, so more frequent searches gain nothing.
const FIRST: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_hours(1);

/// How long the search of one store may take, so that a server that sends page after page does not keep the other
/// stores from being searched.
const LONGEST: Duration = Duration::from_mins(10);

/// Searches forever, one store at a time. Every replica searches, at different times; the others do not find what one
/// of them has aborted. Dropping the future stops the search.
pub async fn search_for_orphans(pool: Pool, metrics: Metrics) {
    tokio::time::sleep(jittered(FIRST)).await;
    loop {
        search(&pool, &metrics).await;
        tokio::time::sleep(jittered(EVERY)).await;
    }
}

async fn search(pool: &Pool, metrics: &Metrics) {
    for tenant in pool.snapshot().tenants() {
        for (name, settings) in tenant.stores() {
            let Some(orphans) = settings.transfer.orphans() else { continue };
            let store = match tenant.store_without_call(name) {
                Some(Ok(store)) => store,
                Some(Err(error)) => {
                    tell_failure(tenant.name(), name, &error);
                    continue;
                }
                None => continue,
            };
            let mut found = Orphans::default();
            let searched = timeout(LONGEST, store.search_orphans(orphans, &mut found)).await;
            metrics.orphans_aborted(found.aborted);
            tell(tenant.name(), name, orphans.abort, &found);
            let timed_out = |_| Err(Error::new(ErrorKind::BackendTimeout, "timed out"));
            if let Err(error) = searched.unwrap_or_else(timed_out) {
                tell_failure(tenant.name(), name, &error);
            }
        }
    }
}

fn tell(tenant: &str, store: &str, abort: bool, orphans: &Orphans) {
    let Orphans { found, aborted, unknown, .. } = orphans;
    if *unknown > 0 {
        tracing::warn!(
            tenant,
            store,
            unknown,
            "left old uploads alone: S3 did not list their parts (which needs s3:ListMultipartUploadParts) or returned no times"
        );
    }
    let Some(oldest) = &orphans.oldest else { return };
    let (key, upload_id) = (&oldest.key, &oldest.s3_upload_id);
    let started = oldest.started.map(humantime::format_rfc3339_seconds).map(|time| time.to_string());
    if abort {
        tracing::info!(tenant, store, found, aborted, "orphaned uploads were aborted");
    } else {
        tracing::warn!(
            tenant,
            store,
            found,
            oldest_key = key,
            oldest_upload_id = upload_id,
            oldest_started = started,
            "found uploads older than `orphan_age`: set `abort_orphans: true` to abort them"
        );
    }
}

fn tell_failure(tenant: &str, store: &str, error: &Error) {
    tracing::warn!(tenant, store, %error, "the search for orphaned uploads failed");
}

/// Adds jitter, so that replicas that start together do not search together.
fn jittered(time: Duration) -> Duration {
    time.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_intervals_have_jitter() {
        let waits: Vec<_> = (0..100).map(|_| jittered(EVERY)).collect();
        assert!(waits.iter().all(|wait| (3240..=3960).contains(&wait.as_secs())));
        assert!(waits.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
