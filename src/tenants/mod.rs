//! The pool: tenants and their stores, each store built on first use.

mod pool;

use std::collections::BTreeMap;

pub use pool::{Pool, Tenant};

use crate::{auth::CallerSettings, store::StoreSettings};

/// One tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSettings {
    /// Its name, 1 to 64 of `[a-z0-9._-]`, not starting with a dot.
    pub name: String,
    /// Who may act for it.
    pub callers: Vec<CallerSettings>,
    /// Its stores by name.
    pub stores: BTreeMap<String, StoreSettings>,
}
