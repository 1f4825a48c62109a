//! `type: profile`: the credentials of a profile in the AWS SDKs' shared files, as boto3 finds them.
//!
//! See <https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html>.

mod default;
mod files;
mod ini;
mod role;
mod sso;
mod words;

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};

use self::{files::Profiles, ini::Settings};
use super::{
    Credentials, CredentialsError, ProfileSettings, WebIdentitySettings, cache::Source, process::Process,
    settings::EnvironmentIdentity, sts::Sts, web_identity::WebIdentity,
};

pub(super) use default::Default;
pub(crate) use files::{MAX_SHARED_FILE, ProfileValues};

/// How long keys are used before the files are read again.
const CHECK_AFTER: Duration = Duration::from_secs(5);

/// A kind of credentials that a profile can have. boto3 looks in other places between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProfilePart {
    /// A role that is assumed with another profile or with credentials from the environment.
    Role,
    /// A role that is assumed with the token of a web identity.
    WebIdentity,
    /// A role of IAM Identity Center.
    Sso,
    /// Keys, or a command that prints them.
    Keys,
}

/// The order in which a profile's own credentials are looked for.
const ALL: [ProfilePart; 4] =
    [ProfilePart::Role, ProfilePart::WebIdentity, ProfilePart::Sso, ProfilePart::Keys];

/// A profile of the shared files, which are read for each request for credentials.
#[derive(Debug)]
pub(super) struct Profile {
    pub(super) settings: ProfileSettings,
    /// How to reach STS, in the store's region.
    pub(super) sts: Sts,
}

type Found = Result<Credentials, CredentialsError>;

impl Source for Profile {
    fn load(&self) -> BoxFuture<'_, Found> {
        async {
            let profiles = Profiles::read(&self.settings).await?;
            let name = &self.settings.name;
            if !profiles.has(name) {
                return Err(Profiles::missing(&self.settings));
            }
            let found = self.view(&profiles).first(name, &ALL, &[]).await;
            found.unwrap_or_else(|| Err(CredentialsError::absent(lacks(name, "credentials"))))
        }
        .boxed()
    }
}

impl Profile {
    fn view<'a>(&'a self, profiles: &'a Profiles) -> View<'a> {
        View { profile: self, profiles, identity: None }
    }
}

/// A profile with the contents of the files, for one request for credentials.
#[derive(Clone, Copy)]
struct View<'a> {
    profile: &'a Profile,
    profiles: &'a Profiles,
    /// The web identity of the environment. What it has wins over the profile's settings.
    identity: Option<&'a EnvironmentIdentity>,
}

impl<'a> View<'a> {
    /// The credentials of the first of these parts that the profile `name` has. `visited` are the profiles that need
    /// them as their source.
    fn first(
        self,
        name: &'a str,
        parts: &'a [ProfilePart],
        visited: &'a [&'a str],
    ) -> BoxFuture<'a, Option<Found>> {
        async move {
            for part in parts {
                if let Some(found) = self.part(name, *part, visited).await {
                    return Some(found);
                }
            }
            None
        }
        .boxed()
    }

    /// The credentials of one part; `None` if the profile does not have it.
    async fn part(self, name: &'a str, part: ProfilePart, visited: &'a [&'a str]) -> Option<Found> {
        let merged = self.profiles.merged(name);
        match part {
            ProfilePart::Role if has_role(&merged) => Some(self.role(name, &merged, visited).await),
            ProfilePart::Role => None,
            ProfilePart::WebIdentity => self.web_identity(name, &merged).await,
            ProfilePart::Sso => self.sso(name, &merged).await,
            ProfilePart::Keys => self.keys(name, &merged).await,
        }
    }

    /// Keys of the credentials file, the output of `credential_process`, or keys of the config file, in this order.
    async fn keys(self, name: &str, merged: &Settings) -> Option<Found> {
        if let Some(found) = self.profiles.shared_keys(name) {
            return Some(found);
        }
        if merged.contains_key("login_session") {
            let why =
                "has login_session, which this version does not support: use sso_session, a role or keys";
            return Some(Err(failed(name, why)));
        }
        if let Some(command) = merged.get("credential_process") {
            return Some(match words::split(command) {
                Some(words) if words.is_empty() => Err(failed(name, "has an empty credential_process")),
                Some(words) => Process(words).load().await,
                None => Err(failed(name, "has a credential_process with a quote without an end")),
            });
        }
        self.profiles.config_keys(name)
    }

    async fn web_identity(self, name: &str, merged: &Settings) -> Option<Found> {
        let none = EnvironmentIdentity::default();
        let environment = self.identity.unwrap_or(&none);
        let of_profile = |key: &str| merged.get(key).filter(|text| !text.is_empty());
        let token_file = of_profile("web_identity_token_file").map(Into::into);
        let token_file = environment.token_file.clone().or(token_file)?;
        let request = async {
            let role_arn = environment.role_arn.as_ref().or_else(|| of_profile("role_arn"));
            let role_arn = role_arn.ok_or_else(|| {
                let source = environment.token_file.as_ref();
                let place = source.map_or("web_identity_token_file", |_| "AWS_WEB_IDENTITY_TOKEN_FILE");
                failed(
                    name,
                    &format!("needs role_arn, or AWS_ROLE_ARN has to be set, because {place} is set"),
                )
            })?;
            let session_name = environment.session_name.clone();
            let settings = WebIdentitySettings {
                role_arn: role_arn.clone(),
                token_file: token_file.into(),
                session_name: session_name.unwrap_or_else(|| role::session_name(merged)),
                duration: role::duration(name, merged)?,
                endpoint: None,
                region: None,
            };
            WebIdentity { settings, sts: self.sts()? }.load().await
        };
        Some(request.await)
    }

    /// How to reach STS: at the URL of the settings, or else at that of the profile. The settings of the profiles that
    /// it needs do not count, as in botocore.
    fn sts(self) -> Result<Sts, CredentialsError> {
        let mut sts = self.profile.sts.clone();
        if sts.endpoint.is_none() {
            sts.endpoint = self.profiles.checked_endpoint(&self.profile.settings.name, "sts")?;
        }
        Ok(sts)
    }
}

/// Whether a profile assumes a role, other than with a web identity.
fn has_role(merged: &Settings) -> bool {
    merged.contains_key("role_arn") && !merged.contains_key("web_identity_token_file")
}

fn failed(profile: &str, why: &str) -> CredentialsError {
    CredentialsError::new(format!("the profile {profile} {why}"))
}

fn lacks(profile: &str, what: &str) -> String {
    format!("the profile {profile} has no {what}")
}
