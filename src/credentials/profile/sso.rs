//! A profile with `sso_account_id` and `sso_role_name`: a role of IAM Identity Center.

use super::{
    super::{
        CredentialsError,
        sso::{Sso, SsoSettings},
    },
    Found, View, failed,
    ini::Settings,
};

impl<'a> View<'a> {
    /// The credentials of the role; `None` if the profile has no SSO settings.
    pub(super) async fn sso(self, name: &str, merged: &Settings) -> Option<Found> {
        // As in botocore, other SSO settings alone, such as sso_session, are for other programs.
        if !["sso_account_id", "sso_role_name"].iter().any(|key| merged.contains_key(*key)) {
            return None;
        }
        Some(match self.sso_settings(name, merged) {
            Ok(settings) => Sso { settings, http: self.profile.sts.http.clone() }.request().await,
            Err(error) => Err(error),
        })
    }

    fn sso_settings(self, name: &str, merged: &Settings) -> Result<SsoSettings, CredentialsError> {
        let of_session = self.session(name, merged)?;
        let required = |key: &str| {
            let found = of_session.and_then(|session| session.get(key)).or_else(|| merged.get(key));
            let missing = || failed(name, &format!("uses SSO, but has no {key}"));
            found.filter(|text| !text.is_empty()).cloned().ok_or_else(missing)
        };
        let profile = &self.profile.settings;
        let endpoint = |given: &Option<String>, service| match given {
            Some(given) => Ok(Some(given.clone())),
            None => self.profiles.checked_endpoint(&profile.name, service),
        };
        Ok(SsoSettings {
            profile: name.to_owned(),
            session: merged.get("sso_session").cloned(),
            start_url: required("sso_start_url")?,
            region: required("sso_region")?,
            account_id: required("sso_account_id")?,
            role_name: required("sso_role_name")?,
            cache: profile.sso_cache.clone(),
            portal: endpoint(&profile.sso_endpoint, "sso")?,
            oidc: endpoint(&profile.sso_oidc_endpoint, "sso_oidc")?,
        })
    }

    /// The settings of the profile's `sso-session`, which must not contradict its own.
    fn session(self, name: &str, merged: &Settings) -> Result<Option<&'a Settings>, CredentialsError> {
        let Some(session) = merged.get("sso_session") else { return Ok(None) };
        let missing = || {
            let why = format!("has sso_session {session}, but no section [sso-session {session}] exists");
            failed(name, &why)
        };
        let settings = self.profiles.sso_session(session).ok_or_else(missing)?;
        let differs = |(key, value): &(&String, &String)| merged.get(*key).is_some_and(|own| own != *value);
        if let Some((key, _)) = settings.iter().find(differs) {
            let why = format!("and its sso-session differ in {key}: remove it from the profile");
            return Err(failed(name, &why));
        }
        Ok(Some(settings))
    }
}
