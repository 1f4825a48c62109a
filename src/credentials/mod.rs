//! Where a store's S3 credentials come from.

mod provider;
mod types;

pub use provider::{CredentialProvider, CredentialsError, ProviderSettings};
pub use types::Credentials;
