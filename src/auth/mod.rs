//! Authentication and authorization of callers.

mod admin_token;
mod alt_name;
mod authenticator;
mod certificate;
mod explain;
mod identities;
mod jwt;
mod methods;
mod principal;
mod refusal;
mod tokens;

pub use admin_token::AdminToken;
pub(crate) use alt_name::{AltName, AltNames};
pub use authenticator::Authenticator;
pub use certificate::ClientCertificate;
pub use explain::{Decision, Explanation, Question, explain, explain_unauthenticated};
pub use identities::{ApiToken, Identities, SubjectAltName};
pub use jwt::{
    CallerJwt, Jwks, JwksUrl, JwtRejection, JwtSettings, KeySet, KeySources, KeysError, KeysWanted, ServerJwt,
};
pub(crate) use jwt::{MAX_LEEWAY, check_pointer, check_url};
pub use methods::{METHODS, Method, Needs, Requirement, Target};
pub use principal::{Actor, Principal, Scope};
pub use refusal::{MissingGrant, Refusal};

use crate::settings::Keywords;

/// A kind of access that a caller can be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Head, Get, GetRanges, GetTags, and the source of Copy, Rename and CopyPrefix.
    Read,
    /// Put, Upload, PutTags, DeleteTags, Restore, all of UploadService except ListUploads, and the destination of Copy,
    /// Rename and CopyPrefix.
    Write,
    /// Delete, DeleteMany, DeletePrefix, and the source of Rename.
    Delete,
    /// List, Walk, ListVersions, WalkVersions, ListUploads, DeletePrefix, and the source of CopyPrefix.
    List,
    /// Sign, SignPost and SignParts, which also need the access of the requests that they sign.
    Sign,
    /// BucketService, and the bucket, prefix and endpoint in the answers of StoreService.
    BucketAdmin,
}

impl Access {
    /// The name in the `access` setting of the tenants file.
    pub fn as_str(self) -> &'static str {
        self.keyword()
    }
}

impl Keywords for Access {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("read", Self::Read),
        ("write", Self::Write),
        ("delete", Self::Delete),
        ("list", Self::List),
        ("sign", Self::Sign),
        ("bucket_admin", Self::BucketAdmin),
    ];
}

/// A caller of a tenant, as configured in the tenants file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// The caller's name, for logs.
    pub name: String,
    /// What identifies the caller.
    pub identities: Identities,
    /// The access that the caller is granted.
    pub access: Vec<Access>,
    /// The stores that the grant covers. `None` means all of the tenant's stores.
    pub stores: Option<Vec<String>>,
    /// The key prefixes that the grant covers. `None` means all keys.
    pub prefixes: Option<Vec<String>>,
}

/// Whether callers must authenticate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Every call must carry a bearer token, or come through a connection with a client certificate. The default.
    Required,
    /// Every caller may do everything: for a loopback address or a trusted network. Tokens and
    /// certificates are ignored; even an unknown token is not rejected.
    None,
}

impl Keywords for AuthMode {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("required", Self::Required), ("none", Self::None)];
}
