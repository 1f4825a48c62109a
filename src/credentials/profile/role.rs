//! A profile with `role_arn`, and where it takes the credentials that the request for the role is signed with.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        AssumeRoleSettings, ContainerSettings, Credentials, CredentialsError, ProviderSettings,
        assume_role::AssumeRole, cache::Source, container::Container, environment::Environment, fixed::Fixed,
        imds::Imds,
    },
    Found, ProfilePart, View, failed, has_role,
    ini::Settings,
};
use crate::transport::Lookups;

/// What a source profile is used with, if it has keys or assumes no role.
const WITHOUT_ROLE: [ProfilePart; 3] = [ProfilePart::WebIdentity, ProfilePart::Sso, ProfilePart::Keys];

impl<'a> View<'a> {
    pub(super) async fn role(self, name: &'a str, merged: &Settings, visited: &[&'a str]) -> Found {
        let given = |key: &str| merged.get(key).filter(|value| !value.is_empty());
        let Some(role_arn) = given("role_arn") else {
            return Err(failed(name, "has an empty role_arn"));
        };
        if merged.contains_key("mfa_serial") {
            let why = "has mfa_serial, but no person can enter a code: use a role without MFA";
            return Err(failed(name, why));
        }
        let source = match (merged.get("source_profile"), merged.get("credential_source")) {
            (Some(_), Some(_)) => {
                let why = "has both source_profile and credential_source: remove one of the two";
                return Err(failed(name, why));
            }
            (None, None) => {
                return Err(failed(name, "has role_arn, but neither source_profile nor credential_source"));
            }
            (Some(source), None) => self.source_profile(name, source, visited).await?,
            (None, Some(source)) => self.credential_source(name, source).await?,
        };
        let settings = AssumeRoleSettings {
            role_arn: role_arn.clone(),
            session_name: session_name(merged),
            external_id: given("external_id").cloned(),
            duration: duration(name, merged)?,
            session_tags: Vec::new(),
            endpoint: None,
            region: None,
            source: ProviderSettings::Static(source.clone()),
        };
        AssumeRole { settings, source: Arc::new(Fixed(source)), sts: self.sts()? }.load().await
    }

    async fn source_profile(self, name: &str, source: &str, visited: &[&'a str]) -> Found {
        if !self.profiles.has(source) {
            return Err(failed(name, &format!("has the source_profile {source}, which does not exist")));
        }
        let merged = self.profiles.merged(source);
        let has_keys =
            ["aws_access_key_id", "aws_secret_access_key"].iter().any(|key| merged.contains_key(*key));
        if source == name && !has_keys {
            return Err(failed(name, "is its own source_profile, but has no keys"));
        }
        if source != name && visited.contains(&source) {
            return Err(failed(name, &format!("and {source} need each other as source_profile")));
        }
        // A profile with keys is used with them, even if it could assume a role.
        let assumes_role = has_role(&merged) && !has_keys;
        let parts = if assumes_role { &[ProfilePart::Role][..] } else { &WITHOUT_ROLE };
        let visited: Vec<&str> = visited.iter().copied().chain([name]).collect();
        // The environment's web identity is that of the first profile.
        let view = View { identity: None, profile: self.profile, profiles: self.profiles };
        let found = view.first(source, parts, &visited).await;
        found.unwrap_or_else(|| {
            Err(failed(name, &format!("has the source_profile {source}, which has no credentials")))
        })
    }

    async fn credential_source(self, name: &str, source: &str) -> Found {
        let settings = &self.profile.settings;
        let lacks = |what: &str| failed(name, &format!("has credential_source {source}, but {what}"));
        let found = match (source, &settings.container, &settings.imds) {
            ("Environment", _, _) => Environment::new(|name| std::env::var_os(name)).load().await,
            ("EcsContainer", Some(container), _) => from_container(container).await,
            ("EcsContainer", None, _) => Err(lacks("the environment has no container endpoint")),
            ("Ec2InstanceMetadata", _, Some(imds)) => Imds::new(imds.clone()).load().await,
            ("Ec2InstanceMetadata", _, None) => Err(lacks("AWS_EC2_METADATA_DISABLED is true")),
            _ => Err(failed(
                name,
                "has a credential_source other than Environment, EcsContainer and Ec2InstanceMetadata",
            )),
        };
        // A source that has nothing is a failure of the profile, and no reason to look elsewhere.
        found.map_err(|error| if error.is_absent() { lacks(&error.to_string()) } else { error })
    }
}

async fn from_container(settings: &ContainerSettings) -> Result<Credentials, CredentialsError> {
    Container::new(settings.clone(), Lookups::default()).load().await
}

pub(super) fn session_name(merged: &Settings) -> String {
    let given = merged.get("role_session_name").filter(|name| !name.is_empty());
    given.cloned().unwrap_or_else(|| "longshore".to_owned())
}

pub(super) fn duration(name: &str, merged: &Settings) -> Result<Option<Duration>, CredentialsError> {
    let Some(text) = merged.get("duration_seconds") else { return Ok(None) };
    let seconds = text.parse().map_err(|_| failed(name, "has a duration_seconds that is not a number"))?;
    Ok(Some(Duration::from_secs(seconds)))
}
