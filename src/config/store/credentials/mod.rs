//! The credentials that a store signs with: from `credential_provider`, or implied by `config` and `from_env`.

mod config_keys;
mod environment;
mod forms;
mod grpc;
mod kind;
mod profile;
mod provider;

use secrecy::ExposeSecret;

use crate::{
    credentials::{Credentials, ProviderSettings},
    settings::{Field, Notes, Optional, PlaceId, Secret, SecretValue, UNTRUSTED},
};

pub(in crate::config) use forms::{ProviderUrl, Time};
pub(super) use forms::{RoleArn, SessionName};
#[cfg(test)]
pub(in crate::config) use kind::Kind as ProviderKind;
pub(super) use profile::complete;
pub(in crate::config) use provider::{Names, Provider};

use super::config_section::ConfigSection;
use kind::Kind;
use provider::ProviderLayer;

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
    /// The names of the tenant and the store.
    pub(super) names: Names<'a>,
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
        let provider = self.chosen(notes)?;
        // Whatever has led to this provider: the settings that name one have been checked, with a message of their own.
        if !notes.trusts_author() && provider.uses_server() {
            let text = format!("uses the server's own identity or files, {UNTRUSTED}: use other credentials");
            notes.problem(self.provider.place_id().unwrap_or(self.place_id), text);
            return None;
        }
        Some(provider)
    }

    fn chosen(&self, notes: &Notes) -> Option<ProviderSettings> {
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
        if let Some(keys) = config.place_id() {
            notes.problem(
                keys,
                "conflicts with `credential_provider`: set the keys there, or remove `credential_provider`",
            );
        }
        let kind = provider.kind.get().map_or("", |kind| kind.name());
        let conflict = format!("`credential_provider: {{type: {kind}}}`");
        let provider = &config_keys::filled(provider, self.config, &conflict, notes);
        if self.skip_signature && provider.kind.get().is_some_and(|kind| *kind != Kind::Anonymous) {
            notes.problem(place_id, UNSIGNED);
        }
        provider.settle(place_id, self.names, notes)
    }

    fn implied(&self, config: &Keys<'_>, notes: &Notes) -> Option<ProviderSettings> {
        let implied = config_keys::implied(self.config);
        let by_config = config.place_id().or(implied.map(|(_, place_id)| place_id));
        match by_config {
            Some(place_id) if self.skip_signature => {
                notes.problem(place_id, UNSIGNED);
                None
            }
            Some(_) if config.place_id().is_some() => {
                self.of_kind(Kind::Static, "`access_key_id`", notes);
                config.settle(notes)
            }
            None if self.skip_signature => {
                self.of_kind(Kind::Anonymous, "`skip_signature: true`", notes);
                Some(ProviderSettings::Anonymous)
            }
            _ => self.implied_by_type(implied, notes),
        }
    }

    /// The provider of the type that `config` implies, or else the environment.
    fn implied_by_type(&self, implied: Option<(Kind, PlaceId)>, notes: &Notes) -> Option<ProviderSettings> {
        let (kind, place_id) = match implied {
            Some((Kind::WebIdentity, place_id))
                if !config_keys::check_web_identity(self.config, self.from_env, place_id, notes) =>
            {
                return None;
            }
            Some((kind, place_id)) => (kind, place_id),
            // Reported at `from_env`.
            None if self.from_env && !notes.trusts_author() => return None,
            // Without the variables, the type is not known.
            None if self.from_env && notes.variables().skip_secrets() => return Some(ProviderSettings::Env),
            None if self.from_env => (environment::implied(self.place_id, notes)?, self.place_id),
            None => {
                notes.problem(
                    self.place_id,
                    "has no credentials: set access_key_id and secret_access_key in `config`, `from_env: true`, a \
                     `credential_provider`, or, for a public bucket, `skip_signature: true` in `config`",
                );
                return None;
            }
        };
        let by = notes.place(place_id).path().rsplit('.').next().unwrap_or_default().to_owned();
        let conflict = if implied.is_some() {
            format!("`{by}`")
        } else {
            format!("the credentials of type {}", kind.name())
        };
        self.of_kind(kind, &conflict, notes).settle(self.place_id, self.names, notes)
    }

    /// The settings of a type, with the keys of `config`. `conflict` is what selects this type.
    fn of_kind(&self, kind: Kind, conflict: &str, notes: &Notes) -> ProviderLayer {
        let provider =
            ProviderLayer { kind: Field::derived(kind, Some(self.place_id)), ..ProviderLayer::default() };
        config_keys::filled(&provider, self.config, conflict, notes)
    }
}
