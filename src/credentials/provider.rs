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
    /// The provider with these settings. It requests credentials in background tasks. `bucket` identifies the store in
    /// the log.
    pub fn new(settings: ProviderSettings, bucket: &str, tasks: &Tasks) -> Self {
        let source: Arc<dyn Source> = match settings {
            ProviderSettings::Static(credentials) => Arc::new(Fixed(credentials)),
            ProviderSettings::Env => Arc::new(Environment::new(|name| std::env::var_os(name))),
            ProviderSettings::Anonymous => return Self { cache: None },
        };
        Self::from_source(source, bucket, tasks)
    }

    /// The provider of what `source` returns.
    pub(crate) fn from_source(source: Arc<dyn Source>, bucket: &str, tasks: &Tasks) -> Self {
        Self { cache: Some(Cache::new(source, bucket.to_owned(), tasks.clone())) }
    }

    /// The credentials to sign with; `None` means that requests are unsigned.
    ///
    /// Waits for the source if there are no usable credentials, or for up to five seconds if they are about to expire
    /// or were rejected. If this future is dropped, the request to the source continues, because other calls may wait
    /// for it.
    pub async fn credentials(&self) -> Result<Option<Arc<Credentials>>, CredentialsError> {
        match &self.cache {
            Some(cache) => cache.credentials().await.map(Some),
            None => Ok(None),
        }
    }

    /// Reports that S3 rejected `credentials`, which this provider returned. Returns whether the source may have others,
    /// so that the request is worth repeating.
    pub fn report_rejected(&self, credentials: &Arc<Credentials>) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.report_rejected(credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn anonymous_has_no_credentials() {
        let provider = CredentialProvider::new(ProviderSettings::Anonymous, "bucket", &Tasks::default());
        assert!(provider.credentials().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn static_credentials_are_not_requested_again_when_s3_rejects_them() {
        let settings = ProviderSettings::Static(Credentials::new("AKID", "secret", None));
        let provider = CredentialProvider::new(settings, "bucket", &Tasks::default());
        let credentials = provider.credentials().await.unwrap().unwrap();
        assert_eq!(credentials.access_key_id(), "AKID");
        assert!(!provider.report_rejected(&credentials));
    }
}
