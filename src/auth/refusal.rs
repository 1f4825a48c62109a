//! Why a call is not let in.

use super::Access;

/// Why a caller may not do what it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No bearer token.
    #[error("the call carries no token: send the metadata `authorization: Bearer <token>`")]
    TokenMissing,
    /// A token that no tenant declares.
    #[error("the token is not known")]
    TokenUnknown,
    /// Several tenants, or none, and none named.
    #[error("the caller may act for several tenants: name one in the metadata `x-longshore-tenant`")]
    TenantRequired,
    /// Not a tenant of this caller. Says the same whether or not the tenant exists, so that nobody can find
    /// out whom else this server serves.
    #[error("the caller may not act for this tenant")]
    TenantNotAllowed,
    /// No such tenant. Said only where authentication is off, and there is nobody to hide tenants from.
    #[error("there is no tenant of this name")]
    TenantUnknown,
    /// The grant leaves something out.
    #[error("{}", .missing.sentence(*.access, .store))]
    AccessNotGranted {
        /// The access that the call needs.
        access: Access,
        /// The store that it is needed in.
        store: String,
        /// What the grant lacks.
        missing: Missing,
    },
}

/// What a grant lacks. Of several grants the one that comes nearest is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// This kind of access, in any store.
    Access,
    /// This kind of access in this store.
    Store,
    /// This kind of access to this key or prefix.
    Prefix,
}

impl Missing {
    fn sentence(self, access: Access, store: &str) -> String {
        let access = access.as_str();
        match self {
            Self::Access => format!("the caller's grant does not include `{access}`"),
            Self::Store => format!("the caller's grant does not include `{access}` in the store `{store}`"),
            Self::Prefix => format!(
                "the caller's grant includes `{access}` in the store `{store}` only below other key prefixes"
            ),
        }
    }
}
