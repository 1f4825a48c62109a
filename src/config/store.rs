//! A store: merges its own settings, its tenant's, the file's defaults and the environment.

use crate::{credentials::ProviderSettings, s3::BucketSettings, store::StoreSettings};

use super::{
    bucket::{Bucket, Config, Region},
    client::{Client, OverridableOptions, RetryConfig, Transfer},
    credentials::{Choice, Provider},
    field::{Field, Layer, sparse},
    from_env,
    path::quoted,
    problem::{Notes, PlaceId},
    url::{self, Location, UrlEndpoint},
    values::{Flag, Scalar, Text, scalars},
    variables::Variables,
};

sparse! {
    /// A store as the tenants file defines it.
    Store, "store" {
        url: Text,
        bucket: Bucket,
        prefix: Prefix,
        from_env: Flag,
        config: Config,
        client_options: Client,
        retry_config: RetryConfig,
        transfer: Transfer,
        credential_provider: Provider,
    }
}

scalars! {
    Prefix,
}

/// The prefix of every key in the bucket, validated, with its trailing slash.
#[derive(Debug, Clone)]
pub(super) struct Prefix(String);

impl Scalar for Prefix {
    fn expected() -> String {
        "a prefix for keys, such as prod/".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self(url::prefix(text)?))
    }
}

impl Store {
    /// The settings of the store at `place_id`. Records problems; if there are any, the result may be `None`.
    pub(super) fn settle(
        self,
        place_id: PlaceId,
        base: &OverridableOptions,
        variables: &Variables,
        notes: &Notes,
    ) -> Option<StoreSettings> {
        let from_env = self.from_env.get().is_some_and(|flag| flag.0);
        let path = notes.place(place_id).path().to_owned();
        let (env, env_client) =
            if from_env { from_env::settings(&path, variables, notes) } else { Default::default() };
        let own = self.config.get().cloned().unwrap_or_default();
        let sources = Sources { config: own.clone().over(&env), own, env, location: self.location(notes) };

        let layers = OverridableOptions::new(
            self.client_options.clone(),
            self.retry_config.clone(),
            self.transfer.clone(),
            notes,
        )
        .over(base);
        let client = layers.client_options.into_value().unwrap_or_default().over(&env_client);
        let client_options = client.settle();
        let retry_config = layers.retry_config.into_value().unwrap_or_default().settle(notes);
        let transfer = layers.transfer.into_value().unwrap_or_default();
        let says_equal_parts = transfer.equal_parts.is_given();
        let mut transfer = transfer.settle(&client, notes);
        let provider = Choice {
            provider: &self.credential_provider,
            config: &sources.own,
            skip_signature: sources.config.skip_signature.get().is_some_and(|flag| flag.0),
            from_env,
            place_id,
        }
        .settle(variables, notes);
        let bucket = self.bucket(place_id, &sources, notes);
        let endpoint = sources.endpoint(client_options.allow_http, notes);
        let encryption = sources.config.encryption(notes);
        let prefix = self.prefix(sources.location.as_ref(), notes);

        let provider = provider?;
        let bucket = BucketSettings {
            endpoint: endpoint?,
            encryption,
            skip_signature: provider == ProviderSettings::Anonymous,
            ..sources.addressing(bucket?)
        };
        if !says_equal_parts {
            transfer.equal_parts = bucket.endpoint.as_deref().is_some_and(url::is_r2);
        }
        if bucket.virtual_hosted_style
            && let Err(why) = url::check_bucket_in_host(&bucket.bucket)
        {
            let name = quoted(&bucket.bucket);
            notes.problem(
                place_id,
                format!(
                    "puts the bucket {name} into the host name, where it {why}: set \
                     config.virtual_hosted_style_request to false"
                ),
            );
            return None;
        }
        let store = StoreSettings {
            prefix: prefix?,
            client_options,
            retry_config,
            transfer,
            ..StoreSettings::new(bucket, provider)
        };
        Some(sources.writing(store))
    }

    /// The parsed `url`.
    fn location(&self, notes: &Notes) -> Option<Location> {
        let (url, place_id) = self.url.placed()?;
        let checked = Location::parse(&url.0).and_then(|location| {
            url::check_bucket(&location.bucket)
                .map_err(|why| format!("has an invalid bucket name: it {why}"))?;
            if let Some(region) = &location.region {
                Region::from_text(region).map_err(|why| format!("has an invalid region: {why}"))?;
            }
            Ok(location)
        });
        checked.map_err(|text| notes.problem(place_id, text)).ok()
    }

