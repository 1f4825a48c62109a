//! Reasons to reject a call.

use super::{Access, JwtRejection};

/// Why a call is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The call has no bearer token, and its connection has no client certificate.
    #[error("the call has no bearer token: send the metadata `authorization: Bearer <token>`")]
    TokenMissing,
    /// No tenant declares the token.
    #[error("the server does not know the bearer token: check the metadata `authorization`")]
    TokenUnknown,
    /// A tenant declares the token, but it has expired in the tenant that the call is for.
    #[error("the bearer token has expired: use the caller's new token")]
    TokenExpired,
    /// No tenant declares a name of the client certificate.
    #[error(
        "the server does not know the names of the client certificate ({names}), and the call has no bearer token: ask \
         the operator to add one of the names to `san` of a caller in the tenants file"
    )]
    CertificateUnknown {
        /// Some of the certificate's names, which only the holder of its key sees.
        names: String,
    },
    /// `LONGSHORE_ADMIN_SANS` has no name of the client certificate.
    #[error(
        "the client certificate is not that of an operator: LONGSHORE_ADMIN_SANS has none of its names ({names}), and the \
         call has no bearer token"
    )]
    OperatorUnknown {
        /// Some of the certificate's names, which only the holder of its key sees.
        names: String,
    },
    /// The client certificate has expired since the connection was opened.
    #[error("the client certificate has expired: connect with a new one")]
    CertificateExpired,
    /// The client certificate has been revoked, its CA removed, or an intermediate certificate revoked or expired, since
    /// the connection was opened.
    #[error("the server no longer trusts the client certificate: connect with another one")]
    CertificateNotTrusted,
    /// The token is a JWT that is not accepted.
    #[error("{0}")]
    JwtRejected(JwtRejection),
    /// The token is a JWT, and the keys that it has to be verified with cannot be read at the moment.
    #[error(
        "the server cannot verify the bearer token, a JWT, because it cannot read the keys of its issuer: retry the call"
    )]
    JwtKeysUnavailable,
    /// The call names no tenant, and the caller may act for several or for none, or has to name its tenant.
    #[error(
        "the call names no tenant, and the caller may act for several, or has to name its only one: name the tenant in \
         the metadata `x-longshore-tenant`"
    )]
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

impl Refusal {
    /// The reason, for the log. Callers get `to_string`, which may say less.
    pub fn for_log(&self) -> String {
        match self {
            Self::JwtRejected(rejection) => rejection.for_log(),
            other => other.to_string(),
        }
    }
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
