//! The profiles in the AWS SDKs' shared files.

use std::{collections::BTreeMap, fs, path::PathBuf};

use secrecy::SecretString;

use super::{
    super::{Credentials, CredentialsError, ProfileSettings, check_sts_endpoint, small_file},
    CHECK_AFTER, failed,
    ini::{self, SectionKind, Sections, Settings},
};

/// The maximum size of a shared file, in bytes. Some have thousands of profiles, which a program generates.
pub(crate) const MAX_SHARED_FILE: usize = 4 * 1024 * 1024;

/// The contents of the two files. Does not implement `Debug`, because they contain secrets.
pub(super) struct Profiles {
    /// The profiles of the config file.
    config: BTreeMap<String, Settings>,
    /// The profiles of the credentials file.
    credentials: BTreeMap<String, Settings>,
    sso_sessions: BTreeMap<String, Settings>,
    services: BTreeMap<String, Settings>,
}

impl Profiles {
    pub(super) async fn read(settings: &ProfileSettings) -> Result<Self, CredentialsError> {
        let settings = settings.clone();
        small_file::blocking(move || Self::read_now(&settings)).await
    }

    /// The same as [`Self::read`], on this thread. A profile that is named, but missing, is an error.
    pub(super) fn read_now(settings: &ProfileSettings) -> Result<Self, CredentialsError> {
        let mut found = Self {
            config: BTreeMap::new(),
            credentials: sections(&settings.credentials_file)?.into_iter().collect(),
            sso_sessions: BTreeMap::new(),
            services: BTreeMap::new(),
        };
        // Of sections with the same name, such as [default] and [profile default], the last one counts, as in botocore.
        for (section, settings) in sections(&settings.config_file)? {
            match ini::kind(&section) {
                Some(SectionKind::Profile(name)) => found.config.insert(name, settings),
                Some(SectionKind::SsoSession(name)) => found.sso_sessions.insert(name, settings),
                Some(SectionKind::Services(name)) => found.services.insert(name, settings),
                None => None,
            };
        }
        if settings.is_named && !found.has(&settings.name) {
            return Err(Self::missing(settings));
        }
        Ok(found)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.config.contains_key(name) || self.credentials.contains_key(name)
    }

    /// The error for a profile that does not exist.
    pub(super) fn missing(settings: &ProfileSettings) -> CredentialsError {
        let ProfileSettings { name, config_file, credentials_file, is_named, .. } = settings;
        let places = format!("{} and {}", config_file.display(), credentials_file.display());
        let text = format!("the profile {name} is in neither of {places}");
        if *is_named { CredentialsError::new(text) } else { CredentialsError::absent(text) }
    }

    /// The settings of both files; those of the credentials file win. Empty if the profile does not exist.
    pub(super) fn merged(&self, name: &str) -> Settings {
        let both = self.config.get(name).into_iter().chain(self.credentials.get(name)).flatten();
        both.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The settings of `[sso-session NAME]`.
    pub(super) fn sso_session(&self, name: &str) -> Option<&Settings> {
        self.sso_sessions.get(name)
    }

    /// The keys of a profile in the credentials file; `None` if it has none.
    pub(super) fn shared_keys(&self, name: &str) -> Option<Result<Credentials, CredentialsError>> {
        keys_of(&format!("the profile {name}"), self.credentials.get(name)?)
    }

    /// The keys of a profile in the config file; `None` if it has none.
    pub(super) fn config_keys(&self, name: &str) -> Option<Result<Credentials, CredentialsError>> {
        keys_of(&format!("the profile {name}"), self.config.get(name)?)
    }

    /// The URL of an AWS service for requests of a profile: from its `services` section, or its `endpoint_url`.
    pub(super) fn endpoint(&self, name: &str, service: &str) -> Result<Option<String>, CredentialsError> {
        let merged = self.merged(name);
        if merged.get("ignore_configured_endpoint_urls").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        {
            return Ok(None);
        }
        let of_service = match merged.get("services") {
            None => None,
            Some(section) => {
                let missing =
                    || failed(name, &format!("has services = {section}, but no such section exists"));
                ini::nested(self.services.get(section).ok_or_else(missing)?, service, "endpoint_url")
            }
        };
        let url = of_service.or_else(|| merged.get("endpoint_url").map(String::as_str));
        Ok(url.filter(|url| !url.is_empty()).map(|url| url.trim_end_matches('/').to_owned()))
    }

    /// The same, for a service that gets tokens or credentials.
    pub(super) fn checked_endpoint(
        &self,
        name: &str,
        service: &str,
    ) -> Result<Option<String>, CredentialsError> {
        let url = self.endpoint(name, service)?;
        if let Some(url) = &url {
            check_sts_endpoint(url)
                .map_err(|why| failed(name, &format!("has an endpoint_url for {service} that {why}")))?;
        }
        Ok(url)
    }
}

/// The sections of a file; none if it does not exist.
pub(super) fn sections(path: &PathBuf) -> Result<Sections, CredentialsError> {
    // Like boto3: what is no file, such as /dev/null, has no profiles.
    if !path.is_file() || fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(Vec::new());
    }
    let text = small_file::read_up_to(path, MAX_SHARED_FILE)?;
    ini::parse(&text).map_err(|line| {
        CredentialsError::new(format!("{}, line {}: {}", path.display(), line.number, line.why))
    })
}

/// The keys among the settings of `owner`; `None` if it has no key id.
pub(super) fn keys_of(owner: &str, settings: &Settings) -> Option<Result<Credentials, CredentialsError>> {
    let id = settings.get("aws_access_key_id")?;
    let failed = |why: &str| Some(Err(CredentialsError::new(format!("{owner} {why}"))));
    let Some(secret) = settings.get("aws_secret_access_key").filter(|secret| !secret.is_empty()) else {
        return failed("has aws_access_key_id, but no aws_secret_access_key");
    };
    // botocore looks in this order.
    let token = settings.get("aws_security_token").or_else(|| settings.get("aws_session_token"));
    let token = token.filter(|token| !token.is_empty());
    if id.is_empty() || [id, secret].into_iter().chain(token).any(|text| text.contains('\n')) {
        return failed(
            "has an aws_access_key_id, aws_secret_access_key or aws_session_token that is empty or has several lines",
        );
    }
    let keys = Credentials::new(id, secret.as_str(), token.cloned().map(SecretString::from));
    Some(Ok(keys.checked_after(CHECK_AFTER)))
}

/// Settings of a profile that a store uses besides its credentials. Does not implement `Debug`, because it contains all
/// settings of the profile.
pub(crate) struct ProfileValues {
    exists: bool,
    settings: Settings,
    endpoint: Option<String>,
}

impl ProfileValues {
    /// Reads the files. Blocks.
    pub(crate) fn read(settings: &ProfileSettings) -> Result<Self, CredentialsError> {
        // The files may be written later than Longshore starts, so a missing profile is no error here.
        let settings = &ProfileSettings { is_named: false, ..settings.clone() };
        let profiles = Profiles::read_now(settings)?;
        let endpoint = profiles.endpoint(&settings.name, "s3")?;
        let exists = profiles.has(&settings.name);
        Ok(Self { exists, settings: profiles.merged(&settings.name), endpoint })
    }

    /// Whether the profile exists.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// The URL of S3 in `endpoint_url` or in a `services` section.
    pub(crate) fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// A setting that is not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A setting of the section `s3`.
    pub(crate) fn s3(&self, key: &str) -> Option<&str> {
        ini::nested(&self.settings, "s3", key).filter(|text| !text.is_empty())
    }
}
