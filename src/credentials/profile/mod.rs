//! `type: profile`: the credentials of a profile in the AWS SDKs' shared files, as boto3 finds them.
//!
//! See <https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html>.

mod ini;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use secrecy::SecretString;

use self::ini::Settings;
use super::{
    AssumeRoleSettings, Credentials, CredentialsError, DefaultSettings, ProfileSettings, ProviderSettings,
    WebIdentitySettings, assume_role::AssumeRole, cache::Source, chain::Chain, container::Container,
    environment::Environment, fixed::Fixed, imds::Imds, process::Process, small_file, sts::Sts,
    web_identity::WebIdentity,
};

/// How long keys are used before the files are read again.
const CHECK_AFTER: Duration = Duration::from_secs(5);

/// Which of a profile's settings are used. boto3 looks in other places between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProfilePart {
    /// A role that is assumed with another profile or with credentials from the environment.
    Role,
    /// A role that is assumed with the token of a web identity.
    WebIdentity,
    /// Keys, or a command that prints them.
    Keys,
    /// The first of these that the profile has.
    All,
}

/// A profile of the shared files, which are read for each request for credentials.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) settings: ProfileSettings,
    pub(super) part: ProfilePart,
    /// How to reach STS, in the store's region.
    pub(super) sts: Sts,
}

/// The profiles in the two files.
#[derive(Debug)]
struct Profiles {
    /// Of the config file.
    config: BTreeMap<String, Settings>,
    /// Of the credentials file.
    credentials: BTreeMap<String, Settings>,
}

impl Source for Profile {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        async {
            let profiles = Profiles::read(&self.settings).await?;
            self.resolve(&profiles, &self.settings.name, self.part, Vec::new()).await
        }
        .boxed()
    }
}

