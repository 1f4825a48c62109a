//! The credential providers of a tenant's stores.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    CredentialProvider, ProviderSettings, StoreFacts,
    cache::{Cache, Owner, Source, WeakCache},
};
use crate::{
    tasks::Tasks,
    telemetry::Metrics,
    transport::{ClientOptions, Lookups},
};

/// The credential providers of one tenant's stores. Cheap to clone.
///
/// Stores with equal provider settings, client options, region and endpoint share one provider, with its cache: however
/// many stores and callers there are, its source gets one request at a time. Tenants share nothing, so that a tenant
/// whose server rejects all credentials does not affect others.
#[derive(Debug, Clone)]
pub struct Providers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tenant: Arc<str>,
    metrics: Metrics,
    tasks: Tasks,
    shared: Mutex<Vec<(Identity, WeakCache)>>,
    lookups: Lookups,
}

/// What must be equal if stores are to share a provider. A server may reject credentials that another one accepts, so
/// the S3 endpoint is part of it.
#[derive(Debug, PartialEq)]
struct Identity {
    settings: ProviderSettings,
    client_options: ClientOptions,
    region: String,
    endpoint: Option<String>,
}

impl Providers {
    /// No providers yet, for the tenant with this name. Requests for credentials run as background `tasks`.
    pub fn new(tenant: &str, metrics: Metrics, tasks: Tasks) -> Self {
        let (shared, lookups) = (Mutex::default(), Lookups::default());
        Self(Arc::new(Inner { tenant: tenant.into(), metrics, tasks, shared, lookups }))
    }

    /// The tenant's lookups of host names, for the HTTP clients of its stores.
    pub fn lookups(&self) -> &Lookups {
        &self.0.lookups
    }

    /// The provider of a store with these settings.
    pub fn provider(&self, settings: ProviderSettings, store: StoreFacts<'_>) -> CredentialProvider {
        if let ProviderSettings::Static(_) | ProviderSettings::Anonymous = settings {
            // Nothing is requested.
            return CredentialProvider::new(self.cache(settings, store));
        }
        let identity = Identity {
            settings: settings.clone(),
            client_options: store.client_options.clone(),
            region: store.region.to_owned(),
            endpoint: store.endpoint.map(str::to_owned),
        };
        // A panic while the lock is held leaves a valid list.
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|(_, cache)| cache.is_used());
        let found = shared.iter().find(|(known, _)| *known == identity);
        if let Some(cache) = found.and_then(|(_, cache)| cache.upgrade()) {
            return CredentialProvider::new(Some(cache));
        }
        let cache = self.cache(settings, store);
        if let Some(cache) = &cache {
            shared.push((identity, cache.downgrade()));
        }
        CredentialProvider::new(cache)
    }

    /// Frees what is kept about providers that no store uses any more.
    pub fn forget_unused(&self) {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.retain(|(_, cache)| cache.is_used());
        shared.shrink_to_fit();
    }

    fn cache(&self, settings: ProviderSettings, store: StoreFacts<'_>) -> Option<Cache> {
        let provider = settings.kind();
        Some(self.cache_of(store.source(settings)?, store.bucket, provider))
    }

    fn cache_of(&self, source: Arc<dyn Source>, bucket: &str, provider: &'static str) -> Cache {
        let Inner { tenant, metrics, tasks, .. } = &*self.0;
        let owner = Owner { tenant: Arc::clone(tenant), bucket: bucket.to_owned(), provider };
        Cache::new(source, owner, metrics.clone(), tasks.clone())
    }

    /// The provider of what `source` returns.
    #[cfg(test)]
    pub(crate) fn of_source(&self, source: Arc<dyn Source>) -> CredentialProvider {
        CredentialProvider::new(Some(self.cache_of(source, "bucket", "scripted")))
    }
}

/// The providers of a tenant without a name, with metrics and tasks of their own.
impl Default for Providers {
    fn default() -> Self {
        Self::new("", Metrics::default(), Tasks::default())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{credentials::Credentials, transport::HttpClient};

    fn provider(
        providers: &Providers,
        settings: &ProviderSettings,
        endpoint: Option<&str>,
    ) -> CredentialProvider {
        let client_options = ClientOptions::default();
        let http = HttpClient::new(&client_options, Lookups::default()).unwrap();
        let (region, bucket) = ("us-east-1", "bucket");
        let facts = StoreFacts { http: &http, client_options: &client_options, region, endpoint, bucket };
        providers.provider(settings.clone(), facts)
    }

    async fn key(provider: &CredentialProvider) -> String {
        provider.credentials(None).await.unwrap().unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn anonymous_has_no_credentials() {
        let provider = provider(&Providers::default(), &ProviderSettings::Anonymous, None);
        assert!(provider.credentials(None).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn static_credentials_are_not_requested_again_when_s3_rejects_them() {
        let settings = ProviderSettings::Static(Credentials::new("AKID", "secret", None));
        let provider = provider(&Providers::default(), &settings, None);
        let credentials = provider.credentials(None).await.unwrap().unwrap();
        assert_eq!(credentials.access_key_id(), "AKID");
        assert!(!provider.report_rejected(&credentials));
    }

    #[tokio::test]
    async fn stores_share_a_provider_if_their_settings_and_their_server_are_the_same() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |id: &str| {
            fs::write(file.path(), format!("aws_access_key_id = {id}\naws_secret_access_key = x")).unwrap();
        };
        let settings = ProviderSettings::File(file.path().into());
        let providers = Providers::default();
        write("FIRST");
        let first = provider(&providers, &settings, None);
        assert_eq!(key(&first).await, "FIRST");
        write("SECOND");
        let equal = provider(&providers, &settings, None);
        let elsewhere = provider(&providers, &settings, Some("http://127.0.0.1:9000"));
        let other_tenant = provider(&Providers::default(), &settings, None);
        assert_eq!(key(&equal).await, "FIRST", "the file is not read again");
        assert_eq!(key(&elsewhere).await, "SECOND");
        assert_eq!(key(&other_tenant).await, "SECOND");
        drop((first, equal));
        assert_eq!(key(&provider(&providers, &settings, None)).await, "SECOND", "nothing is kept");
    }
}
