//! A store: merges its own settings, its tenant's, the file's defaults and the environment.

mod config_section;
mod credentials;
mod from_env;
mod url;

use crate::{
    credentials::ProviderSettings,
    s3::{
        BucketLayer, BucketName, BucketSettings, RegionName, check_bucket, check_bucket_in_host,
        is_plain_http,
    },
    settings::{Field, Flag, Notes, Optional, PlaceId, Scalar, Section, Text, UNTRUSTED, quoted, settings},
    store::StoreSettings,
    transport::{CertificatesFile, ClientLayer, ClientOptions},
};

pub(super) use config_section::Config;
#[cfg(test)]
pub(super) use credentials::ProviderKind;
pub(super) use credentials::{Names, Provider, ProviderUrl, Time};

use super::overridable::{Overridable, OverridableLayer, check_transfer};
use config_section::ConfigSection;
use credentials::{Choice, complete};
use url::{Location, UrlEndpoint};

settings! {
    /// A store as the tenants file defines it.
    pub(super) struct Store(StoreSection) {
        /// The location of the bucket.
        url: Option<String> as Optional<Text> = None,
        /// The bucket; `config.bucket` sets it too.
        bucket: Option<String> as Optional<BucketName> = None => "from `url`",
        /// The prefix that Longshore puts before every key of the store. Callers' keys do not include it. `GetStore`
        /// and `ListStores` return it to callers with `bucket_admin`.
        prefix: Option<String> as Optional<Prefix> = None => "the path of `url`, otherwise none",
        /// Whether `AWS_*` variables supply the settings that the store does not set.
        from_env: bool as Flag = false,
        /// The bucket, how requests address it, and how objects are written.
        config: Config as Config = Config::default() => "its own defaults",
        /// Where credentials come from.
        credential_provider: Option<Provider> as Optional<Provider> = None => "from `config` and `from_env`",
    }
    include {
        /// Sections that tenants and `defaults` may set too.
        options: Overridable,
    }
}

/// The prefix that is put before every key of a store, with its trailing slash.
pub(crate) struct Prefix;

impl Scalar for Prefix {
    type Value = String;

    fn expected() -> String {
        "a prefix for keys, such as prod/".to_owned()
    }

    fn from_text(text: &str) -> Result<String, String> {
        Ok(url::prefix(text)?)
    }

    fn show(value: &String) -> Option<String> {
        Some(value.clone())
    }
}

/// Trusts the certificates in `ca_bundle` only, as boto3 does. `is_own`: whether the store's own `config` sets it, and not
/// a variable, which `client_options` replace.
fn use_ca_bundle(
    client: &mut ClientLayer,
    bundle: &Field<Optional<CertificatesFile>>,
    is_own: bool,
    notes: &Notes,
) {
    let Some((certificates, place_id)) = bundle.placed() else { return };
    if !client.root_certificates.is_given() {
        client.root_certificates = Field::derived(certificates.clone(), Some(place_id));
        if !client.disable_system_certificates.is_given() {
            client.disable_system_certificates = Field::derived(true, Some(place_id));
        }
    } else if is_own {
        notes.problem(
            place_id,
            "conflicts with `root_certificates` in `client_options`: remove one of the two",
        );
    }
}

fn check_certificates(client: &ClientLayer, notes: &Notes) {
    if let Some((true, place_id)) = client.disable_system_certificates.placed()
        && !client.root_certificates.is_given()
    {
        notes.problem(place_id, "leaves no certificates to trust: set `root_certificates` too");
    }
}

impl StoreSection {
    /// The settings of the store at `place_id`. Records problems; if there are any, the result may be `None`.
    pub(super) fn settle(
        self,
        place_id: PlaceId,
        names: Names<'_>,
        base: &OverridableLayer,
        notes: &Notes,
    ) -> Option<StoreSettings> {
        let from_env = self.from_env.value().unwrap_or(false);
        let path = notes.place(place_id).path().to_owned();
        let mut options = self.options.clone().level(notes).over(base);
        let mut env = ConfigSection::default();
        if from_env && !notes.trusts_author() {
            let place_id = self.from_env.place_id().unwrap_or(place_id);
            notes.problem(place_id, format!("uses the server's variables, {UNTRUSTED}: remove it"));
        } else if from_env {
            from_env::refuse_unsupported(&path, notes);
            env = from_env::section::<Config>(&path, "config", notes);
            let client = from_env::section::<ClientOptions>(&path, "client_options", notes);
            options.client_options = options.client_options.over(&Field::derived(client, None));
        }
        let location = self.location(notes);
        let own = self.own_config(notes);
        let mut config = Config::merged(self.url_config(location.as_ref()), &env);
        config = Config::merged(own.clone(), &config);
        let bucket = &mut config.store.bucket;
        if !bucket.region.is_given() {
            bucket.region = config.default_region.clone().retyped();
        }

        let mut client = options.client_options.get().cloned().unwrap_or_default();
        use_ca_bundle(&mut client, &config.ca_bundle, own.ca_bundle.is_given(), notes);
        let retries = options.retry_config.get().cloned().unwrap_or_default();
        let transfer = options.transfer.get().cloned().unwrap_or_default();
        retries.check(notes);
        check_transfer(&transfer, &client, notes);
        let provider = Choice {
            provider: &self.credential_provider,
            config: &own,
            skip_signature: config.store.bucket.skip_signature.value().unwrap_or(false),
            from_env,
            place_id,
            names,
        }
        .settle(notes);
        if let Some(provider) = &provider {
            let place_id = self.credential_provider.place_id().unwrap_or(place_id);
            complete(&mut config.store.bucket, &mut client, provider, place_id, notes);
        }
        check_certificates(&client, notes);
        options.client_options = Field::derived(client.clone(), None);
        self.check_bucket(place_id, &config, notes);
        config.store.bucket.check(notes);
        check_plain_http(&config.store.bucket, ClientOptions::resolved(&client).allow_http, notes);
        if config.store.bucket.bucket.get().is_some() {
            check_host(&BucketSettings::resolved(&config.store.bucket), place_id, notes);
        }
        let prefix = self.prefix(location.as_ref(), notes);

        let options = Overridable::resolved(&options);
        let mut store = StoreSettings {
            prefix: prefix?,
            client_options: options.client_options,
            retry_config: options.retry_config,
            transfer: options.transfer.settings,
            credential_provider: provider?,
            ..StoreSettings::resolved(&config.store)
        };
        store.client_options.refuse_local = !notes.trusts_author();
        store.bucket.skip_signature = store.credential_provider == ProviderSettings::Anonymous;
        if !transfer.settings.equal_parts.is_given() {
            store.transfer.equal_parts = store.bucket.endpoint.as_deref().is_some_and(url::is_r2);
        }
        Some(store)
    }

