//! Where a store's S3 credentials come from. One file per provider; `cache` keeps what they return.

mod assume_role;
mod cache;
mod chain;
mod container;
mod document;
mod environment;
mod error;
mod file;
mod fixed;
mod grpc;
mod imds;
mod metadata_http;
mod origin;
mod process;
mod profile;
mod provider;
mod providers;
mod sdk;
mod settings;
mod small_file;
mod sso;
mod sts;
mod types;
mod web_identity;

pub use error::CredentialsError;
pub use origin::Origin;
pub(crate) use profile::{MAX_SHARED_FILE, ProfileValues};
pub use provider::{CredentialProvider, StoreFacts};
pub use providers::Providers;
pub use settings::{
    AssumeRoleSettings, ContainerSettings, ContainerToken, DefaultSettings, EnvironmentIdentity,
    GrpcSettings, ImdsSettings, ProfileSettings, ProviderSettings, WebIdentitySettings,
};
pub(crate) use settings::{check_imds_endpoint, check_sts_endpoint};
pub use types::Credentials;
pub(crate) use types::shown_time;

#[cfg(test)]
pub(crate) use cache::Source;