impl Profile {
    /// The credentials of a profile. `visited` are the profiles that need them as their source.
    fn resolve<'a>(
        &'a self,
        profiles: &'a Profiles,
        name: &'a str,
        part: ProfilePart,
        visited: Vec<&'a str>,
    ) -> BoxFuture<'a, Result<Credentials, CredentialsError>> {
        async move {
            let merged = profiles.merged(name).ok_or_else(|| {
                let ProfileSettings { config_file, credentials_file, is_named, .. } = &self.settings;
                let places = format!("{} and {}", config_file.display(), credentials_file.display());
                let text = format!("the profile {name} is in neither of {places}");
                if *is_named { CredentialsError::new(text) } else { CredentialsError::absent(text) }
            })?;
            let wants = |wanted| part == wanted || part == ProfilePart::All;
            let has = |key: &str| merged.get(key).is_some_and(|value| !value.is_empty());
            if wants(ProfilePart::Role) && has("role_arn") && !has("web_identity_token_file") {
                return self.role(profiles, name, &merged, visited).await;
            }
            if wants(ProfilePart::WebIdentity) && has("role_arn") && has("web_identity_token_file") {
                return self.web_identity(name, &merged).await;
            }
            if wants(ProfilePart::Keys)
                && let Some(found) = self.keys(profiles, name).await
            {
                return found;
            }
            if has("sso_session") || has("sso_start_url") {
                return Err(failed(name, "uses SSO, which this version does not support"));
            }
            Err(CredentialsError::absent(failed(name, "has no credentials").to_string()))
        }
        .boxed()
    }

    /// Keys of the credentials file, the output of `credential_process`, or keys of the config file, in this order.
    async fn keys(&self, profiles: &Profiles, name: &str) -> Option<Result<Credentials, CredentialsError>> {
        if let Some(found) = profiles.credentials.get(name).and_then(|settings| keys_of(name, settings)) {
            return Some(found);
        }
        let merged = profiles.merged(name)?;
        if let Some(command) = merged.get("credential_process").filter(|command| !command.is_empty()) {
            return Some(match shlex::split(command).filter(|words| !words.is_empty()) {
                Some(words) => Process(words).load().await,
                None => Err(failed(name, "has a credential_process with a quote without an end")),
            });
        }
        profiles.config.get(name).and_then(|settings| keys_of(name, settings))
    }

    async fn role<'a>(
        &'a self,
        profiles: &'a Profiles,
        name: &'a str,
        merged: &Settings,
        mut visited: Vec<&'a str>,
    ) -> Result<Credentials, CredentialsError> {
        if merged.contains_key("mfa_serial") {
            let why = "has mfa_serial, but no person can enter a code: use a role without MFA";
            return Err(failed(name, why));
        }
        let given = |key: &str| merged.get(key).filter(|value| !value.is_empty());
        let source = match (given("source_profile"), given("credential_source")) {
            (Some(_), Some(_)) => {
                return Err(failed(
                    name,
                    "has both source_profile and credential_source: remove one of the two",
                ));
            }
            (None, None) => {
                return Err(failed(name, "has role_arn, but neither source_profile nor credential_source"));
            }
            (Some(source), None) => {
                let Some((source, _)) = profiles.known(source) else {
                    return Err(failed(
                        name,
                        &format!("has the source_profile {source}, which does not exist"),
                    ));
                };
                if source == name {
                    // A profile that assumes a role with its own keys.
                    let keys = self.keys(profiles, name).await;
                    keys.unwrap_or_else(|| Err(failed(name, "is its own source_profile, but has no keys")))?
                } else {
                    if visited.contains(&source) {
                        return Err(failed(name, &format!("and {source} need each other as source_profile")));
                    }
                    visited.push(name);
                    // A profile with keys is used with them, even if it could assume a role.
                    let merged = profiles.merged(source).unwrap_or_default();
                    let has_keys = ["aws_access_key_id", "aws_secret_access_key"]
                        .iter()
                        .any(|key| merged.contains_key(*key));
                    let part = if has_keys { ProfilePart::Keys } else { ProfilePart::All };
                    self.resolve(profiles, source, part, visited).await?
                }
            }
            (None, Some(source)) => self.credential_source(name, source).await?,
        };
        let settings = AssumeRoleSettings {
            role_arn: given("role_arn").cloned().unwrap_or_default(),
            session_name: session_name(merged),
            external_id: given("external_id").cloned(),
            duration: duration(name, merged)?,
            session_tags: Vec::new(),
            endpoint: None,
            region: None,
            source: ProviderSettings::Static(source.clone()),
        };
        AssumeRole { settings, source: Arc::new(Fixed(source)), sts: self.sts_of(merged) }.load().await
    }

    async fn credential_source(&self, name: &str, source: &str) -> Result<Credentials, CredentialsError> {
        match (source, &self.settings.container, &self.settings.imds) {
            ("Environment", _, _) => Environment::new(|name| std::env::var_os(name)).load().await,
            ("EcsContainer", Some(container), _) => Container(container.clone()).load().await,
            ("EcsContainer", None, _) => Err(failed(
                name,
                "has credential_source EcsContainer, but the environment has no container endpoint",
            )),
            ("Ec2InstanceMetadata", _, imds) => Imds::new(imds.clone()).load().await,
            _ => Err(failed(
                name,
                "has a credential_source other than Environment, EcsContainer and Ec2InstanceMetadata",
            )),
        }
    }

    async fn web_identity(&self, name: &str, merged: &Settings) -> Result<Credentials, CredentialsError> {
        let given = |key: &str| merged.get(key).cloned().unwrap_or_default();
        let settings = WebIdentitySettings {
            role_arn: given("role_arn"),
            token_file: given("web_identity_token_file").into(),
            session_name: session_name(merged),
            duration: duration(name, merged)?,
            endpoint: None,
            region: None,
        };
        WebIdentity { settings, sts: self.sts_of(merged) }.load().await
    }

    /// STS in the region of the profile, if it has one.
    fn sts_of(&self, merged: &Settings) -> Sts {
        let mut sts = self.sts.clone();
        if let Some(region) = merged.get("region").filter(|region| !region.is_empty()) {
            sts.region.clone_from(region);
        }
        sts
    }
}

impl Profiles {
    async fn read(settings: &ProfileSettings) -> Result<Self, CredentialsError> {
        let ProfileSettings { config_file, credentials_file, .. } = settings.clone();
        small_file::blocking(move || {
            let config = sections(&config_file)?.into_iter();
            let config =
                config.filter_map(|(section, settings)| Some((ini::profile_name(&section)?, settings)));
            Ok(Self { config: config.collect(), credentials: sections(&credentials_file)? })
        })
        .await
    }

    /// The name of a profile as it is stored here, and its settings.
    fn known(&self, name: &str) -> Option<(&str, &Settings)> {
        let found = self.config.get_key_value(name).or_else(|| self.credentials.get_key_value(name))?;
        Some((found.0, found.1))
    }

