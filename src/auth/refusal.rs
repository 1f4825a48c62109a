//! Reasons to reject a call.

use super::Access;

/// Why a call is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The call has no bearer token.
    #[error("the call has no bearer token: send the metadata `authorization: Bearer <token>`")]
    TokenMissing,
    /// No tenant declares the token.
    #[error("the server does not know the bearer token: check the metadata `authorization`")]
    TokenUnknown,
    /// The call names no tenant, and the caller may act for several or for none.
    #[error("the caller may act for several tenants: name one in the metadata `x-longshore-tenant`")]
    TenantRequired,
    /// The caller may not act for the tenant. The error is the same whether or not the tenant exists, so that callers
    /// cannot find out which other tenants this server has.
    #[error("the caller may not act for this tenant: check the metadata `x-longshore-tenant`")]
    TenantNotAllowed,
    /// The tenant does not exist. Returned only if authentication is off, when the existence of tenants is not hidden.
    #[error("the tenant does not exist: check the metadata `x-longshore-tenant`")]
    TenantUnknown,
    /// The caller's grants do not cover the request.
    #[error("{}", .missing.sentence(*.access, .store))]
    AccessNotGranted {
        /// The access that the call needs.
        access: Access,
        /// The store that the call uses.
        store: String,
        /// What the grants lack.
        missing: MissingGrant,
    },
}

/// What a grant lacks. If the caller has several grants, the one that comes closest is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingGrant {
    /// This kind of access in any store.
    Access,
    /// This kind of access in this store.
    Store,
    /// This kind of access to this key or prefix.
    Prefix,
}

impl MissingGrant {
    fn sentence(self, access: Access, store: &str) -> String {
        let access = access.as_str();
        match self {
            Self::Access => format!(
                "the caller's grant does not include `{access}` access: ask the operator to add it to `access` in the tenants file"
            ),
            Self::Store => format!(
                "the caller's grant does not include `{access}` access to the store `{store}`: ask the operator to add the store to `stores` in the tenants file"
            ),
            Self::Prefix => format!(
                "the caller's grant includes `{access}` access to the store `{store}` for other key prefixes only: ask the operator to extend `prefixes` in the tenants file"
            ),
        }
    }
}
