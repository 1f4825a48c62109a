//! `longshore check --connect`: tries every store.

use std::{
    error::Error as _,
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use tokio::time::timeout;

use crate::{
    server::ServerSettings,
    store::{CheckStep, StoreCheck},
    tenants::{Resources, Snapshot},
};

/// How many stores are checked at the same time.
const AT_ONCE: usize = 16;

/// How long the check of one store may take.
const LONGEST: Duration = Duration::from_mins(1);

/// No retry begins later than this after the check of a store began.
const NO_RETRIES_AFTER: Duration = Duration::from_secs(20);

/// Checks every store as `CheckStore` does, without writing anything. Writes a line per store to `out`, and how to fix
/// what failed. Returns the number of stores that failed.
pub(super) async fn check_stores(settings: &ServerSettings, out: &mut impl Write) -> io::Result<usize> {
    let resources = Resources::new(settings.memory);
    let snapshot = Arc::new(Snapshot::new(settings.tenants.clone(), settings.auth, &resources));
    let stores: Vec<_> = settings
        .tenants
        .iter()
        .flat_map(|tenant| tenant.stores.keys().map(|store| (tenant.name.clone(), store.clone())))
        .collect();
    let checks = stores.into_iter().map(|(tenant, store)| {
        let snapshot = Arc::clone(&snapshot);
        async move { (format!("{tenant}/{store}"), check(&snapshot, &tenant, &store).await) }
    });
    let mut checks = futures::stream::iter(checks).buffered(AT_ONCE);
    let mut failed = 0;
    while let Some((name, outcome)) = checks.next().await {
        match outcome {
            Ok(origin) => writeln!(out, "{name}: ok; {origin}")?,
            Err(why) => {
                failed += 1;
                writeln!(out, "{name}: {why}")?;
            }
        }
    }
    Ok(failed)
}

/// Where the store's credentials come from, or what failed and how to fix it.
async fn check(snapshot: &Snapshot, tenant: &str, store: &str) -> Result<String, String> {
    let store = snapshot.tenant(tenant).and_then(|tenant| tenant.store(store));
    let store = store.ok_or("the store does not exist")?.map_err(|error| error.to_string())?;
    // Otherwise the retries would take longer than the check may.
    let store = store.until(Some(Instant::now() + NO_RETRIES_AFTER));
    let checked = timeout(LONGEST, Box::pin(store.check(false))).await;
    let StoreCheck { steps, credentials } =
        checked.map_err(|_| format!("did not finish within {} s", LONGEST.as_secs()))?;
    for CheckStep { name, outcome, fix, .. } in steps {
        if let Err(error) = outcome {
            // The source has the whole text.
            let error = match error.source() {
                Some(source) => format!("{}: {source}", error.message()),
                None => error.to_string(),
            };
            // One line, whatever the server said.
            let error = error.replace(['\n', '\r'], " ");
            return Err(format!("`{name}` failed: {error}\n  {fix}").trim_end().to_owned());
        }
    }
    Ok(credentials.map(|origin| origin.to_string()).unwrap_or_default())
}
