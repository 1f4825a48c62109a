//! The pool: tenants and their stores, each store built on first use.

mod orphans;
mod pool;
mod rejected;

use std::collections::BTreeMap;

pub use crate::store::{MemorySettings, limit_connections, open_connections};
pub use orphans::search_for_orphans;
pub use pool::{Pool, Tenant};
pub use rejected::RejectedTenants;

use crate::{auth::CallerSettings, store::StoreSettings};

/// One tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSettings {
    /// Its name, 1 to 64 of `[a-z0-9._-]`, not starting with a dot.
    pub name: String,
    /// Who may act for it.
    pub callers: Vec<CallerSettings>,
    /// How many bytes of the process's memory budget it may hold at once; `None` is all of it, or half where it is not the
    /// only tenant.
    pub max_buffered: Option<u64>,
    /// Its stores by name.
    pub stores: BTreeMap<String, StoreSettings>,
}

impl TenantSettings {
    /// A tenant with these stores, for which nobody may act yet.
    pub fn new(name: &str, stores: BTreeMap<String, StoreSettings>) -> Self {
        Self { name: name.to_owned(), callers: Vec::new(), max_buffered: None, stores }
    }
}
