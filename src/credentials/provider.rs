//! The credentials of one store.

use std::sync::Arc;

use super::{
    Credentials, CredentialsError, ProviderSettings,
    cache::{Cache, Source},
    environment::Environment,
    fixed::Fixed,
};
use crate::tasks::Tasks;

/// Provides the credentials that a store's requests are signed with. Cheap to clone; clones share the credentials.
#[derive(Debug, Clone)]
pub struct CredentialProvider {
    /// `None`: requests are unsigned.
    cache: Option<Cache>,
}

impl CredentialProvider {
    /// The provider with these settings. It requests credentials in background tasks.
    pub fn new(settings: ProviderSettings, tasks: &Tasks) -> Self {
        let source: Arc<dyn Source> = match settings {
            ProviderSettings::Static(credentials) => Arc::new(Fixed(credentials)),
            ProviderSettings::Env => Arc::new(Environment::new(|name| std::env::var_os(name))),
            ProviderSettings::Anonymous => return Self { cache: None },
        };
        Self { cache: Some(Cache::new(source, tasks.clone())) }
    }

    /// The credentials to sign with; `None` means that requests are unsigned.
    ///
    /// Waits for the source if there are no credentials yet, or if they are about to expire. A caller that leaves does
    /// not interrupt the request to the source, because others may wait for it.
    pub async fn credentials(&self) -> Result<Option<Arc<Credentials>>, CredentialsError> {
        match &self.cache {
            Some(cache) => cache.credentials().await.map(Some),
            None => Ok(None),
        }
    }

    /// Reports that S3 rejected `credentials` as expired. Returns whether the source may have others, so that the request
    /// is worth repeating.
    pub fn rejected(&self, credentials: &Credentials) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.rejected(credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn anonymous_has_no_credentials() {
        let provider = CredentialProvider::new(ProviderSettings::Anonymous, &Tasks::default());
        assert!(provider.credentials().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn static_credentials_are_not_requested_again_when_s3_rejects_them() {
        let credentials = Credentials::new("AKID", "secret", None);
        let provider =
            CredentialProvider::new(ProviderSettings::Static(credentials.clone()), &Tasks::default());
        assert_eq!(*provider.credentials().await.unwrap().unwrap(), credentials);
        assert!(!provider.rejected(&credentials));
    }
}
