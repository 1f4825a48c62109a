//! The credentials of one store.

use std::{sync::Arc, time::Duration};

use super::{
    Credentials, CredentialsError, Origin, ProviderSettings,
    assume_role::AssumeRole,
    cache::{Cache, Source},
    chain::Chain,
    container::Container,
    environment::Environment,
    file::CredentialsFile,
    fixed::Fixed,
    grpc::Grpc,
    imds::Imds,
    process::Process,
    profile::{Default, Profile},
    sts::Sts,
    web_identity::WebIdentity,
};
use crate::transport::{ClientOptions, HttpClient};

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
    /// The options that the client has.
    pub client_options: &'a ClientOptions,
    /// The store's region.
    pub region: &'a str,
    /// The URL of the store's S3 endpoint; `None` for that of Amazon S3.
    pub endpoint: Option<&'a str>,
    /// The store's bucket, for the log.
    pub bucket: &'a str,
}

impl StoreFacts<'_> {
    fn sts(&self, region: Option<&String>, endpoint: Option<&String>) -> Sts {
        let region = region.map_or(self.region, String::as_str).to_owned();
        Sts { http: self.http.clone(), region, endpoint: endpoint.cloned() }
    }

    /// The source with these settings; `None` if requests are unsigned.
    pub(super) fn source(&self, settings: ProviderSettings) -> Option<Arc<dyn Source>> {
        Some(match settings {
            ProviderSettings::Static(credentials) => Arc::new(Fixed(credentials)),
            ProviderSettings::Env => Arc::new(Environment::new(|name| std::env::var_os(name))),
            ProviderSettings::Anonymous => return None,
            ProviderSettings::File(path) => Arc::new(CredentialsFile(path)),
            ProviderSettings::Process(command) => Arc::new(Process(command)),
            ProviderSettings::Container(settings) => {
                Arc::new(Container::new(settings, self.http.lookups().clone()))
            }
            ProviderSettings::Imds(settings) => Arc::new(Imds::new(settings)),
            ProviderSettings::Grpc(settings) => {
                Arc::new(Grpc { settings, lookups: self.http.lookups().clone() })
            }
            ProviderSettings::WebIdentity(settings) => {
                let sts = self.sts(settings.region.as_ref(), settings.endpoint.as_ref());
                Arc::new(WebIdentity { settings, sts })
            }
            ProviderSettings::AssumeRole(settings) => {
                let sts = self.sts(settings.region.as_ref(), settings.endpoint.as_ref());
                // The settings refuse a source without credentials.
                let source = self.source(settings.source.clone());
                let source = source.unwrap_or_else(|| Arc::new(Chain::new(Vec::new())));
                Arc::new(AssumeRole { settings: *settings, source, sts })
            }
            ProviderSettings::Profile(settings) => {
                let sts = self.sts(None, settings.endpoint.as_ref());
                Arc::new(Profile { settings, sts })
            }
            ProviderSettings::Default(settings) => {
                let sts = self.sts(None, settings.profile.endpoint.as_ref());
                Arc::new(Default::new(settings, sts))
            }
            ProviderSettings::Chain(settings) => {
                let sources = settings.into_iter().filter_map(|settings| {
                    let kind = settings.kind();
                    Some((kind, self.source(settings)?))
                });
                Arc::new(Chain::new(sources.collect()))
            }
        })
    }
}

impl CredentialProvider {
    pub(super) fn new(cache: Option<Cache>) -> Self {
        Self { cache }
    }

    /// Where the credentials come from that are in use.
    pub fn origin(&self) -> Origin {
        let unsigned = || Origin { provider: "anonymous", took: None, expires_at: None };
        self.cache.as_ref().map_or_else(unsigned, Cache::origin)
    }

    /// The credentials to sign with; `None` means that requests are unsigned.
    ///
    /// Waits for the source if there are no usable credentials, or for up to five seconds if they are about to expire
    /// or were rejected, but no longer than `within`. If this future is dropped, the request to the source continues,
    /// because other calls may wait for it.
    pub async fn credentials(
        &self,
        within: Option<Duration>,
    ) -> Result<Option<Arc<Credentials>>, CredentialsError> {
        match &self.cache {
            Some(cache) => cache.credentials(within).await.map(Some),
            None => Ok(None),
        }
    }

    /// Reports that S3 accepted `credentials`, which this provider returned. Cheap unless it has rejected them before.
    pub fn report_accepted(&self, credentials: &Arc<Credentials>) {
        if let Some(cache) = &self.cache {
            cache.report_accepted(credentials);
        }
    }

    /// Reports that S3 rejected `credentials`, which this provider returned. Returns whether the source may have
    /// others, so that the request is worth repeating.
    pub fn report_rejected(&self, credentials: &Arc<Credentials>) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.report_rejected(credentials))
    }
}