    fn bucket(&self, place_id: PlaceId, sources: &Sources, notes: &Notes) -> Option<String> {
        let Sources { own, env, location, .. } = sources;
        if let (Some((here, place_id)), Some(there)) = (self.bucket.placed(), own.bucket.get())
            && here != there
        {
            notes.problem(place_id, "differs from the bucket in `config`: remove one of the two");
        }
        let named = own.bucket.get().or(self.bucket.get()).map(|bucket| bucket.0.clone());
        let found = named
            .or_else(|| location.as_ref().map(|location| location.bucket.clone()))
            .or_else(|| env.bucket.get().map(|bucket| bucket.0.clone()));
        let tried =
            [self.bucket.is_given(), self.url.is_given(), own.bucket.is_given(), env.bucket.is_given()];
        // If `config` is invalid, the bucket may be in it.
        let unread = self.config.is_given() && self.config.get().is_none();
        if found.is_none() && !tried.contains(&true) && !unread {
            notes.problem(place_id, "has no bucket: set `url`, such as s3://BUCKET/PREFIX, or `bucket`");
        }
        found
    }

    fn prefix(&self, location: Option<&Location>, notes: &Notes) -> Option<String> {
        if self.prefix.is_given() {
            return self.prefix.get().map(|prefix| prefix.0.clone());
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

/// The sources of the settings in `config`.
struct Sources {
    /// The store's own `config`.
    own: Config,
    /// The variables, if `from_env` is true.
    env: Config,
    /// `own` merged over `env`.
    config: Config,
    /// The parsed `url`. It overrides `env`, and `own` overrides it.
    location: Option<Location>,
}

impl Sources {
    /// How requests address `bucket`. The caller adds the endpoint, encryption and `skip_signature`.
    fn addressing(&self, bucket: String) -> BucketSettings {
        let Self { own, env, config, location } = self;
        let hosted = flag(&own.virtual_hosted_style_request)
            .or_else(|| location.as_ref().and_then(|location| location.virtual_hosted_style))
            .or_else(|| flag(&env.virtual_hosted_style_request));
        BucketSettings {
            region: self.region(),
            virtual_hosted_style: hosted.unwrap_or(false),
            unsigned_payload: flag(&config.unsigned_payload),
            request_payer: config.request_payer.get().is_some_and(|payer| payer.0),
            checksum_algorithm: config.checksum_algorithm.get().map(|word| word.0),
            ..BucketSettings::new(bucket)
        }
    }

    /// `store` with the settings of `config` for writing, copying and deleting.
    fn writing(&self, store: StoreSettings) -> StoreSettings {
        let config = &self.config;
        let copying = config.copy_if_not_exists.get().map(|copying| copying.0.clone());
        StoreSettings {
            conditional_put: config.conditional_put.get().map_or(store.conditional_put, |word| word.0),
            copy_if_not_exists: copying.unwrap_or(store.copy_if_not_exists),
            write_id: flag(&config.write_id).unwrap_or(store.write_id),
            disable_tagging: flag(&config.disable_tagging).unwrap_or(store.disable_tagging),
            disable_bulk_delete: flag(&config.disable_bulk_delete).unwrap_or(store.disable_bulk_delete),
            ..store
        }
    }

    /// The region: from the store's `config`, the URL, the variables or a default region, in this order.
    fn region(&self) -> String {
        let text = |field: &Field<Region>| field.get().map(|region| region.0.clone());
        text(&self.own.region)
            .or_else(|| self.location.as_ref().and_then(|location| location.region.clone()))
            .or_else(|| text(&self.env.region))
            .or_else(|| text(&self.config.default_region))
            .unwrap_or_else(|| "us-east-1".to_owned())
    }

    /// The endpoint; `Some(None)` stands for Amazon S3. `None` if the given endpoint is invalid.
    #[allow(clippy::option_option, reason = "a missing endpoint and an invalid one are different cases")]
    fn endpoint(&self, allow_http: bool, notes: &Notes) -> Option<Option<String>> {
        let field = match self.location.as_ref().map(|location| &location.endpoint) {
            Some(UrlEndpoint::Amazon) if !self.own.endpoint.is_given() => return Some(None),
            Some(UrlEndpoint::Given(endpoint)) if !self.own.endpoint.is_given() => {
                return Some(Some(endpoint.clone()));
            }
            _ => &self.config.endpoint,
        };
        let Some((endpoint, place_id)) = field.placed() else {
            return (!field.is_given()).then_some(None);
        };
        if url::is_plain_http(&endpoint.0) && !allow_http {
            notes.problem(
                place_id,
                "uses plain HTTP: use an https:// endpoint, or set `allow_http: true` in `client_options`",
            );
            return None;
        }
        Some(Some(endpoint.0.clone()))
    }
}

fn flag(field: &Field<Flag>) -> Option<bool> {
    field.get().map(|flag| flag.0)
}
