//! The error of a call that is beyond a limit.

use std::{fmt, sync::Arc, time::Duration};

use crate::telemetry::LimitLabels;

/// What a limit applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// All calls of the process.
    Process,
    /// The calls of a tenant.
    Tenant(Arc<str>),
    /// The calls of a caller of a tenant.
    Caller {
        /// The tenant.
        tenant: Arc<str>,
        /// The caller.
        caller: Arc<str>,
    },
}

impl Holder {
    /// The kind, as a value of a metric's label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Tenant(_) => "tenant",
            Self::Caller { .. } => "caller",
        }
    }
}

impl Holder {
    /// The labels of the metrics of one of its limits.
    pub(super) fn labels(&self, limit: &'static str) -> LimitLabels {
        let tenant = match self {
            Self::Process => Arc::default(),
            Self::Tenant(tenant) | Self::Caller { tenant, .. } => Arc::clone(tenant),
        };
        LimitLabels { limit, holder: self.kind(), tenant }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("this process"),
            Self::Tenant(tenant) => write!(f, "the tenant `{tenant}`"),
            Self::Caller { caller, .. } => write!(f, "the caller `{caller}`"),
        }
    }
}

/// A call is beyond a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// What the limit applies to.
    pub holder: Holder,
    /// The key of the limit.
    pub limit: &'static str,
    /// Its value.
    pub value: String,
    /// Between how many processes the value is divided; 1 if it applies to each.
    pub shared_by: u32,
    /// When to try again. `None`: the same call would always fail.
    pub retry_after: Option<Duration>,
}

impl Exceeded {
    /// The labels of the limit's metrics.
    pub(crate) fn labels(&self) -> LimitLabels {
        self.holder.labels(self.limit)
    }

    /// Identifies the limit, as in `tenant:acme/max_in_flight`.
    pub fn subject(&self) -> String {
        match &self.holder {
            Holder::Process => format!("process/{}", self.limit),
            Holder::Tenant(tenant) => format!("tenant:{tenant}/{}", self.limit),
            Holder::Caller { tenant, caller } => format!("caller:{tenant}/{caller}/{}", self.limit),
        }
    }

    /// The limit's value and what it applies to.
    pub fn description(&self) -> String {
        let Self { holder, limit, value, shared_by, .. } = self;
        let each = match (shared_by, holder) {
            (_, Holder::Process) => String::new(),
            (0 | 1, _) if self.retry_after.is_some() => " in each process".to_owned(),
            (0 | 1, _) => String::new(),
            (processes, _) => format!(", divided between {processes} processes"),
        };
        format!("{limit} of {holder} is {value}{each}")
    }
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice =
            if self.retry_after.is_some() { "retry the call later" } else { "a retry does not help" };
        write!(f, "the call is beyond a limit: {}: {advice}", self.description())
    }
}
