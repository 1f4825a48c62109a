//! The pool of tenants and their stores. Each store is built on first use, and dropped when it is idle.

mod built_stores;
mod invalid;
mod limits;
mod on_demand;
mod orphans;
mod pool;
mod reload;
mod resources;
mod tenant;

use std::{collections::BTreeMap, sync::Arc};

pub use crate::store::{MemorySettings, limit_connections, open_connections};
pub use built_stores::{BuiltStores, drop_idle_stores};
pub use invalid::{Invalid, InvalidTenants};
pub use limits::{
    CallKind, CallLimits, CallPermit, Exceeded, Holder, LimitScope, Limits, Process, ProcessLimits,
};
pub(crate) use limits::{CallLimitsLayer, LimitsLayer};
pub use orphans::search_for_orphans;
pub use pool::{Pool, Snapshot};
pub use reload::{Changes, ReloadReport};
pub use resources::Resources;
pub use tenant::Tenant;

use crate::{auth::CallerSettings, store::StoreSettings};

/// The settings of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSettings {
    /// The tenant's name: 1 to 64 characters from `[a-z0-9._-]`, not starting with a dot.
    pub name: String,
    /// The callers that may act for the tenant.
    pub callers: Vec<CallerSettings>,
    /// Limits on what the tenant may use of the process's resources.
    pub limits: Limits,
    /// Limits on the calls of each caller, by the caller's name. Callers without any are not in it.
    pub caller_limits: BTreeMap<String, CallLimits>,
    /// The tenant's stores, by name. Behind pointers, because a map has room for eleven values even if there is one.
    pub stores: BTreeMap<String, Arc<StoreSettings>>,
}

impl TenantSettings {
    /// A tenant with these stores and no callers.
    pub fn new(name: &str, stores: BTreeMap<String, StoreSettings>) -> Self {
        let stores = stores.into_iter().map(|(name, store)| (name, Arc::new(store))).collect();
        Self {
            name: name.to_owned(),
            callers: Vec::new(),
            limits: Limits::default(),
            caller_limits: BTreeMap::new(),
            stores,
        }
    }
}
