//! The credentials of one store.

use std::sync::Arc;

use super::{
    Credentials, CredentialsError, ProviderSettings,
    assume_role::AssumeRole,
    cache::{Cache, Source},
    chain::Chain,
    container::Container,
    environment::Environment,
    file::CredentialsFile,
    fixed::Fixed,
    imds::Imds,
    process::Process,
    profile::{Profile, ProfilePart, default_chain},
    sts::Sts,
    web_identity::WebIdentity,
};
use crate::{tasks::Tasks, transport::HttpClient};

/// Provides the credentials that a store's requests are signed with. Cheap to clone; clones share the credentials.
#[derive(Debug, Clone)]
pub struct CredentialProvider {
    /// `None`: requests are unsigned.
    cache: Option<Cache>,
}

/// What a provider needs to know about its store.
#[derive(Debug, Clone, Copy)]
pub struct StoreFacts<'a> {
    /// The store's HTTP client, for requests to STS.
    pub http: &'a HttpClient,
    /// The store's region.
    pub region: &'a str,
    /// The store's bucket, for the log.
    pub bucket: &'a str,
}

impl StoreFacts<'_> {
    fn sts(&self, region: Option<&String>, endpoint: Option<&String>) -> Sts {
        let region = region.map_or(self.region, String::as_str).to_owned();
        Sts { http: self.http.clone(), region, endpoint: endpoint.cloned() }
    }

    /// The source with these settings; `None` if requests are unsigned.
    fn source(&self, settings: ProviderSettings) -> Option<Arc<dyn Source>> {
        Some(match settings {
            ProviderSettings::Static(credentials) => Arc::new(Fixed(credentials)),
            ProviderSettings::Env => Arc::new(Environment::new(|name| std::env::var_os(name))),
            ProviderSettings::Anonymous => return None,
            ProviderSettings::File(path) => Arc::new(CredentialsFile(path)),
            ProviderSettings::Process(command) => Arc::new(Process(command)),
            ProviderSettings::Container(settings) => Arc::new(Container(settings)),
            ProviderSettings::Imds(settings) => Arc::new(Imds::new(settings)),
            ProviderSettings::WebIdentity(settings) => {
                let sts = self.sts(settings.region.as_ref(), settings.endpoint.as_ref());
                Arc::new(WebIdentity { settings, sts })
            }
            ProviderSettings::AssumeRole(settings) => {
                let sts = self.sts(settings.region.as_ref(), settings.endpoint.as_ref());
                // The settings refuse a source without credentials.
                let source = self.source(settings.source.clone());
                let source = source.unwrap_or_else(|| Arc::new(Chain::new(Vec::new(), false)));
                Arc::new(AssumeRole { settings: *settings, source, sts })
            }
            ProviderSettings::Profile(settings) => {
                let sts = self.sts(None, settings.endpoint.as_ref());
                Arc::new(Profile { settings, part: ProfilePart::All, sts })
            }
            ProviderSettings::Default(settings) => {
                let sts = self.sts(None, settings.profile.endpoint.as_ref());
                Arc::new(default_chain(settings, &sts))
            }
            ProviderSettings::Chain(settings) => {
                let sources = settings.into_iter().filter_map(|settings| {
                    let kind = settings.kind();
                    Some((kind, self.source(settings)?))
                });
                Arc::new(Chain::new(sources.collect(), false))
            }
        })
    }
}

impl CredentialProvider {
    /// The provider with these settings. It requests credentials in background tasks.
    pub fn new(settings: ProviderSettings, store: StoreFacts<'_>, tasks: &Tasks) -> Self {
        match store.source(settings) {
            Some(source) => Self::from_source(source, store.bucket, tasks),
            None => Self { cache: None },
        }
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

    /// Reports that S3 rejected `credentials`, which this provider returned. Returns whether the source may have
    /// others, so that the request is worth repeating.
    pub fn report_rejected(&self, credentials: &Arc<Credentials>) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.report_rejected(credentials))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ClientOptions;

    fn provider(settings: ProviderSettings) -> CredentialProvider {
        let http = HttpClient::new(&ClientOptions::default()).unwrap();
        let store = StoreFacts { http: &http, region: "us-east-1", bucket: "bucket" };
        CredentialProvider::new(settings, store, &Tasks::default())
    }

    #[tokio::test]
    async fn anonymous_has_no_credentials() {
        let provider = provider(ProviderSettings::Anonymous);
        assert!(provider.credentials().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn static_credentials_are_not_requested_again_when_s3_rejects_them() {
        let provider = provider(ProviderSettings::Static(Credentials::new("AKID", "secret", None)));
        let credentials = provider.credentials().await.unwrap().unwrap();
        assert_eq!(credentials.access_key_id(), "AKID");
        assert!(!provider.report_rejected(&credentials));
    }
}