    /// `config`. If it names no bucket, the store's own `bucket` is added.
    fn own_config(&self, notes: &Notes) -> ConfigSection {
        let mut config = self.config.get().cloned().unwrap_or_default();
        let bucket = &mut config.store.bucket.bucket;
        if let (Some((beside, place_id)), Some(inside)) = (self.bucket.placed(), bucket.get())
            && beside != inside
        {
            notes.problem(place_id, "differs from the bucket in `config`: remove one of the two");
        }
        if !bucket.is_given() {
            *bucket = self.bucket.clone().retyped();
        }
        config
    }

    /// The parsed `url`.
    fn location(&self, notes: &Notes) -> Option<Location> {
        let (url, place_id) = self.url.placed()?;
        let checked = Location::parse(url).and_then(|location| {
            check_bucket(&location.bucket).map_err(|why| format!("has an invalid bucket name: it {why}"))?;
            if let Some(region) = &location.region {
                RegionName::from_text(region).map_err(|why| format!("has an invalid region: {why}"))?;
            }
            Ok(location)
        });
        checked.map_err(|text| notes.problem(place_id, text)).ok()
    }

    /// The keys of `config` that the URL implies.
    fn url_config(&self, location: Option<&Location>) -> ConfigSection {
        let mut config = ConfigSection::default();
        let Some(location) = location else { return config };
        let place_id = self.url.place_id();
        let bucket = &mut config.store.bucket;
        bucket.bucket = Field::derived(location.bucket.clone(), place_id);
        if let Some(region) = &location.region {
            bucket.region = Field::derived(region.clone(), place_id);
        }
        match &location.endpoint {
            UrlEndpoint::Unsaid => {}
            UrlEndpoint::Amazon => bucket.endpoint = Field::derived(None, place_id),
            UrlEndpoint::Given(url) => bucket.endpoint = Field::derived(Some(url.clone()), place_id),
        }
        if let Some(hosted) = location.virtual_hosted_style {
            bucket.virtual_hosted_style = Field::derived(hosted, place_id);
        }
        config
    }

    fn check_bucket(&self, place_id: PlaceId, config: &ConfigSection, notes: &Notes) {
        // If `url` or `config` is invalid, the bucket may be in it.
        let unread = self.url.is_given() || (self.config.is_given() && self.config.get().is_none());
        if !config.store.bucket.bucket.is_given() && !unread {
            notes.problem(place_id, "has no bucket: set `url`, such as s3://BUCKET/PREFIX, or `bucket`");
        }
    }

    fn prefix(&self, location: Option<&Location>, notes: &Notes) -> Option<String> {
        if self.prefix.is_given() {
            return self.prefix.get().cloned();
        }
        let prefix = url::prefix(location.map_or("", |location| &location.prefix));
        match (prefix, self.url.place_id()) {
            (Ok(prefix), _) => Some(prefix),
            (Err(why), Some(place_id)) => {
                notes.problem(place_id, format!("has a path that {why}"));
                None
            }
            (Err(_), None) => None,
        }
    }
}

/// Records a problem if the endpoint uses plain HTTP and that is not allowed.
fn check_plain_http(bucket: &BucketLayer, allow_http: bool, notes: &Notes) {
    if let Some((Some(endpoint), place_id)) = bucket.endpoint.placed()
        && is_plain_http(endpoint)
        && !allow_http
    {
        notes.problem(
            place_id,
            "uses plain HTTP: use an https:// endpoint, or set `allow_http: true` in `client_options`",
        );
    }
}

/// Records a problem if the bucket's name cannot be part of a host name, but has to be.
fn check_host(bucket: &BucketSettings, place_id: PlaceId, notes: &Notes) {
    if bucket.virtual_hosted_style
        && let Err(why) = check_bucket_in_host(&bucket.bucket)
    {
        let name = quoted(&bucket.bucket);
        notes.problem(
            place_id,
            format!(
                "puts the bucket {name} into the host name, where it {why}: set config.virtual_hosted_style_request to \
                 false"
            ),
        );
    }
}
