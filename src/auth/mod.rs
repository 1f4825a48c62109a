//! Who is calling, and what they may do.

mod authenticator;
mod principal;
mod refusal;

pub use authenticator::Authenticator;
pub use principal::{Actor, Principal, Scope};
pub use refusal::{Missing, Refusal};

/// One thing that a caller may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Head, Get, GetRanges, GetTags, and the source of Copy and Rename.
    Read,
    /// Put, Upload, PutTags, DeleteTags, and the destination of Copy and Rename.
    Write,
    /// Delete, DeleteMany, and the source of Rename.
    Delete,
    /// List and Walk.
    List,
    /// Sign.
    Sign,
    /// BucketService.
    BucketAdmin,
}

impl Access {
    /// Its name, as `access` in the tenants file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Sign => "sign",
            Self::BucketAdmin => "bucket_admin",
        }
    }
}

/// A caller of one tenant, as the tenants file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// A name for logs.
    pub name: String,
    /// The SHA-256 of its API token.
    pub token_sha256: [u8; 32],
    /// What it may do.
    pub access: Vec<Access>,
    /// In which stores; `None` is all of the tenant's.
    pub stores: Option<Vec<String>>,
    /// Below which key prefixes; `None` is everywhere.
    pub prefixes: Option<Vec<String>>,
}

/// Whether callers must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// Every call carries a bearer token. The default.
    Required,
    /// Anyone may do anything: for a loopback address or a trusted network. A token that is sent all the same
    /// is not looked at, not even to refuse an unknown one.
    None,
}
