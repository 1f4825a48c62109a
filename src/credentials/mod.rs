//! Where a store's S3 credentials come from. One file per provider; `cache` keeps what they return.

mod cache;
mod environment;
mod error;
mod fixed;
mod provider;
mod settings;
mod types;

pub use error::CredentialsError;
pub use provider::CredentialProvider;
pub use settings::ProviderSettings;
pub use types::Credentials;

#[cfg(test)]
pub(crate) use cache::Source;
