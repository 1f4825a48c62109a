//! Which credentials a store signs with: `credential_provider`, or what `config` and `from_env` imply.

use crate::credentials::{Credentials, ProviderSettings};

use secrecy::ExposeSecret;

use super::{
    bucket::Config,
    field::{Field, sparse},
    problem::{Notes, Spot},
    secret::{Secret, reveal},
    unsupported,
    variables::Variables,
    words::{Word, Words},
};

sparse! {
    /// `credential_provider`.
    Provider, "credential_provider" {
        r#type: Word<Kind>,
        access_key_id: Secret,
        secret_access_key: Secret,
        #[serde(alias = "token")]
        session_token: Secret,
    }
}

/// `credential_provider.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Static,
    Env,
    Anonymous,
}

impl Words for Kind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("static", Self::Static), ("env", Self::Env), ("anonymous", Self::Anonymous)];
    const LATER: &'static [&'static str] = &[
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

/// What decides on the credentials of a store.
pub(super) struct Choice<'a> {
    /// `credential_provider`.
    pub(super) provider: &'a Field<Provider>,
    /// The store's own `config`, without variables.
    pub(super) config: &'a Config,
    /// `skip_signature`, from wherever it is given.
    pub(super) skip_signature: bool,
    /// `from_env`.
    pub(super) from_env: bool,
    /// The store.
    pub(super) spot: Spot,
}

/// The keys of one mapping. They belong together: one that is missing is not taken from elsewhere.
struct Keys<'a> {
    id: &'a Field<Secret>,
    secret: &'a Field<Secret>,
    token: &'a Field<Secret>,
}

impl Keys<'_> {
    fn spot(&self) -> Option<Spot> {
        [self.id, self.secret, self.token].iter().filter_map(|field| field.spot()).min()
    }

    fn reveal(&self, variables: &Variables, notes: &Notes) -> Option<ProviderSettings> {
        if let Some(spot) = self.spot() {
            if !self.id.is_given() {
                notes.problem(
                    spot,
                    "has no access_key_id beside it: give both halves of the pair, or neither",
                );
            }
            if !self.secret.is_given() {
                notes.problem(
                    spot,
                    "has no secret_access_key beside it: give both halves of the pair, or neither",
                );
            }
        }
        let [id, secret, token] =
            [self.id, self.secret, self.token].map(|field| reveal(field, variables, notes));
        Some(ProviderSettings::Static(Credentials::new(id?.expose_secret(), secret?, token)))
    }
}

impl Choice<'_> {
    /// The provider; notes contradictions and what is missing.
    pub(super) fn settle(&self, variables: &Variables, notes: &Notes) -> Option<ProviderSettings> {
        let config = Keys {
            id: &self.config.access_key_id,
            secret: &self.config.secret_access_key,
            token: &self.config.session_token,
        };
        match self.provider.placed() {
            Some((provider, spot)) => self.given(provider, spot, &config, variables, notes),
            None if self.provider.is_given() => None,
            None => self.implied(&config, variables, notes),
        }
    }

    fn given(
        &self,
        provider: &Provider,
        spot: Spot,
        config: &Keys<'_>,
        variables: &Variables,
        notes: &Notes,
    ) -> Option<ProviderSettings> {
        let own = Keys {
            id: &provider.access_key_id,
            secret: &provider.secret_access_key,
            token: &provider.session_token,
        };
        if let Some(keys) = config.spot() {
            notes.problem(keys, "contradicts credential_provider: give the keys there, or leave it out");
        }
        if !provider.r#type.is_given() {
            notes.problem(spot, "has no `type`: give static, env or anonymous");
        }
        let Word(kind) = *provider.r#type.get()?;
        if self.skip_signature && kind != Kind::Anonymous {
            notes.problem(spot, "contradicts skip_signature: unsigned requests need no credentials");
        }
        if let Some(keys) = own.spot().filter(|_| kind != Kind::Static) {
            notes.problem(keys, "belongs to the type static");
        }
        match kind {
            Kind::Static if own.spot().is_none() => {
                notes.problem(spot, "needs access_key_id and secret_access_key");
                None
            }
            Kind::Static => own.reveal(variables, notes),
            Kind::Env => environment(spot, variables, notes),
            Kind::Anonymous => Some(ProviderSettings::Anonymous),
        }
    }

    fn implied(&self, config: &Keys<'_>, variables: &Variables, notes: &Notes) -> Option<ProviderSettings> {
        match config.spot() {
            Some(keys) if self.skip_signature => {
                notes.problem(keys, "contradicts skip_signature: unsigned requests need no credentials");
                None
            }
            Some(_) => config.reveal(variables, notes),
            None if self.skip_signature => Some(ProviderSettings::Anonymous),
            None if self.from_env => environment(self.spot, variables, notes),
            None => {
                notes.problem(
                    self.spot,
                    "has no credentials: give access_key_id and secret_access_key under `config`, `from_env: true`, \
                     a `credential_provider`, or `skip_signature: true` under `config` for a public bucket",
                );
                None
            }
        }
    }
}

/// The environment's credentials, which do not change while the process runs: so they are looked at now.
fn environment(spot: Spot, variables: &Variables, notes: &Notes) -> Option<ProviderSettings> {
    let given = |name: &str| variables.text(name).is_ok_and(|text| text.is_some_and(|text| !text.is_empty()));
    if given("AWS_ACCESS_KEY_ID") && given("AWS_SECRET_ACCESS_KEY") {
        return Some(ProviderSettings::Env);
    }
    let source = unsupported::SOURCES.iter().find(|(name, _)| given(name));
    let hint = source.map_or_else(String::new, |(name, source)| {
        format!(" ({name} is set, but {source} are not supported by this version)")
    });
    notes.problem(
        spot,
        format!(
            "takes its credentials from the environment, which has no AWS_ACCESS_KEY_ID with \
             AWS_SECRET_ACCESS_KEY: set both{hint}"
        ),
    );
    None
}
