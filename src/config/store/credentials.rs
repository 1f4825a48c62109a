//! The credentials that a store signs with: from `credential_provider`, or implied by `config` and `from_env`.

use secrecy::ExposeSecret;

use crate::{
    credentials::{Credentials, ProviderSettings},
    settings::{
        Field, Keyword, Keywords, Notes, Optional, PlaceId, Secret, SecretValue, UNSUPPORTED, settings,
    },
};

use super::config_section::ConfigSection;

settings! {
    /// `credential_provider`.
    pub(in crate::config) struct Provider(ProviderLayer) {
        /// Where the credentials come from.
        kind = "type": Option<Kind> as Optional<Keyword<Kind>> = None => "required",
        /// The id of the access key, with `type: static`.
        access_key_id: Option<SecretValue> as Optional<Secret> = None,
        /// The secret of the access key, with `type: static`.
        secret_access_key: Option<SecretValue> as Optional<Secret> = None,
        /// The token of temporary credentials, with `type: static`.
        session_token ["token"]: Option<SecretValue> as Optional<Secret> = None,
    }
    reject {
        "expires_at" => UNSUPPORTED,
        "name" => UNSUPPORTED,
        "profile" => UNSUPPORTED,
        "config_file" => UNSUPPORTED,
        "shared_credentials_file" => UNSUPPORTED,
        "role_arn" => UNSUPPORTED,
        "role_session_name" => UNSUPPORTED,
        "external_id" => UNSUPPORTED,
        "duration" => UNSUPPORTED,
        "session_tags" => UNSUPPORTED,
        "source" => UNSUPPORTED,
        "sources" => UNSUPPORTED,
        "web_identity_token_file" => UNSUPPORTED,
        "token_file" => UNSUPPORTED,
        "endpoint" => UNSUPPORTED,
        "command" => UNSUPPORTED,
        "path" => UNSUPPORTED,
        "file" => UNSUPPORTED,
        "chain" => UNSUPPORTED,
    }
}

/// `credential_provider.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Static,
    Env,
    Anonymous,
}

impl Keywords for Kind {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("static", Self::Static), ("env", Self::Env), ("anonymous", Self::Anonymous)];
    const UNSUPPORTED: &'static [&'static str] = &[
        "profile",
        "assume_role",
        "web_identity",
        "container",
        "imds",
        "process",
        "grpc",
        "file",
        "chain",
        "default",
    ];
}

/// Variables of credential sources, and the unsupported feature that each belongs to.
const SOURCES: &[(&str, &str)] = &[
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "web identity tokens"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "container credentials"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "container credentials"),
    ("AWS_PROFILE", "profiles"),
];

/// The problem of a store that has credentials but sends requests unsigned.
const UNSIGNED: &str = "conflicts with `skip_signature: true`: unsigned requests use no credentials; remove one of the \
                        two";

/// The settings that determine a store's credentials.
pub(super) struct Choice<'a> {
    /// `credential_provider`.
    pub(super) provider: &'a Field<Optional<Provider>>,
    /// The store's own `config`, without variables.
    pub(super) config: &'a ConfigSection,
    /// `skip_signature`, from `config` or from a variable.
    pub(super) skip_signature: bool,
    /// `from_env`.
    pub(super) from_env: bool,
    /// The place of the store.
    pub(super) place_id: PlaceId,
}

/// The keys of one mapping. They form a unit: a missing key is not taken from another place.
struct Keys<'a> {
    id: &'a Field<Optional<Secret>>,
    secret: &'a Field<Optional<Secret>>,
    token: &'a Field<Optional<Secret>>,
}

