//! Tenants that are not served because their settings are invalid.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::interval;

use crate::telemetry::Metrics;

/// How often the log repeats that tenants were rejected. The lines from startup are soon far back in the log.
const EVERY: Duration = Duration::from_mins(1);

/// Limits on one log line: how many tenants it names, and how many characters of each name. A rejected name can have
/// any length.
const NAMED: usize = 20;
const NAME_CHARACTERS: usize = 64;

/// The tenants that were rejected. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RejectedTenants {
    names: Arc<[String]>,
    loaded: usize,
}

/// Displays some names, and the number of the others.
struct Names<'a>(&'a [String]);

impl RejectedTenants {
    /// The rejected tenants `names`, in addition to `loaded` tenants that are served. Records both numbers in
    /// `metrics`.
    pub fn new(names: Vec<String>, loaded: usize, metrics: &Metrics) -> Self {
        metrics.tenants(loaded, names.len());
        Self { names: names.into(), loaded }
    }

    /// A sentence for operators, such as `2 of 14 tenants were rejected: see the log`. `None` if all tenants are
    /// served.
    pub fn notice(&self) -> Option<String> {
        let (rejected, all) = (self.names.len(), self.names.len() + self.loaded);
        let were = if rejected == 1 { "was" } else { "were" };
        (rejected > 0).then(|| format!("{rejected} of {all} tenants {were} rejected: see the log"))
    }

    /// Logs a warning now and every minute, as long as the future is polled. Ends immediately if all tenants are
    /// served.
    pub async fn warn_repeatedly(self) {
        if self.names.is_empty() {
            return;
        }
        let mut ticks = interval(EVERY);
        loop {
            ticks.tick().await;
            tracing::warn!(
                rejected = self.names.len(),
                loaded = self.loaded,
                tenants = %Names(&self.names),
                "tenants were rejected: correct their settings and restart the process"
            );
        }
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, name) in self.0.iter().take(NAMED).enumerate() {
            let comma = if number > 0 { ", " } else { "" };
            let end = name.char_indices().nth(NAME_CHARACTERS);
            match end {
                Some((end, _)) => write!(f, "{comma}{}…", name[..end].escape_debug())?,
                None => write!(f, "{comma}{}", name.escape_debug())?,
            }
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::{Layer, Registry, layer::Context, layer::SubscriberExt};

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("t{number}")).collect()
    }

    #[test]
    fn the_notice_counts_rejected_tenants_among_all() {
        let notice =
            |rejected, loaded| RejectedTenants::new(names(rejected), loaded, &Metrics::default()).notice();
        assert_eq!(notice(0, 3), None);
        assert_eq!(notice(1, 3).as_deref(), Some("1 of 4 tenants was rejected: see the log"));
        assert_eq!(notice(2, 12).as_deref(), Some("2 of 14 tenants were rejected: see the log"));
    }

    #[test]
    fn a_line_names_some_tenants_and_cuts_long_names() {
        assert_eq!(Names(&names(2)).to_string(), "t1, t2");
        let many = Names(&names(25)).to_string();
        assert!(many.starts_with("t1, t2, ") && many.ends_with(", t20 and 5 more"), "{many}");
        let long = Names(&["é".repeat(10_000), "a\nb".to_owned()]).to_string();
        assert_eq!(long, format!("{}…, a\\nb", "é".repeat(64)));
    }

    /// Counts warnings.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicUsize>);

    impl<S: tracing::Subscriber> Layer<S> for Warnings {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            assert_eq!(*event.metadata().level(), tracing::Level::WARN);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_warning_is_repeated_every_minute() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(Registry::default().with(warnings.clone()));
        let rejected = RejectedTenants::new(names(1), 3, &Metrics::default());
        let ended = tokio::time::timeout(Duration::from_secs(130), rejected.warn_repeatedly()).await;
        assert!(ended.is_err());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 3);
        RejectedTenants::new(Vec::new(), 3, &Metrics::default()).warn_repeatedly().await;
        assert_eq!(warnings.0.load(Ordering::Relaxed), 3);
    }
}
