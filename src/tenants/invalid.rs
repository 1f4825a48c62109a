//! Tenants whose settings are invalid: they are not served, or served with older settings.

use std::{collections::BTreeMap, fmt, time::Duration};

use tokio::{sync::watch, time::timeout};

use crate::telemetry::Metrics;

/// How often the log repeats that tenants were rejected. The lines from startup are soon far back in the log.
const EVERY: Duration = Duration::from_mins(1);

/// Limits on one log line: how many tenants it names, and how many characters of each name. A rejected name can have
/// any length.
const NAMED: usize = 20;
const NAME_CHARACTERS: usize = 64;

/// The tenants whose settings are invalid. Cheap to clone; clones share them.
#[derive(Debug, Clone)]
pub struct InvalidTenants {
    current: watch::Sender<Invalid>,
    metrics: Metrics,
}

/// What is wrong with the settings of the tenants.
#[derive(Debug, Clone, Default)]
pub struct Invalid {
    /// Names of tenants that are not served.
    pub rejected: Vec<String>,
    /// Names of tenants that are served with the last settings that were valid.
    pub stale: Vec<String>,
    /// Names of tenants files that cannot be used as a whole.
    pub unusable: Vec<String>,
    /// What is wrong with the settings of each stale or rejected tenant: some sentences, each with its place.
    pub reasons: BTreeMap<String, Vec<String>>,
    /// How many tenants are served.
    pub served: usize,
    /// Whether the last reload failed, so that all tenants have old settings.
    pub reload_failed: bool,
}

/// Displays some names, and the number of the others.
struct Names<'a>(&'a [String]);

impl InvalidTenants {
    /// The tenants `rejected`, in addition to `served` tenants. Records both numbers in `metrics`.
    pub fn new(rejected: Vec<String>, served: usize, metrics: &Metrics) -> Self {
        let new = Self { current: watch::Sender::new(Invalid::default()), metrics: metrics.clone() };
        new.replace(Invalid { rejected, served, ..Invalid::default() });
        new
    }

    /// The same tenants, with what is wrong with the settings of each.
    #[must_use]
    pub fn with_reasons(self, reasons: BTreeMap<String, Vec<String>>) -> Self {
        self.current.send_modify(|current| current.reasons = reasons);
        self
    }

    /// The tenants that are invalid now. Do not hold the result across a wait: it blocks reloads.
    pub fn current(&self) -> watch::Ref<'_, Invalid> {
        self.current.borrow()
    }

    /// Records the outcome of a reload.
    pub fn replace(&self, invalid: Invalid) {
        self.metrics.tenants(invalid.served, invalid.rejected.len(), invalid.stale.len());
        self.current.send_replace(invalid);
    }

    /// Records that a reload has changed nothing.
    pub fn reload_failed(&self) {
        self.current.send_modify(|current| current.reload_failed = true);
    }

    /// A sentence for operators, such as `2 of 14 tenants were rejected: see the log`. `None` if all tenants are served
    /// with their current settings.
    pub fn notice(&self) -> Option<String> {
        let current = self.current.borrow();
        let were = |count| if count == 1 { "was" } else { "were" };
        let (rejected, stale) = (current.rejected.len(), current.stale.len());
        let all = rejected + current.served;
        let mut parts = Vec::new();
        if current.reload_failed {
            parts.push("the tenants could not be reloaded".to_owned());
        }
        if rejected > 0 {
            parts.push(format!("{rejected} of {all} tenants {} rejected", were(rejected)));
        }
        if stale > 0 {
            let have = if stale == 1 { "has" } else { "have" };
            parts.push(format!(
                "{stale} of {all} tenants {have} old settings, because the new ones are invalid"
            ));
        }
        match current.unusable.len() {
            0 => {}
            1 => parts.push("1 tenants file cannot be used".to_owned()),
            files => parts.push(format!("{files} tenants files cannot be used")),
        }
        (!parts.is_empty()).then(|| format!("{}: see the log", parts.join("; ")))
    }

    /// Logs a warning every minute while there are invalid tenants, and at once when that begins. Never ends.
    pub async fn warn_repeatedly(self) {
        let mut changes = self.current.subscribe();
        loop {
            // `self` holds a sender, so waiting does not fail.
            let _ = changes.wait_for(|current| !current.is_empty()).await;
            changes.borrow().warn();
            let _ = timeout(EVERY, changes.wait_for(Invalid::is_empty)).await;
        }
    }
}

impl Invalid {
    /// Whether all tenants have their current settings.
    pub(crate) fn is_empty(&self) -> bool {
        self.rejected.is_empty() && self.stale.is_empty() && self.unusable.is_empty() && !self.reload_failed
    }

    fn warn(&self) {
        if !self.rejected.is_empty() {
            tracing::warn!(
                rejected = self.rejected.len(),
                served = self.served,
                tenants = %Names(&self.rejected),
                "tenants were rejected: correct their settings"
            );
        }
        if self.reload_failed {
            tracing::warn!("the tenants have their old settings, because they could not be reloaded");
        }
        if !self.unusable.is_empty() {
            tracing::warn!(files = %Names(&self.unusable), "tenants files cannot be used: correct them");
        }
        if !self.stale.is_empty() {
            tracing::warn!(
                stale = self.stale.len(),
                tenants = %Names(&self.stale),
                "tenants have their old settings, because the new ones are invalid: correct them"
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
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tracing_subscriber::{Layer, Registry, layer::Context, layer::SubscriberExt};

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("t{number}")).collect()
    }

    #[test]
    fn the_notice_counts_rejected_tenants_among_all() {
        let notice =
            |rejected, served| InvalidTenants::new(names(rejected), served, &Metrics::default()).notice();
        assert_eq!(notice(0, 3), None);
        assert_eq!(notice(1, 3).as_deref(), Some("1 of 4 tenants was rejected: see the log"));
        assert_eq!(notice(2, 12).as_deref(), Some("2 of 14 tenants were rejected: see the log"));
        let invalid = InvalidTenants::new(names(2), 12, &Metrics::default());
        let replace = |rejected, stale, served| {
            invalid.replace(Invalid { rejected, stale, served, ..Invalid::default() });
        };
        replace(names(1), vec!["a".to_owned()], 13);
        assert_eq!(
            invalid.notice().as_deref(),
            Some(
                "1 of 14 tenants was rejected; 1 of 14 tenants has old settings, because the new ones are invalid: \
                 see the log"
            )
        );
        replace(Vec::new(), Vec::new(), 14);
        assert_eq!(invalid.notice(), None);
        invalid.reload_failed();
        assert_eq!(invalid.notice().as_deref(), Some("the tenants could not be reloaded: see the log"));
        invalid.replace(Invalid { unusable: names(1), served: 3, ..Invalid::default() });
        assert_eq!(invalid.notice().as_deref(), Some("1 tenants file cannot be used: see the log"));
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
        let invalid = InvalidTenants::new(names(1), 3, &Metrics::default());
        let seconds = Duration::from_secs;
        let warning = invalid.clone().warn_repeatedly();
        tokio::pin!(warning);
        assert!(timeout(seconds(130), &mut warning).await.is_err());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 3);
        invalid.replace(Invalid { served: 4, ..Invalid::default() });
        assert!(timeout(seconds(130), &mut warning).await.is_err());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 3);
        invalid.replace(Invalid { stale: names(1), served: 4, ..Invalid::default() });
        assert!(timeout(seconds(1), &mut warning).await.is_err());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 4);
    }
}