impl Keys<'_> {
    fn place_id(&self) -> Option<PlaceId> {
        [self.id, self.secret, self.token].iter().filter_map(|field| field.place_id()).min()
    }

    fn settle(&self, notes: &Notes) -> Option<ProviderSettings> {
        if let Some(place_id) = self.place_id() {
            if !self.id.is_given() {
                notes.problem(
                    place_id,
                    "is set without access_key_id: set both access_key_id and secret_access_key, or neither",
                );
            }
            if !self.secret.is_given() {
                notes.problem(
                    place_id,
                    "is set without secret_access_key: set both access_key_id and secret_access_key, or neither",
                );
            }
        }
        let [id, secret, token] =
            [self.id, self.secret, self.token].map(|field| field.get().map(SecretValue::expose));
        Some(ProviderSettings::Static(Credentials::new(id?.expose_secret(), secret?.clone(), token.cloned())))
    }
}

impl Choice<'_> {
    /// The provider. Records problems for conflicting and missing settings.
    pub(super) fn settle(&self, notes: &Notes) -> Option<ProviderSettings> {
        let config = Keys {
            id: &self.config.access_key_id,
            secret: &self.config.secret_access_key,
            token: &self.config.session_token,
        };
        match self.provider.placed() {
            Some((provider, place_id)) => self.given(provider, place_id, &config, notes),
            None if self.provider.is_given() => None,
            None => self.implied(&config, notes),
        }
    }

    fn given(
        &self,
        provider: &ProviderLayer,
        place_id: PlaceId,
        config: &Keys<'_>,
        notes: &Notes,
    ) -> Option<ProviderSettings> {
        let own = Keys {
            id: &provider.access_key_id,
            secret: &provider.secret_access_key,
            token: &provider.session_token,
        };
        if let Some(keys) = config.place_id() {
            notes.problem(
                keys,
                "conflicts with `credential_provider`: set the keys there, or remove `credential_provider`",
            );
        }
        if !provider.kind.is_given() {
            notes.problem(place_id, "has no `type`: set it to static, env or anonymous");
        }
        let kind = *provider.kind.get()?;
        if self.skip_signature && kind != Kind::Anonymous {
            notes.problem(place_id, UNSIGNED);
        }
        if let Some(keys) = own.place_id().filter(|_| kind != Kind::Static) {
            notes.problem(keys, "is only valid with `type: static`: remove it, or change the type");
        }
        match kind {
            Kind::Static if own.place_id().is_none() => {
                notes.problem(
                    place_id,
                    "has `type: static` but no keys: set access_key_id and secret_access_key",
                );
                None
            }
            Kind::Static => own.settle(notes),
            Kind::Env => environment(place_id, notes),
            Kind::Anonymous => Some(ProviderSettings::Anonymous),
        }
    }

    fn implied(&self, config: &Keys<'_>, notes: &Notes) -> Option<ProviderSettings> {
        match config.place_id() {
            Some(keys) if self.skip_signature => {
                notes.problem(keys, UNSIGNED);
                None
            }
            Some(_) => config.settle(notes),
            None if self.skip_signature => Some(ProviderSettings::Anonymous),
            None if self.from_env => environment(self.place_id, notes),
            None => {
                notes.problem(
                    self.place_id,
                    "has no credentials: set access_key_id and secret_access_key in `config`, `from_env: true`, a \
                     `credential_provider`, or, for a public bucket, `skip_signature: true` in `config`",
                );
                None
            }
        }
    }
}

/// Credentials from the environment, which does not change while the process runs and is therefore checked once, here.
fn environment(place_id: PlaceId, notes: &Notes) -> Option<ProviderSettings> {
    let variables = notes.variables();
    if variables.skip_secrets() {
        return Some(ProviderSettings::Env);
    }
    let given = |name: &str| variables.text(name).is_ok_and(|text| text.is_some_and(|text| !text.is_empty()));
    if given("AWS_ACCESS_KEY_ID") && given("AWS_SECRET_ACCESS_KEY") {
        return Some(ProviderSettings::Env);
    }
    let source = SOURCES.iter().find(|(name, _)| given(name));
    let hint = source.map_or_else(String::new, |(name, source)| {
        format!(" ({name} is set, but {source} are not supported by this version)")
    });
    notes.problem(
        place_id,
        format!(
            "takes its credentials from the environment, which lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY: \
             set both{hint}"
        ),
    );
    None
}