    /// The settings of both files; those of the credentials file win.
    fn merged(&self, name: &str) -> Option<Settings> {
        let (config, credentials) = (self.config.get(name), self.credentials.get(name));
        if config.is_none() && credentials.is_none() {
            return None;
        }
        let both = config.into_iter().flatten().chain(credentials.into_iter().flatten());
        Some(both.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

/// The sections of a file; none if it does not exist.
fn sections(path: &PathBuf) -> Result<BTreeMap<String, Settings>, CredentialsError> {
    // Like boto3: what is no file, such as /dev/null, has no profiles.
    if !path.is_file() || fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(BTreeMap::new());
    }
    let text = small_file::read_now(path)?;
    ini::parse(&text).map_err(|line| {
        CredentialsError::new(format!("{}, line {line}: expected [SECTION] or KEY = VALUE", path.display()))
    })
}

/// The keys among the settings of a profile; `None` if it has no key id.
fn keys_of(name: &str, settings: &Settings) -> Option<Result<Credentials, CredentialsError>> {
    let given = |key: &str| settings.get(key).filter(|value| !value.is_empty());
    let id = given("aws_access_key_id")?;
    let Some(secret) = given("aws_secret_access_key") else {
        return Some(Err(failed(name, "has aws_access_key_id, but no aws_secret_access_key")));
    };
    let token = given("aws_session_token").or_else(|| given("aws_security_token"));
    let keys = Credentials::new(id, secret.as_str(), token.cloned().map(SecretString::from));
    Some(Ok(keys.checked_after(CHECK_AFTER)))
}

fn session_name(merged: &Settings) -> String {
    let given = merged.get("role_session_name").filter(|name| !name.is_empty());
    given.cloned().unwrap_or_else(|| "longshore".to_owned())
}

fn duration(name: &str, merged: &Settings) -> Result<Option<Duration>, CredentialsError> {
    let Some(text) = merged.get("duration_seconds") else { return Ok(None) };
    let seconds = text.parse().map_err(|_| failed(name, "has a duration_seconds that is not a number"))?;
    Ok(Some(Duration::from_secs(seconds)))
}

fn failed(profile: &str, why: &str) -> CredentialsError {
    CredentialsError::new(format!("the profile {profile} {why}"))
}

/// The places in which boto3 looks for credentials, in its order.
pub(super) fn default_chain(settings: DefaultSettings, sts: &Sts) -> Chain {
    let DefaultSettings { profile, uses_environment, web_identity, boto2_files, uses_imds } = settings;
    let part =
        |part| -> Arc<dyn Source> { Arc::new(Profile { settings: profile.clone(), part, sts: sts.clone() }) };
    let mut sources: Vec<(&'static str, Arc<dyn Source>)> = Vec::new();
    if uses_environment {
        sources.push(("environment", Arc::new(Environment::new(|name| std::env::var_os(name)))));
    }
    sources.push(("role of the profile", part(ProfilePart::Role)));
    if let Some(settings) = web_identity {
        sources.push(("web identity", Arc::new(WebIdentity { settings, sts: sts.clone() })));
    }
    sources.push(("web identity of the profile", part(ProfilePart::WebIdentity)));
    sources.push(("keys of the profile", part(ProfilePart::Keys)));
    sources.push(("boto2", Arc::new(Boto2(boto2_files))));
    if let Some(container) = profile.container.clone() {
        sources.push(("container", Arc::new(Container(container))));
    }
    if uses_imds {
        sources.push(("instance metadata", Arc::new(Imds::new(profile.imds.clone()))));
    }
    Chain::new(sources, true)
}

/// The files of boto 2, of which only the section `[Credentials]` is used.
#[derive(Debug)]
struct Boto2(Vec<PathBuf>);

impl Source for Boto2 {
    fn load(&self) -> BoxFuture<'_, Result<Credentials, CredentialsError>> {
        let paths = self.0.clone();
        small_file::blocking(move || {
            for path in &paths {
                let sections = sections(path)?;
                if let Some(found) =
                    sections.get("Credentials").and_then(|settings| keys_of("Credentials", settings))
                {
                    return found;
                }
            }
            let shown: Vec<_> = paths.iter().map(|path| Path::display(path).to_string()).collect();
            Err(CredentialsError::absent(format!(
                "{} have no section Credentials with keys",
                shown.join(" and ")
            )))
        })
        .boxed()
    }
}
