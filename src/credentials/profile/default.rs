//! `type: default`: the places in which boto3 looks for credentials, in its order.

use std::path::{Path, PathBuf};

use futures::{FutureExt, future::BoxFuture};

use super::{
    super::{
        CredentialsError, DefaultSettings, cache::Source, chain::Search, container::Container,
        environment::Environment, imds::Imds, settings::EnvironmentIdentity, small_file, sts::Sts,
    },
    Found, Profile, ProfilePart, View,
    files::{Profiles, keys_of, sections},
    lacks,
};
use crate::transport::Lookups;

/// One place.
#[derive(Debug)]
enum Place {
    /// A part of the profile, and what errors call it.
    Profile(ProfilePart, &'static str),
    /// A place other than the profile.
    Other(Box<dyn Source>),
}

/// The places, each with the name that errors use.
#[derive(Debug)]
pub(in crate::credentials) struct Default {
    profile: Profile,
    identity: EnvironmentIdentity,
    places: Vec<(&'static str, Place)>,
    search: Search,
}

impl Default {
    pub(in crate::credentials) fn new(settings: DefaultSettings, sts: Sts) -> Self {
        let DefaultSettings { profile, uses_environment, web_identity, boto2_files } = settings;
        let mut places = Vec::new();
        let other = |source: Box<dyn Source>| Place::Other(source);
        if uses_environment {
            let environment = Environment::new(|name| std::env::var_os(name));
            places.push(("environment", other(Box::new(environment))));
        }
        for (name, part, what) in [
            ("role of the profile", ProfilePart::Role, "role_arn"),
            ("web identity", ProfilePart::WebIdentity, "web_identity_token_file"),
            ("SSO", ProfilePart::Sso, "sso_account_id"),
            ("keys of the profile", ProfilePart::Keys, "keys and no credential_process"),
        ] {
            places.push((name, Place::Profile(part, what)));
        }
        places.push(("boto2", other(Box::new(Boto2(boto2_files)))));
        if let Some(container) = profile.container.clone() {
            places.push(("container", other(Box::new(Container::new(container, Lookups::default())))));
        }
        if let Some(imds) = profile.imds.clone() {
            places.push(("instance metadata", other(Box::new(Imds::new(imds)))));
        }
        Self {
            profile: Profile { settings: profile, sts },
            identity: web_identity,
            places,
            search: Search::new(true),
        }
    }

    async fn first(&self) -> Found {
        // A place in use that is not in the files does not depend on them.
        if let Some((name, source)) = self.in_use() {
            match source.load().await {
                Err(error) if error.is_absent() => self.search.begin_again(),
                found => return found.map(|credentials| credentials.found_by(name)),
            }
        }
        // Like botocore, this fails if the files are invalid or the named profile is missing, even if the environment
        // has keys.
        let profiles = Profiles::read(&self.profile.settings).await?;
        let view = View { identity: Some(&self.identity), ..self.profile.view(&profiles) };
        let names: Vec<_> = self.places.iter().map(|(name, _)| *name).collect();
        self.search.first(&names, |index| self.at(index, view)).await
    }

    /// The place in use, unless it is the profile.
    fn in_use(&self) -> Option<(&'static str, &dyn Source)> {
        match self.places.get(self.search.chosen()?) {
            Some((name, Place::Other(source))) => Some((name, source.as_ref())),
            _ => None,
        }
    }

    fn at<'a>(&'a self, index: usize, view: View<'a>) -> BoxFuture<'a, Found> {
        async move {
            match self.places.get(index).map(|(_, place)| place) {
                Some(Place::Other(source)) => source.load().await,
                Some(Place::Profile(part, what)) => {
                    let name = &self.profile.settings.name;
                    let found = view.part(name, *part, &[]).await;
                    found.unwrap_or_else(|| Err(self.absent(view.profiles, what)))
                }
                None => Err(CredentialsError::absent("there is no such place")),
            }
        }
        .boxed()
    }

    fn absent(&self, profiles: &Profiles, what: &str) -> CredentialsError {
        let settings = &self.profile.settings;
        if profiles.has(&settings.name) {
            return CredentialsError::absent(lacks(&settings.name, what));
        }
        Profiles::missing(settings)
    }
}

impl Source for Default {
    fn load(&self) -> BoxFuture<'_, Found> {
        self.first().boxed()
    }
}

/// The files of boto 2, of which only the section `[Credentials]` is used.
#[derive(Debug)]
struct Boto2(Vec<PathBuf>);

impl Source for Boto2 {
    fn load(&self) -> BoxFuture<'_, Found> {
        let paths = self.0.clone();
        small_file::blocking(move || {
            for path in &paths {
                let sections = sections(path)?;
                let section = sections.iter().find(|(name, _)| name == "Credentials");
                let owner = format!("the section Credentials of {}", path.display());
                if let Some(found) = section.and_then(|(_, settings)| keys_of(&owner, settings)) {
                    return found;
                }
            }
            let shown: Vec<_> = paths.iter().map(|path| Path::display(path).to_string()).collect();
            let text = format!("{} have no section Credentials with keys", shown.join(" and "));
            Err(CredentialsError::absent(text))
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        credentials::ProfileSettings,
        transport::{ClientOptions, HttpClient, Lookups},
    };

    fn keys(section: &str, id: &str) -> String {
        format!("[{section}]\naws_access_key_id = {id}\naws_secret_access_key = s\n")
    }

    #[tokio::test]
    async fn invalid_files_of_profiles_do_not_affect_another_place_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let [config, credentials, boto] =
            ["config", "credentials", "boto"].map(|name| folder.path().join(name));
        let sts = Sts {
            http: HttpClient::new(&ClientOptions::default(), Lookups::default()).unwrap(),
            region: "us-east-1".to_owned(),
            endpoint: None,
        };
        let profile = ProfileSettings {
            name: "default".to_owned(),
            is_named: false,
            config_file: config.clone(),
            credentials_file: credentials,
            endpoint: None,
            container: None,
            imds: None,
            sso_cache: folder.path().to_owned(),
            sso_endpoint: None,
            sso_oidc_endpoint: None,
        };
        let settings = DefaultSettings {
            profile,
            uses_environment: false,
            web_identity: EnvironmentIdentity::default(),
            boto2_files: vec![boto.clone()],
        };
        let source = Default::new(settings, sts);
        let key = async || source.load().await.map(|found| found.access_key_id().to_owned());
        fs::write(&boto, keys("Credentials", "BOTO")).unwrap();
        assert_eq!(key().await.unwrap(), "BOTO");
        assert_eq!(source.load().await.unwrap().provider(), Some("boto2"), "the second time, too");
        fs::write(&config, "garbage").unwrap();
        assert_eq!(key().await.unwrap(), "BOTO");
        fs::remove_file(&boto).unwrap();
        assert!(key().await.unwrap_err().to_string().contains("config, line 1"));
        fs::write(&config, keys("default", "DEFAULT")).unwrap();
        assert_eq!(key().await.unwrap(), "DEFAULT");
    }
}
